"""The database's revisions follow each other: two of one number keep every router from starting."""

import re
from pathlib import Path

import router.migrations.versions

FOLDER = Path(router.migrations.versions.__file__).parent
FILES = sorted(path for path in FOLDER.glob("*.py") if path.name != "__init__.py")


def said(path: Path, name: str) -> str | None:
    """Return what a revision's file sets *name* to."""
    found = re.search(rf'^{name}.*= "(\d+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else None


def test_revisions_are_numbered_one_after_the_other() -> None:
    numbers = [path.name.partition("_")[0] for path in FILES]

    assert numbers == [f"{number:04}" for number in range(1, len(FILES) + 1)]
    assert [said(path, "revision") for path in FILES] == numbers
    assert [said(path, "down_revision") for path in FILES] == [None, *numbers[:-1]]
