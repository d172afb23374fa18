"""Reads the lists of leads that the settings name, those that have changed, once at start."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from router.campaigns.leads import MAX_BYTES
from router.errors import LeadsRefused, StoreUnavailable
from router.principals import DEFAULT_TENANT
from router.records.leads import Leads

SUFFIXES: Final = (".csv", ".xlsx")  # a workbook without the extra is logged, with what to do
log = structlog.get_logger(__name__)


async def read_lead_files(leads: Leads, path: Path | None, folder: Path | None) -> None:
    """Import *path*, which becomes the active list, and the lists of *folder*.

    What cannot be read is logged: a router that answers phones starts all the same.
    """
    for file in await asyncio.to_thread(lambda: list(_files(path, folder))):
        try:
            changed = await _read(leads, file)
        except LeadsRefused as exc:
            log.warning("leads.not_read", reason=exc.reason, fix=exc.fix)
        except StoreUnavailable as exc:
            log.warning("leads.not_read", reason=exc.reason)
        except OSError as exc:
            log.warning("leads.not_read", reason=type(exc).__name__)
        else:
            if file == path:
                await _select(leads, file, changed=changed)


def _files(path: Path | None, folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield from sorted(one for one in folder.glob("*") if _is_list(one) and one != path)
    if path is not None:
        yield path


def _is_list(file: Path) -> bool:
    """Tell lists from the rest of a folder, such as what Excel locks a file with (``~$…``)."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(("~$", "."))


async def _read(leads: Leads, file: Path) -> bool:
    raw = await asyncio.to_thread(_bytes, file)
    known = await leads.find(DEFAULT_TENANT, file.name)
    if known is not None and known.digest == hashlib.sha256(raw).hexdigest():
        return False
    added, _ = await leads.add(DEFAULT_TENANT, file.name, raw)
    log.info("leads.read", list_id=added.id, leads=added.leads, bad=added.bad)
    return True


def _bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


async def _select(leads: Leads, file: Path, *, changed: bool) -> None:
    """Make it the active one, unless an operator has chosen another since it was read."""
    try:
        if changed or await leads.find(DEFAULT_TENANT) is None:
            await leads.select(DEFAULT_TENANT, file.name)
    except StoreUnavailable as exc:
        log.warning("leads.not_selected", reason=exc.reason)
