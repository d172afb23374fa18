"""Cells that a spreadsheet may open without running anything in them, and back. Pure."""

from typing import Final

#: A cell that begins so is a formula for a spreadsheet; a quote in front makes it text.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def guarded(text: str) -> str:
    """Put a quote in front of what a spreadsheet could take for a formula."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def unguarded(cell: str) -> str:
    """Undo ``guarded``: other text stays as it is."""
    is_guarded = cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA)
    return cell[1:] if is_guarded else cell
