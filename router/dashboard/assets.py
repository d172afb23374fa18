"""Style and scripts of the pages: a few files, held in memory, kept by browsers for good."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER: Final = Path(__file__).parent / "static"
PATH: Final = "/assets/{name}"
_KINDS: Final = MappingProxyType({".css": "text/css", ".js": "text/javascript"})


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    kind: str
    mark: str  # changes with the content


@lru_cache
def assets() -> dict[str, Asset]:
    """Return all files by name."""
    found = {}
    for path in FOLDER.iterdir():
        if path.suffix in _KINDS:
            body = path.read_bytes()
            mark = hashlib.sha256(body).hexdigest()[:16]
            found[path.name] = Asset(body, _KINDS[path.suffix], mark)
    return found


def asset_url(name: str) -> str:
    """Return the address of a file, another one for each content."""
    return f"/assets/{name}?{assets()[name].mark}"


async def serve(request: Request) -> Response:
    """Give one file."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("there is no such file", 404)
    answer = Response(asset.body, media_type=asset.kind)
    answer.headers["cache-control"] = "public, max-age=31536000, immutable"
    return answer
