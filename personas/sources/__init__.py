"""Where personas come from: the persona API, files, and the last good copy of each number."""
