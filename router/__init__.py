"""Which call gets which persona; everything that owns a port or a table."""
