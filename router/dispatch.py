"""LiveKit's API: dispatch an agent into a room, and the few questions that the router asks.

Each call has a deadline of its own (``LiveKitAPI(timeout=…)`` has no effect) and ``failover`` is
off: the library would otherwise send a request again, and CreateDispatch done twice is two agents.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import aiohttp
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from livekit import api
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.egress import (
    EgressInfo,
    EncodedFileOutput,
    EncodedFileType,
    RoomCompositeEgressRequest,
    S3Upload,
    StopEgressRequest,
)
from livekit.protocol.models import DataPacket, ParticipantInfo
from livekit.protocol.room import (
    CreateRoomRequest,
    DeleteRoomRequest,
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsRequest,
    ListRoomsResponse,
    RoomParticipantIdentity,
    SendDataRequest,
)
from livekit.protocol.sip import (
    STS_TRANSFER_FAILED,
    ListSIPDispatchRuleRequest,
    ListSIPInboundTrunkRequest,
    ListSIPOutboundTrunkRequest,
    SIPDispatchRuleInfo,
    SIPInboundTrunkInfo,
    TransferSIPParticipantRequest,
)

from personas.tokens import sign
from router.errors import (
    DispatchRefused,
    DispatchUnknown,
    LiveKitUnavailable,
    TwirpError,
    TwirpFailed,
    TwirpLost,
    TwirpUnreached,
)
from router.routing import Participant
from router.twirp import IDLE_S, TOKEN_LEEWAY_S, Twirp

_T = TypeVar("_T")
_M = TypeVar("_M", bound=Message)
CREATE_DISPATCH = "AgentDispatchService/CreateDispatch"
START_RECORDING = "Egress/StartRoomCompositeEgress"
STOP_RECORDING = "Egress/StopEgress"
LIST_ROOMS = "RoomService/ListRooms"
LIST_PARTICIPANTS = "RoomService/ListParticipants"
JOIN_S = 300  # how long a token to join a room is good
TRANSFER_S = 30.0  # for a caller who is handed on to be answered there
_SERVER_FAULT = 500
_EMPTY_S = 30


class Dispatcher(Protocol):
    """Sends agents into rooms."""

    async def dispatch(
        self, room: str, metadata: str, attributes: Mapping[str, str], agent_name: str | None = None
    ) -> str:
        """Send an agent into *room* with job *metadata*; return the dispatch's id.

        *agent_name* None: the agent that is configured.

        Raises:
            DispatchRefused: nothing was done.
            DispatchUnknown: it may have been done.
        """
        ...


class LiveKit:
    """LiveKit's server API at *url*; use it as an async context manager."""

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        api_secret: str,
        agent_name: str,
        timeout_s: float,
        upload: S3Upload | None = None,
    ) -> None:
        self.url = url
        self._key = api_key
        self._secret = api_secret
        self._agent_name = agent_name
        self._timeout_s = timeout_s
        self._upload = upload
        self._twirp = Twirp(url, key=api_key, secret=api_secret, timeout_s=timeout_s)
        self._http: aiohttp.ClientSession
        self._api: api.LiveKitAPI

    async def __aenter__(self) -> Self:
        """Open the connection pool; nothing is sent."""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200, keepalive_timeout=IDLE_S),
            timeout=aiohttp.ClientTimeout(total=None),  # each call has its own
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._api = api.LiveKitAPI(
            self.url, self._key, self._secret, session=self._http, failover=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._twirp.aclose()
        await self._http.close()

    async def dispatch(
        self, room: str, metadata: str, attributes: Mapping[str, str], agent_name: str | None = None
    ) -> str:
        """Send our agent into *room*; see ``Dispatcher``."""
        request = CreateAgentDispatchRequest(
            agent_name=agent_name or self._agent_name,
            room=room,
            metadata=metadata,
            attributes=attributes,
        )
        grants = {"roomAdmin": True, "room": room}
        try:
            answer = await self._twirp.call(CREATE_DISPATCH, request.SerializeToString(), grants)
            return AgentDispatch.FromString(answer).id
        except TwirpUnreached as exc:
            raise DispatchRefused(exc.reason) from exc
        except TwirpFailed as exc:
            if exc.status >= _SERVER_FAULT:
                raise DispatchUnknown(f"status_{exc.status}") from exc
            raise DispatchRefused(exc.reason) from exc
        except TwirpLost as exc:
            raise DispatchUnknown(exc.reason) from exc
        except DecodeError as exc:
            raise DispatchUnknown("unreadable_answer") from exc

    def join_token(self, room: str, identity: str) -> str:
        """Make a token with which *identity* joins *room*, speaks and listens there."""
        now = int(time.time())
        times = {"iss": self._key, "nbf": now - TOKEN_LEEWAY_S, "exp": now + JOIN_S}
        grants = {"sub": identity, "video": {"roomJoin": True, "room": room}}
        return sign({**times, **grants}, self._secret.encode())

    async def ping(self) -> None:
        """Ask a cheap question.

        Raises:
            LiveKitUnavailable: it was not answered, or the key was refused.
        """
        # A room that does not exist: the answer is empty, and its cost does not grow.
        await self._ask(self._api.room.list_rooms(ListRoomsRequest(names=["persona-router-ping"])))

    async def inbound_trunks(self) -> list[SIPInboundTrunkInfo]:
        """Return the SIP trunks that calls come in on.

        Raises:
            LiveKitUnavailable: it was not answered (a server without SIP says so too).
        """
        answer = await self._ask(self._api.sip.list_inbound_trunk(ListSIPInboundTrunkRequest()))
        return list(answer.items)

    async def trunk_numbers(self) -> list[str]:
        """Return the numbers of all trunks, inbound and outbound.

        Raises:
            LiveKitUnavailable: it was not answered (a server without SIP says so too).
        """
        outbound = await self._ask(self._api.sip.list_outbound_trunk(ListSIPOutboundTrunkRequest()))
        inbound = await self.inbound_trunks()
        return [
            *(number for trunk in inbound for number in trunk.numbers),
            *(number for trunk in outbound.items for number in trunk.numbers),
        ]

    async def dispatch_rules(self) -> list[SIPDispatchRuleInfo]:
        """Return the rules that put inbound calls into rooms.

        Raises:
            LiveKitUnavailable: it was not answered (a server without SIP says so too).
        """
        answer = await self._ask(self._api.sip.list_dispatch_rule(ListSIPDispatchRuleRequest()))
        return list(answer.items)

    async def rooms(self) -> Mapping[str, str]:
        """Return every room, sid → name.

        Raises:
            LiveKitUnavailable: it was not answered.
        """
        request = ListRoomsRequest().SerializeToString()
        answer = await self._ask_often(LIST_ROOMS, request, {"roomList": True}, ListRoomsResponse)
        return {room.sid: room.name for room in answer.rooms}

    async def participants(self, room: str) -> list[Participant]:
        """Return who is in *room* at this moment.

        Raises:
            LiveKitUnavailable: it was not answered; ``not_found`` when there is no such room.
        """
        request = ListParticipantsRequest(room=room).SerializeToString()
        grants = {"roomAdmin": True, "room": room}
        answer = await self._ask_often(LIST_PARTICIPANTS, request, grants, ListParticipantsResponse)
        return [
            Participant(
                sid=one.sid,
                identity=one.identity,
                kind=ParticipantInfo.Kind.Name(one.kind),
                attributes=dict(one.attributes),
                joined_at=one.joined_at_ms / 1000,
            )
            for one in answer.participants
        ]

    async def remove(self, room: str, identity: str) -> None:
        """Take *identity* out of *room*; a SIP caller who still rings gets 486.

        Raises:
            LiveKitUnavailable: it was not answered; ``not_found`` when they are gone.
        """
        request = RoomParticipantIdentity(room=room, identity=identity)
        await self._ask(self._api.room.remove_participant(request))

    async def send(self, room: str, identities: Sequence[str], topic: str, data: bytes) -> None:
        """Send *data*, reliably, to these participants of *room* alone.

        Raises:
            LiveKitUnavailable: it was not answered; ``not_found`` when there is no such room.
        """
        request = SendDataRequest(
            room=room,
            data=data,
            kind=DataPacket.Kind.RELIABLE,
            destination_identities=identities,
            topic=topic,
        )
        await self._ask(self._api.room.send_data(request))

    async def withdraw(self, room: str) -> int:
        """Delete every dispatch of a named agent in *room*; return how many there were.

        Raises:
            LiveKitUnavailable: it was not answered.
        """
        listed = await self._ask(self._api.agent_dispatch.list_dispatch(room))
        ours = [one.id for one in listed if one.agent_name and not one.state.deleted_at]
        for dispatch_id in ours:
            await self._ask(self._api.agent_dispatch.delete_dispatch(dispatch_id, room))
        return len(ours)

    async def open(self, room: str) -> None:
        """Create *room*, empty; LiveKit ends it when nobody comes for a while.

        Raises:
            LiveKitUnavailable: it was not answered.
        """
        request = CreateRoomRequest(name=room, empty_timeout=_EMPTY_S, departure_timeout=1)
        await self._ask(self._api.room.create_room(request))

    async def end(self, room: str) -> None:
        """Delete *room*, and with it every call in it.

        Raises:
            LiveKitUnavailable: it was not answered.
        """
        await self._ask(self._api.room.delete_room(DeleteRoomRequest(room=room)))

    async def transfer(self, room: str, identity: str, to: str) -> None:
        """Hand *identity*, a SIP caller who was answered, on to *to* (E.164, ``sip:``, ``tel:``).

        Raises:
            LiveKitUnavailable: it was not done; ``transfer_failed`` when the carrier would not.
        """
        request = TransferSIPParticipantRequest(
            room_name=room,
            participant_identity=identity,
            transfer_to=f"tel:{to}" if to.startswith("+") else to,
            ringing_timeout=Duration(seconds=int(TRANSFER_S)),
        )
        asking = self._api.sip.transfer_sip_participant(request)
        answer = await self._ask(asking, TRANSFER_S + self._timeout_s)
        if answer.status == STS_TRANSFER_FAILED:
            raise LiveKitUnavailable("transfer_failed")

    async def record(self, room: str, path: str) -> str:
        """Begin to record the sound of *room* into the file *path*; return the recording's id.

        Raises:
            LiveKitUnavailable: it was not begun, or nobody knows.
        """
        file = EncodedFileOutput(file_type=EncodedFileType.OGG, filepath=path, s3=self._upload)
        request = RoomCompositeEgressRequest(room_name=room, audio_only=True, file_outputs=[file])
        raw = request.SerializeToString()
        answer = await self._ask_often(START_RECORDING, raw, {"roomRecord": True}, EgressInfo)
        return answer.egress_id

    async def stop_recording(self, egress_id: str) -> None:
        """End a recording; raises LiveKitUnavailable."""
        raw = StopEgressRequest(egress_id=egress_id).SerializeToString()
        await self._ask_often(STOP_RECORDING, raw, {"roomRecord": True}, EgressInfo)

    async def _ask_often(
        self, method: str, request: bytes, grants: Mapping[str, Any], answer: type[_M]
    ) -> _M:
        """Ask what the watch asks of every room, at a tenth of the library's cost."""
        try:
            return answer.FromString(await self._twirp.call(method, request, grants))
        except TwirpFailed as exc:
            raise LiveKitUnavailable(exc.reason) from exc
        except TwirpError as exc:
            reason = "timeout" if exc.reason == "timeout" else "not_reached"
            raise LiveKitUnavailable(reason) from exc
        except DecodeError as exc:
            raise LiveKitUnavailable("unreadable_answer") from exc

    async def _ask(self, question: Coroutine[Any, Any, _T], timeout_s: float | None = None) -> _T:
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                return await question
        except api.ServerError as exc:
            raise LiveKitUnavailable(exc.code) from exc
        except TimeoutError as exc:
            raise LiveKitUnavailable("timeout") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise LiveKitUnavailable("not_reached") from exc
