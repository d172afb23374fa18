"""Pages for people: rows like the routes of the API, rendered here, readable without scripts."""
