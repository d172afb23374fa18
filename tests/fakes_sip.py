"""A stand-in for LiveKit's SIP service, at the Twirp edge: joins first, then dials, as recorded.

``FakeSip`` listens in front of a real livekit-server. It answers ``CreateSIPParticipant`` itself
and has a real participant of kind SIP join the room and leave it; it answers
``TransferSIPParticipant``; everything else, WebSockets too, is passed on. What a callee does is
chosen by the number that is dialed; answers and deliveries are like those of sip_outbound.jsonl and
sip_outbound_deliveries.jsonl.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Any, Final, Literal, Self

from google.protobuf import json_format
from google.protobuf.message import Message
from livekit import api
from livekit.protocol.sip import (
    STS_TRANSFER_FAILED,
    STS_TRANSFER_SUCCESSFUL,
    TransferSIPParticipantResponse,
)

from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from tests.samples import FOLDER

Behaviour = Literal[
    "answered",
    "busy",
    "decline",
    "noanswer",
    "unavailable",
    "nobody_listening",
    "no_such_number",
    "lost",
    "cut",
]
OWN_NUMBER: Final = "+14155550100"
TRUNK: Final = "ST_fake"
_SERVICE: Final = b"/twirp/livekit.SIP/"
#: Callees whose phone rings before they leave, and why the gateway then says that they did.
_RINGS: Final = frozenset({"answered", "busy", "decline", "noanswer", "lost", "cut"})
_LEAVES: Final[Mapping[str, str]] = {
    "busy": "USER_REJECTED",
    "decline": "USER_REJECTED",
    "noanswer": "USER_UNAVAILABLE",
    "nobody_listening": "USER_UNAVAILABLE",
    "no_such_number": "USER_UNAVAILABLE",
}


@cache
def recorded() -> tuple[Mapping[str, Any], ...]:
    """Give the recorded answers of LiveKit's SIP service."""
    lines = (FOLDER / "sip_outbound.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(map(json.loads, lines))


def _refusal(case: str) -> tuple[int, str]:
    if case == "no_such_number":  # not recorded: as the others, of what LiveKit documents
        meta = {"sip_status": "Not Found", "sip_status_code": "404"}
        said = "twirp error unknown: INVITE failed: sip status: 404: Not Found"
        return 404, json.dumps({"code": "not_found", "msg": said, "meta": meta})
    row = next(row for row in recorded() if row["case"] == case and row["status"] != 200)
    return row["status"], row["body"]


@dataclass(slots=True)
class Callee:
    """What happens when a number is dialed.

    ``lost``: answered, but LiveKit's answer never arrives. ``cut``: the connection breaks while the
    phone rings, and nobody answers. ``no_such_number``: the network says 404.
    """

    behaviour: Behaviour = "answered"
    rings_s: float = 0.2
    late_s: float = 0.0  # LiveKit's answer comes so long after the callee's


@dataclass
class FakeSip:
    """Runs inside ``async with``; ``url`` takes the place of the server's."""

    livekit: LiveKitServer
    callees: dict[str, Callee] = field(default_factory=dict)
    dialed: list[api.CreateSIPParticipantRequest] = field(default_factory=list)
    phones: dict[str, Phone] = field(default_factory=dict)  # by room: whoever was dialed into it
    transfers: list[api.TransferSIPParticipantRequest] = field(default_factory=list)
    transfers_succeed: bool = True
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
                match head.split(b" ", 2)[1].removeprefix(_SERVICE):
                    case b"CreateSIPParticipant":
                        await self._create(head, reader, writer)
                    case b"TransferSIPParticipant":
                        await self._transfer(head, reader, writer)
                    case _:
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
        request = api.CreateSIPParticipantRequest()
        as_json = await _read(head, reader, request)
        self.dialed.append(request)
        answered = await self._dial(request)
        if answered is not None:
            await _write(writer, *answered, as_json=as_json)

    async def _transfer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = api.TransferSIPParticipantRequest()
        as_json = await _read(head, reader, request)
        self.transfers.append(request)
        status = STS_TRANSFER_SUCCESSFUL if self.transfers_succeed else STS_TRANSFER_FAILED
        done = TransferSIPParticipantResponse(status=status)
        await _write(writer, 200, done, as_json=as_json)

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
        await asyncio.sleep(callee.late_s)  # as long as the answer is on its way
        if callee.behaviour in ("lost", "cut"):
            return None
        return (200, info) if callee.behaviour == "answered" else _refusal(callee.behaviour)

    async def _ring(self, phone: Phone, callee: Callee) -> None:
        if callee.behaviour in _RINGS:
            await phone.set_call_status("ringing")
        await asyncio.sleep(callee.rings_s)  # as long as the phone rings
        if callee.behaviour in ("answered", "lost"):
            await phone.set_call_status("active")
        else:
            await phone.hang_up(_LEAVES.get(callee.behaviour, "CLIENT_INITIATED"))


@contextlib.contextmanager
def open_sip(livekit: LiveKitServer) -> Iterator[FakeSip]:
    """Serve one in a thread: waiting for a router blocks the loop."""
    opened: Future[tuple[FakeSip, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        async with FakeSip(livekit) as sip:
            opened.set_result((sip, asyncio.get_running_loop(), over))
            await over.wait()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, serve())
        sip, loop, over = opened.result()
        try:
            yield sip
        finally:
            loop.call_soon_threadsafe(over.set)


async def _read(head: bytes, reader: asyncio.StreamReader, request: Message) -> bool:
    """Read what is asked into *request*; whether it is JSON."""
    headers = dict(
        line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line
    )
    body = await reader.readexactly(int(headers[b"content-length"]))
    if not headers[b"content-type"].startswith(b"application/json"):
        request.ParseFromString(body)
        return False
    json_format.Parse(body, request)
    return True


async def _write(
    writer: asyncio.StreamWriter, status: int, said: str | Message, *, as_json: bool
) -> None:
    if isinstance(said, str):
        content, kind = said.encode(), b"application/json"
    elif as_json:
        document = json_format.MessageToDict(said, preserving_proto_field_name=True)
        content, kind = json.dumps(document).encode(), b"application/json"
    else:
        content, kind = said.SerializeToString(), b"application/protobuf"
    writer.write(
        b"HTTP/1.1 %d Any\r\nContent-Type: %s\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (status, kind, len(content)) + content
    )
    await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
