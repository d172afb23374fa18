"""Calling people: who is called, when, and who is not."""
