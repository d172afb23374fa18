"""`POST /api/personas/purge`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.api.problems import problem_of
from router.errors import PurgeRefused
from router.purge import check_allowed, read_purge
from router.services import Services


async def purge(request: Request) -> Response:
    """Forget personas: `{"number": "…"}` or `{"all": true}`."""
    services: Services = request.state.services
    settings = services.settings
    try:
        check_allowed(request.headers, host=settings.host, dev=settings.router_dev)
        number = await read_purge(request, settings.default_region)
    except PurgeRefused as exc:
        return problem_of(exc.status, exc.title, exc.reason, exc.fix)
    told = await services.lookup.purge(number)
    others = {None: "none", True: "told", False: "later"}[told]
    return JSONResponse({"purged": "all" if number is None else "number", "others": others})
