"""The adapter to LiveKit's API: which failures are safe to repeat, and which are not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import ListParticipantsResponse
from livekit.protocol.sip import (
    STS_TRANSFER_FAILED,
    STS_TRANSFER_SUCCESSFUL,
    ListSIPInboundTrunkResponse,
    SIPInboundTrunkInfo,
    TransferSIPParticipantRequest,
    TransferSIPParticipantResponse,
)

from router.dispatch import LiveKit
from router.errors import DispatchRefused, DispatchUnknown, LiveKitUnavailable
from tests.fakes import FakeLiveKit

SECRET = "0123456789abcdef0123456789abcdef"  # made up


@asynccontextmanager
async def connected(url: str, timeout_s: float = 0.3) -> AsyncIterator[LiveKit]:
    async with LiveKit(
        url=url, api_key="key", api_secret=SECRET, agent_name="friday", timeout_s=timeout_s
    ) as livekit:
        yield livekit


@pytest.fixture
async def server() -> AsyncIterator[FakeLiveKit]:
    async with FakeLiveKit() as server:
        server.answers["CreateDispatch"] = (200, AgentDispatch(id="AD_7").SerializeToString())
        yield server


async def test_a_dispatch_names_agent_room_metadata_and_attributes(server: FakeLiveKit) -> None:
    async with connected(server.url) as livekit:
        dispatch_id = await livekit.dispatch("call-1", '{"a":1}', {"persona.attempt": "2"})

    assert dispatch_id == "AD_7"
    [(method, content, _)] = server.asked
    request = CreateAgentDispatchRequest.FromString(content)
    assert method == "CreateDispatch"
    assert (request.agent_name, request.room, request.metadata) == ("friday", "call-1", '{"a":1}')
    assert dict(request.attributes) == {"persona.attempt": "2"}


async def test_a_dispatch_may_do_nothing_but_administer_its_room(server: FakeLiveKit) -> None:
    async with connected(server.url) as livekit:
        await livekit.dispatch("call-1", "{}", {})

    [(_, _, authorization)] = server.asked
    claims = jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"])
    assert claims["iss"] == "key"
    assert claims["video"] == {"roomAdmin": True, "room": "call-1"}


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid_argument"), (401, "unauthenticated"), (404, "not_found"), (429, "exhausted")],
)
async def test_what_livekit_refuses_was_not_done(
    server: FakeLiveKit, status: int, code: str
) -> None:
    server.answers["CreateDispatch"] = (status, b'{"code":"%s"}' % code.encode())

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchRefused, match=code):
            await livekit.dispatch("call-1", "{}", {})


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"code":7}', b"\xff"])
async def test_a_refusal_in_other_words_than_twirps_is_known_by_its_status(
    server: FakeLiveKit, body: bytes
) -> None:
    server.answers["CreateDispatch"] = (403, body)

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchRefused, match="status_403"):
            await livekit.dispatch("call-1", "{}", {})


async def test_a_redirect_is_not_followed_and_nothing_was_done(server: FakeLiveKit) -> None:
    server.answers["CreateDispatch"] = (307, b"")

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchRefused, match="status_307"):
            await livekit.dispatch("call-1", "{}", {})

    assert len(server.asked) == 1


async def test_an_answer_that_cannot_be_read_may_mean_that_it_was_done(
    server: FakeLiveKit,
) -> None:
    server.answers["CreateDispatch"] = (200, b"\xff\xff")

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchUnknown, match="unreadable_answer"):
            await livekit.dispatch("call-1", "{}", {})


@pytest.mark.parametrize("path", ["", "/", "/base"])
async def test_the_address_may_end_in_a_slash_or_hold_a_path(
    server: FakeLiveKit, path: str
) -> None:
    async with connected(server.url + path) as livekit:
        assert await livekit.dispatch("call-1", "{}", {}) == "AD_7"


async def test_a_server_that_is_not_there_did_nothing() -> None:
    async with FakeLiveKit() as gone:
        url = gone.url

    async with connected(url) as livekit:
        with pytest.raises(DispatchRefused, match="not_reached"):
            await livekit.dispatch("call-1", "{}", {})


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_failing_server_may_have_done_it_and_is_asked_once(
    server: FakeLiveKit, status: int
) -> None:
    server.answers["CreateDispatch"] = (status, b"<html>")

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchUnknown, match=f"status_{status}"):
            await livekit.dispatch("call-1", "{}", {})

    assert len(server.asked) == 1


async def test_a_lost_answer_may_have_been_done_and_is_asked_once(server: FakeLiveKit) -> None:
    server.cut.add("CreateDispatch")

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchUnknown, match="connection_lost"):
            await livekit.dispatch("call-1", "{}", {})

    assert len(server.asked) == 1


async def test_a_hanging_server_is_given_up_after_the_deadline(server: FakeLiveKit) -> None:
    server.hang.add("CreateDispatch")

    async with connected(server.url) as livekit:
        with pytest.raises(DispatchUnknown, match="timeout"):
            await livekit.dispatch("call-1", "{}", {})


async def test_questions_have_a_deadline_and_one_kind_of_error(server: FakeLiveKit) -> None:
    server.hang.add("ListRooms")
    server.cut.add("ListParticipants")
    server.answers["ListSIPDispatchRule"] = (500, b'{"code":"internal"}')

    async with connected(server.url) as livekit:
        with pytest.raises(LiveKitUnavailable, match="timeout"):
            await livekit.ping()
        with pytest.raises(LiveKitUnavailable, match="not_reached"):
            await livekit.participants("call-1")
        with pytest.raises(LiveKitUnavailable, match="internal"):
            await livekit.dispatch_rules()


async def test_participants_are_listed_with_their_kind(server: FakeLiveKit) -> None:
    kinds = {"agent-1": ParticipantInfo.Kind.AGENT, "sip_1": ParticipantInfo.Kind.SIP}
    people = [ParticipantInfo(identity=name, kind=kind) for name, kind in kinds.items()]
    listed = ListParticipantsResponse(participants=people)
    server.answers["ListParticipants"] = (200, listed.SerializeToString())

    async with connected(server.url) as livekit:
        there = await livekit.participants("call-1")

    assert {one.identity: one.kind for one in there} == {"agent-1": "AGENT", "sip_1": "SIP"}


async def test_trunks_are_listed_with_their_numbers(server: FakeLiveKit) -> None:
    trunk = SIPInboundTrunkInfo(sip_trunk_id="ST_1", numbers=["+4930901820"])
    listed = ListSIPInboundTrunkResponse(items=[trunk])
    server.answers["ListSIPInboundTrunk"] = (200, listed.SerializeToString())

    async with connected(server.url) as livekit:
        [found] = await livekit.inbound_trunks()

    assert (found.sip_trunk_id, list(found.numbers)) == ("ST_1", ["+4930901820"])


def transferred(**fields: Any) -> bytes:
    answer: bytes = TransferSIPParticipantResponse(**fields).SerializeToString()
    return answer


@pytest.mark.parametrize(
    ("number", "sent"),
    [("+13125550188", "tel:+13125550188"), ("sip:desk@example.com", "sip:desk@example.com")],
)
async def test_a_caller_is_handed_on_by_sip(server: FakeLiveKit, number: str, sent: str) -> None:
    server.answers["TransferSIPParticipant"] = (200, transferred(status=STS_TRANSFER_SUCCESSFUL))

    async with connected(server.url) as livekit:
        await livekit.transfer("call-1", "sip_1", number)

    [(_, content, _)] = server.asked
    request = TransferSIPParticipantRequest.FromString(content)
    assert (request.room_name, request.participant_identity) == ("call-1", "sip_1")
    assert request.transfer_to == sent


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, transferred(status=STS_TRANSFER_FAILED)), "transfer_failed"),
        (
            (412, b'{"code":"failed_precondition","msg":"can\'t transfer non established call"}'),
            "failed_precondition",
        ),
        ((500, b'{"code":"internal","msg":"sip not connected (redis required)"}'), "internal"),
    ],
)
async def test_a_transfer_that_was_not_done_is_an_error(
    server: FakeLiveKit, answer: tuple[int, bytes], reason: str
) -> None:
    server.answers["TransferSIPParticipant"] = answer

    async with connected(server.url) as livekit:
        with pytest.raises(LiveKitUnavailable, match=reason):
            await livekit.transfer("call-1", "sip_1", "+13125550188")


async def test_a_token_to_join_is_good_for_one_room_and_one_identity(server: FakeLiveKit) -> None:
    async with connected(server.url) as livekit:
        token = livekit.join_token("call-1", "last-resort-1")

    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["iss"]) == ("last-resort-1", "key")
    assert claims["video"] == {"roomJoin": True, "room": "call-1"}
    assert claims["exp"] - claims["nbf"] <= 600
