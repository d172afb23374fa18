"""`POST /api/personas/purge`."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.api.problems import problem_of
from router.errors import PurgeRefused, StoreUnavailable
from router.purge import check_allowed, read_purge
from router.services import Services


async def purge(request: Request) -> Response:
    """Forget personas: `{"number": "…"}` or `{"all": true}`.

    With `"live": true`, calls that go on speak as the new persona from their next turn on.
    """
    services: Services = request.state.services
    settings = services.settings
    try:
        check_allowed(request.headers, host=settings.host, dev=settings.router_dev)
        wanted = await read_purge(request, settings.default_region)
    except PurgeRefused as exc:
        return problem_of(exc.status, exc.title, exc.reason, exc.fix)
    told = await services.lookup.purge(wanted.number)
    others = {None: "none", True: "told", False: "later"}[told]
    answer: dict[str, Any] = {
        "purged": "all" if wanted.number is None else "number",
        "others": others,
    }
    if wanted.live:
        try:
            answer["live"] = asdict(await services.live.refresh(wanted.number))
        except StoreUnavailable:
            return problem_of(503, "Service Unavailable", "database_away", "see DATABASE_URL")
    return JSONResponse(answer)
