"""A router as agents see it, for tests of what reports to it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from personas.reports import AnyCallEvent, CallReport


@dataclass
class FakeRouter:
    """Takes reports; ``status`` other than 200 is answered instead, ``answer`` is the body's.

    ``tokens`` None: any token is good. ``held`` keeps every answer back until it is set.
    """

    status: int = 200
    answer: str | None = None
    tokens: set[str] | None = None
    held: asyncio.Event | None = None
    refuse_kinds: set[str] = field(default_factory=set)
    reports: list[CallReport] = field(default_factory=list)
    tools: list[tuple[str, str, Any]] = field(default_factory=list)
    asked: int = 0

    @property
    def events(self) -> list[AnyCallEvent]:
        return [event for report in self.reports for event in report.events]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/reports"

    async def _report(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        if self._refuses(request):
            return web.json_response({"code": "bad_signature"}, status=401)
        if self.status != 200:
            return web.json_response({"code": "no"}, status=self.status)
        if self.answer is not None:
            return web.Response(text=self.answer)
        report = CallReport.model_validate_json(await request.read())
        if any(event.kind in self.refuse_kinds for event in report.events):
            return web.json_response({"code": "bad_report"}, status=400)
        self.reports.append(report)
        return web.json_response({"acknowledged": report.events[-1].seq})

    async def _tool(self, request: web.Request) -> web.Response:
        if self.held is not None:
            await self.held.wait()
        if self._refuses(request):
            return web.json_response({"code": "bad_signature"}, status=401)
        name = request.match_info["name"]
        self.tools.append((request.match_info["id"], name, json.loads(await request.read())))
        if self.answer is not None:
            return web.Response(text=self.answer, status=self.status)
        return web.json_response({"result": f"{name} is done"}, status=self.status)

    def _refuses(self, request: web.Request) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.tokens is not None and token not in self.tokens

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/api/reports", self._report)
        app.router.add_post("/api/calls/{id}/tools/{name}", self._tool)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
