"""A stand-in for LiveKit's SIP service, at the Twirp edge: joins first, then dials, as recorded.

``FakeSip`` listens in front of a real livekit-server. It answers ``CreateSIPParticipant`` itself
and has a real participant of kind SIP join the room; everything else, WebSockets too, is passed on.
What a callee does is chosen by the number that is dialed; the answers are those of
sip_outbound.jsonl.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Any, Final, Literal, Self

from google.protobuf import json_format
from livekit import api

from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from tests.samples import FOLDER

Behaviour = Literal[
    "answered", "busy", "decline", "noanswer", "unavailable", "nobody_listening", "lost", "cut"
]
OWN_NUMBER: Final = "+14155550100"
TRUNK: Final = "ST_fake"
_PATH: Final = b"/twirp/livekit.SIP/CreateSIPParticipant"


@cache
def recorded() -> tuple[Mapping[str, Any], ...]:
    """Give the recorded answers of LiveKit's SIP service."""
    lines = (FOLDER / "sip_outbound.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(map(json.loads, lines))


def _refusal(case: str) -> tuple[int, str]:
    row = next(row for row in recorded() if row["case"] == case and row["status"] != 200)
    return row["status"], row["body"]


@dataclass(slots=True)
class Callee:
    """What happens when a number is dialed.

    ``lost``: answered, but LiveKit's answer never arrives. ``cut``: the connection breaks while the
    phone rings, and nobody answers.
    """

    behaviour: Behaviour = "answered"
    rings_s: float = 0.2


@dataclass
class FakeSip:
    """Runs inside ``async with``; ``url`` takes the place of the server's."""

    livekit: LiveKitServer
    callees: dict[str, Callee] = field(default_factory=dict)
    dialed: list[api.CreateSIPParticipantRequest] = field(default_factory=list)
    phones: dict[str, Phone] = field(default_factory=dict)  # by room: whoever was dialed into it
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("it has not been started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Address for agents."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """Address for the server API."""
        return f"http://127.0.0.1:{self.port}"

    async def phone_in(self, room: str, *, timeout_s: float = 30.0) -> Phone:
        """Wait for the callee's phone in *room*."""
        async with asyncio.timeout(timeout_s):
            while room not in self.phones:
                self._changed.clear()
                await self._changed.wait()
        return self.phones[room]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for phone in self.phones.values():
            await phone.hang_up()

    # ---- the edge -------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                if head.split(b" ", 2)[1] == _PATH:
                    await self._create(head, reader, writer)
                else:
                    await self._pass_on(head, reader, writer)
        finally:
            writer.close()

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hand a connection on; one that is not upgraded is for one request only."""
        port = int(self.livekit.http_url.rpartition(":")[2])
        upstream, back = await asyncio.open_connection("127.0.0.1", port)
        if b"upgrade: websocket" not in head.lower():
            head = head[:-2] + b"Connection: close\r\n\r\n"
        back.write(head)
        try:
            await asyncio.gather(_pump(reader, back), _pump(upstream, writer))
        finally:
            back.close()

    async def _create(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        headers = dict(
            line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line
        )
        body = await reader.readexactly(int(headers[b"content-length"]))
        as_json = headers[b"content-type"].startswith(b"application/json")
        request = api.CreateSIPParticipantRequest()
        if as_json:
            json_format.Parse(body, request)
        else:
            request.ParseFromString(body)
        self.dialed.append(request)
        answered = await self._dial(request)
        if answered is None:
            return
        status, said = answered
        if isinstance(said, str):
            content, kind = said.encode(), b"application/json"
        elif as_json:
            content, kind = json.dumps(json_format.MessageToDict(
                said, preserving_proto_field_name=True
            )).encode(), b"application/json"  # fmt: skip
        else:
            content, kind = said.SerializeToString(), b"application/protobuf"
        writer.write(
            b"HTTP/1.1 %d Any\r\nContent-Type: %s\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n"
            % (status, kind, len(content))
            + content
        )
        await writer.drain()

    # ---- the service ----------------------------------------------------------------------

    async def _dial(
        self, request: api.CreateSIPParticipantRequest
    ) -> tuple[int, str | api.SIPParticipantInfo] | None:
        """Join, dial, and give the answer; ``None``: it gets lost."""
        if request.sip_trunk_id != TRUNK:
            return _refusal("unknown_trunk")
        callee = self.callees.get(request.sip_call_to, Callee())
        phone = Phone(
            self.livekit.url,
            self.livekit.api_key,
            self.livekit.api_secret,
            dialed=OWN_NUMBER,
            caller=request.sip_call_to,
            outbound=True,
            trunk_id=request.sip_trunk_id,
            room=request.room_name,
            identity=request.participant_identity,
            metadata=request.participant_metadata,
        )
        await phone.dial()
        self.phones[request.room_name] = phone
        self._changed.set()
        info = api.SIPParticipantInfo(
            participant_id="PA_fake",
            participant_identity=request.participant_identity,
            room_name=request.room_name,
            sip_call_id=phone.attributes["sip.callID"],
        )
        if not request.wait_until_answered:
            task = asyncio.create_task(self._ring(phone, callee))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return 200, info
        await self._ring(phone, callee)
        if callee.behaviour in ("lost", "cut"):
            return None
        return (200, info) if callee.behaviour == "answered" else _refusal(callee.behaviour)

    async def _ring(self, phone: Phone, callee: Callee) -> None:
        await asyncio.sleep(callee.rings_s)  # as long as the phone rings
        if callee.behaviour in ("answered", "lost"):
            await phone.set_call_status("active")
        else:
            await phone.hang_up()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
