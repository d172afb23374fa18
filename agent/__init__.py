"""Holds one phone conversation: joins the room, speaks as the persona it was sent, leaves."""
