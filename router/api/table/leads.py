"""Lists of leads."""

from typing import Final

from router.api import leads
from router.api.endpoints import AsTable, Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="POST",
        path="/csv/upload",
        handler=leads.upload,
        needs="operator",
        summary="Upload a list of leads: multipart, the part file",
        upload=True,
        answer=leads.Uploaded,
        per_minute=10,
    ),
    Endpoint(
        method="GET",
        path="/csv/list",
        handler=leads.list_files,
        needs="viewer",
        summary="Lists of leads",
        query=AsTable,
        csv=True,
        answer=leads.FilesShown,
    ),
    Endpoint(
        method="GET",
        path="/csv/imports",
        handler=leads.list_imports,
        needs="viewer",
        summary="How far the imports are that are under way",
        answer=leads.ImportsShown,
    ),
    Endpoint(
        method="GET",
        path="/csv/preview",
        handler=leads.preview,
        needs="viewer",
        summary="Columns and first rows of a list",
        query=leads.WhichRows,
        answer=leads.Preview,
    ),
    Endpoint(
        method="POST",
        path="/csv/select",
        handler=leads.select,
        needs="operator",
        summary="Make a list the active one",
        body=leads.WhichList,
        form=True,
        answer=leads.Done,
    ),
    Endpoint(
        method="GET",
        path="/csv/export",
        handler=leads.export,
        needs="operator",
        summary="A list as CSV",
        query=leads.WhichList,
    ),
    Endpoint(
        method="GET",
        path="/csv/bad",
        handler=leads.bad_rows,
        needs="operator",
        summary="The rows of a list that are no leads, with their causes, as CSV",
        query=leads.WhichList,
    ),
    Endpoint(
        method="DELETE",
        path="/csv/{name}",
        handler=leads.delete,
        needs="operator",
        summary="Delete a list with its leads",
        answer=leads.Done,
    ),
)
