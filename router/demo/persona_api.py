"""A small real persona API on loopback, with faults to switch on."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.demo.errors import ProcessFailed

PATH = "/apis/api/public/mobile"
START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0


@dataclass
class Faults:
    """What goes wrong from the next request on; nothing by itself."""

    unavailable: bool = False  # 503
    delay_s: float = 0.0
    garbage: bool = False  # 200, and not JSON
    wrong_number: str = ""  # 200, and the persona says it is this number's


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: Ctrl-C is for the process that we are a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PersonaApi:
    """Serves *personas* by number at ``<url>/<number>``, inside ``with``, in a thread of its own.

    A number is looked up exactly as it stands in the path. A persona is a document, or the text of
    an answer. *personas* and *faults* may be changed while it runs. ``requests`` counts the
    requests for each number, known or not.
    """

    def __init__(self, personas: Mapping[str, Mapping[str, Any] | str] | None = None) -> None:
        self.personas = dict(personas or {})
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self._port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base address, as PERSONA_API_BASE takes it."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def _persona(self, request: Request) -> Response:
        number = request.path_params["number"]
        self.requests[number] += 1
        faults = self.faults
        if faults.delay_s:
            await asyncio.sleep(faults.delay_s)
        if faults.unavailable:
            return JSONResponse({"error": "unavailable"}, status_code=503)
        if faults.garbage:
            return Response("<html>It works!</html>", media_type="application/json")
        persona = self.personas.get(number)
        if persona is None:
            return JSONResponse({"error": "no such number"}, status_code=404)
        text = persona if isinstance(persona, str) else json.dumps(persona, ensure_ascii=False)
        if faults.wrong_number:
            text = json.dumps(json.loads(text) | {"mobile": faults.wrong_number})
        return Response(text, media_type="application/json")

    def start(self) -> None:
        """Listen, on the port of last time if there was one.

        Raises:
            ProcessFailed: it did not get ready.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._port))
        except OSError as exc:
            listener.close()
            raise ProcessFailed(f"the persona API cannot listen: {exc.strerror}") from exc
        self._port = listener.getsockname()[1]
        app = Starlette(routes=[Route(f"{PATH}/{{number}}", self._persona)])
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = self._server = _Server(config)
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="persona-api", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ProcessFailed("the persona API did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop listening: from now on connections are refused, until :meth:`start`."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
