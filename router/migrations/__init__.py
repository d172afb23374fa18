"""The schema's history, applied by alembic when the router starts."""
