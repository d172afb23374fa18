"""Lists of leads: upload, list, preview, select, export, delete, as older clients call them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from router.api.calls import WhichNumbers, shown
from router.api.endpoints import Ask, Asking, kind_of, note
from router.api.tables import csv_of
from router.campaigns.leads import (
    FIXES,
    MAX_BYTES,
    BadRow,
    Lead,
    LeadTable,
    write_leads,
)
from router.errors import LeadsRefused, RequestRefused
from router.records.leads import MAX_NAME_CHARS, LeadList

MAX_REPORTED: Final = 100  # rows in an answer; all of them are in bad.csv
_FORM_BYTES: Final = 64 * 1024  # what a form adds to its file
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class WhichList(BaseModel):
    """A list by its name."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Name


class WhichRows(WhichNumbers):
    """The first rows of a list."""

    name: Name
    limit: Annotated[int, Field(ge=1, le=1_000)] = 20
    after: Annotated[int, Field(ge=0, le=1_000_000, description="leads that are left out")] = 0


class RowReport(BaseModel):
    """A row that is no lead, and what to do."""

    row: int = Field(description="as a spreadsheet numbers it; the columns' names are row 1")
    cause: str
    fix: str
    first_row: int | None = Field(description="of a duplicate: the row that counts")


class Uploaded(BaseModel):
    """What an upload has become."""

    ok: bool
    name: str
    leads: int
    bad: int = Field(description="rows that are no leads; GET /csv/bad has them all")
    causes: dict[str, int]
    report: list[RowReport]


class FileShown(BaseModel):
    """A list."""

    name: str
    size: int
    mtime: float
    active: bool
    leads: int
    bad: int


class FilesShown(BaseModel):
    """All lists of the tenant."""

    files: list[FileShown]


class ImportShown(BaseModel):
    """A list that is being read, or written."""

    name: str
    began_at: float = Field(description="Unix seconds")
    read: int = Field(description="rows so far; before all are, only the router that reads tells")
    leads: int = Field(description="0: not known before all rows are read")
    kept: int = Field(description="of them, so far")


class ImportsShown(BaseModel):
    """All of the tenant that are under way."""

    items: list[ImportShown]


class Preview(BaseModel):
    """Columns and first rows; numbers are masked unless an operator asks."""

    name: str
    columns: list[str]
    rows: list[dict[str, Any]]
    total: int


class Done(BaseModel):
    """It is done."""

    ok: bool
    name: str


async def upload(ask: Ask) -> Response:
    """Keep a CSV file; its good rows are leads, the rest is reported."""
    sent = await sent_file(ask.request)
    added, table = await add_list(ask, sent.name, sent.raw)
    causes: dict[str, int] = {}
    for bad in table.bad:
        causes[bad.cause] = causes.get(bad.cause, 0) + 1
    return JSONResponse(
        {
            "ok": True,
            "name": added.name,
            "leads": added.leads,
            "bad": added.bad,
            "causes": causes,
            "report": _report(table.bad[:MAX_REPORTED]),
        }
    )


async def list_files(ask: Ask) -> Response:
    """List the lists."""
    found = [_file(one) for one in await ask.services.leads.lists(ask.tenant)]
    if ask.query.format == "csv":
        return _csv(csv_of(found, tuple(FileShown.model_fields)))
    return JSONResponse({"files": found})


async def list_imports(ask: Ask) -> Response:
    """Say how far the imports are that are under way."""
    found = await ask.services.leads.imports(ask.tenant)
    return JSONResponse({"items": [asdict(one) for one in found]})


async def preview(ask: Ask) -> Response:
    """Show the columns and the first rows."""
    found = await find_list(ask, ask.query.name)
    page = await ask.services.leads.page(found, after=ask.query.after, limit=ask.query.limit)
    rows = [{"row": stored.row, **cells_of(stored.lead, found.columns)} for stored in page]
    return JSONResponse(
        {
            "name": found.name,
            "columns": list(found.columns),
            "rows": await shown(ask, rows),
            "total": found.leads,
        }
    )


async def select(ask: Ask) -> Response:
    """Make a list the active one."""
    await select_list(ask, ask.body.name)
    return JSONResponse({"ok": True, "name": ask.body.name})


async def delete(ask: Ask) -> Response:
    """Delete a list with its leads."""
    name = ask.path("name")
    await delete_list(ask, name)
    return JSONResponse({"ok": True, "name": name})


async def export(ask: Ask) -> Response:
    """Give a list as CSV, which an upload reads again."""
    found = await find_list(ask, ask.query.name)
    stored = await ask.services.leads.all(found)
    await note(ask, "leads.exported", found.id)
    return _csv(write_leads(one.lead for one in stored))


async def bad_rows(ask: Ask) -> Response:
    """Give the rows that are no leads as CSV, to be put right and uploaded."""
    text = await ask.services.leads.bad_csv(ask.tenant, ask.query.name)
    if text is None:
        raise _no_such_list()
    await note(ask, "leads.exported", ask.query.name)
    return _csv(text)


async def add_list(asking: Asking, name: str, raw: bytes) -> tuple[LeadList, LeadTable]:
    """Keep a file as a list; raises RequestRefused: 422."""
    try:
        added, table = await asking.services.leads.add(asking.tenant, name, raw)
    except LeadsRefused as exc:
        raise RequestRefused(exc.reason, status=422, fix=exc.fix) from None
    await note(asking, "leads.uploaded", added.id)
    return added, table


async def find_list(asking: Asking, name: str | None) -> LeadList:
    """Find a list by its name, or the active one; raises RequestRefused: 404."""
    found = await asking.services.leads.find(asking.tenant, name)
    if found is None:
        raise _no_such_list()
    return found


async def select_list(asking: Asking, name: str) -> None:
    """Make a list the active one; raises RequestRefused: 404."""
    if not await asking.services.leads.select(asking.tenant, name):
        raise _no_such_list()
    await note(asking, "leads.selected", name)


async def delete_list(asking: Asking, name: str) -> None:
    """Delete a list with its leads; raises RequestRefused: 404."""
    if not await asking.services.leads.delete(asking.tenant, name):
        raise _no_such_list()
    await note(asking, "leads.deleted", name)


def cells_of(lead: Lead, columns: Sequence[str]) -> dict[str, str]:
    """Give a lead's cells under the names of its file's columns."""
    cells = asdict(lead)
    cells |= cells.pop("variables")
    return {name: cells.get(name, "") for name in columns}


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that a form brought, and the form's other fields."""

    name: str
    raw: bytes
    fields: Mapping[str, str]


async def sent_file(request: Request) -> SentFile:
    """Read a form with the part ``file``, counting while it comes.

    Raises:
        RequestRefused: 400, 413, 415 or 422.
    """
    if kind_of(request) != "multipart/form-data":
        fix = "send multipart/form-data with the part file"
        raise RequestRefused("not_multipart", status=415, fix=fix)
    parser = MultiPartParser(request.headers, _counted(request), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except MultiPartException:
        fix = "send one part file, and at most ten fields"
        raise RequestRefused("bad_multipart", status=400, fix=fix) from None
    except ClientDisconnect:
        raise RequestRefused("cut_off", status=400, fix="send the whole body") from None
    file = form.get("file")
    if not isinstance(file, UploadFile):
        await form.close()
        raise RequestRefused("no_file", status=422, fix="name the part of the file: file")
    try:
        raw = await file.read(MAX_BYTES + 1)
    finally:
        await form.close()
    if len(raw) > MAX_BYTES:
        raise _too_large()
    fields = {key: value for key, value in form.items() if isinstance(value, str)}
    return SentFile(file.filename or "", raw, fields)


async def _counted(request: Request) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > MAX_BYTES + _FORM_BYTES:
            raise _too_large()
        yield chunk


def _too_large() -> RequestRefused:
    fix = f"send at most {MAX_BYTES // 1024 // 1024} MiB; split the list"
    return RequestRefused("too_large", status=413, fix=fix)


def _no_such_list() -> RequestRefused:
    return RequestRefused("no_such_list", status=404, fix="GET /api/csv/list lists them")


def _report(rows: Sequence[BadRow]) -> list[dict[str, Any]]:
    return [
        {"row": bad.row, "cause": bad.cause, "fix": FIXES[bad.cause], "first_row": bad.first_row}
        for bad in rows
    ]


def _file(found: LeadList) -> dict[str, Any]:
    return {
        "name": found.name,
        "size": found.size,
        "mtime": found.uploaded_at,
        "active": found.active,
        "leads": found.leads,
        "bad": found.bad,
    }


def _csv(text: str) -> Response:
    # The mark at the beginning has Excel read it as UTF-8.
    return Response("\ufeff" + text, media_type="text/csv; charset=utf-8")
