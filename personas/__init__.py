"""What a persona is, where it comes from, and the words that router and agent share."""

__version__ = "0.1.0"
