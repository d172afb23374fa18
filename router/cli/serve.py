"""`serve` and `agent`: the two processes of a running system."""

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from router.metrics import Metrics
    from router.settings import RouterSettings

GRACE_S = 10
SWITCH_S = 0.0005


def options(settings: "RouterSettings", metrics: "Metrics") -> dict[str, Any]:
    """Return how uvicorn is to serve the application."""
    from router.app import WEBHOOK_PATH
    from router.http_guard import Limits, guarded
    from router.webhook import deliver

    count = metrics.connections_cut
    direct = {WEBHOOK_PATH.encode(): deliver}
    return {
        "host": settings.host,
        "port": settings.port,
        "http": guarded(Limits(), lambda reason: count[reason].inc(), direct),
        "ws": "none",  # a websocket would leave the guard
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nothing here depends on who the client is
        "timeout_keep_alive": 120,  # with 5 s, LiveKit's next delivery can cost a new connection
        "timeout_graceful_shutdown": GRACE_S,
    }


def serve(
    dev: Annotated[
        bool, typer.Option("--dev", help="Development: accept short secrets, console logs.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (PORT).")] = None,
) -> None:
    """Receive LiveKit's webhooks and send agents to ringing calls."""
    import uvicorn

    from personas import logs
    from router.app import build_app
    from router.metrics import Metrics
    from router.settings import RouterSettings

    settings = RouterSettings.load(host=host, port=port, router_dev=dev or None)
    logs.configure(
        log_format="console" if settings.router_dev else settings.log_format,
        level=settings.log_level,
    )
    # uvicorn ends what is under way, and then sends itself the signal again, which would have us
    # end as if killed.
    signal.signal(signal.SIGTERM, lambda *_: None)
    metrics = Metrics()
    app = build_app(settings, metrics=metrics, owns_process=True)
    # A thread that computes holds up the event loop for one interval, and the default is 5 ms.
    sys.setswitchinterval(SWITCH_S)
    uvicorn.run(app, **options(settings, metrics))


def agent() -> NoReturn:
    """Hold conversations: the worker that LiveKit sends into rooms."""
    # A process of its own: router and agent know nothing of each other's code.
    os.execv(sys.executable, [sys.executable, "-m", "agent"])  # noqa: S606  # no shell is wanted


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command()(serve)
    app.command()(agent)
