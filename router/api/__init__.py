"""The handlers of `/api/…`, a module for each subject; `router/app.py` has their routes."""
