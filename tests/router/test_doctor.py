"""The doctor: each thing that can be wrong is named, with its fix."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from livekit.protocol.agent_dispatch import AgentDispatch, RoomAgentDispatch
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import ListParticipantsResponse, RoomConfiguration
from livekit.protocol.sip import (
    ListSIPDispatchRuleResponse,
    SIPDispatchRule,
    SIPDispatchRuleCallee,
    SIPDispatchRuleDirect,
    SIPDispatchRuleIndividual,
    SIPDispatchRuleInfo,
)

from router.demo.persona_api import PersonaApi
from router.doctor import Check, examine
from router.settings import RouterSettings
from tests.fakes import FakeLiveKit

NO_LIMITS: Mapping[str, float] = MappingProxyType({})
INDIVIDUAL = SIPDispatchRule(
    dispatch_rule_individual=SIPDispatchRuleIndividual(room_prefix="call-")
)


@pytest.fixture
async def server() -> AsyncIterator[FakeLiveKit]:
    """A LiveKit where all is well."""
    async with FakeLiveKit() as server:
        agent = ParticipantInfo(identity="agent-1", kind=ParticipantInfo.Kind.AGENT)
        there = ListParticipantsResponse(participants=[agent])
        server.answers["CreateDispatch"] = (200, AgentDispatch(id="AD_1").SerializeToString())
        server.answers["ListParticipants"] = (200, there.SerializeToString())
        rules(server, rule=INDIVIDUAL)
        yield server


def rules(server: FakeLiveKit, **fields: Any) -> None:
    rule = SIPDispatchRuleInfo(sip_dispatch_rule_id="SDR_1", **fields)
    listed = ListSIPDispatchRuleResponse(items=[rule])
    server.answers["ListSIPDispatchRule"] = (200, listed.SerializeToString())


async def checks(
    url: str, limits: Mapping[str, float] = NO_LIMITS, **settings: Any
) -> dict[str, Check]:
    loaded = RouterSettings.load(
        **{
            "livekit_url": url,
            "livekit_api_key": "key",
            "livekit_api_secret": "0123456789abcdef0123456789abcdef",
            "persona_api_base": "off",
            "dispatch_timeout_s": 0.5,
        }
        | settings
    )
    return {check.name: check for check in await examine(loaded, **limits)}


async def test_where_all_is_well_every_check_says_so(server: FakeLiveKit) -> None:
    found = await checks(server.url)

    assert {check.level for check in found.values()} == {"ok"}
    assert set(found) == {"settings", "livekit", "persona api", "clock", "worker", "dispatch rules"}
    assert not any(check.fix for check in found.values())


async def test_the_test_room_is_ended(server: FakeLiveKit) -> None:
    await checks(server.url)

    assert "DeleteRoom" in [method for method, _, _ in server.asked]


async def test_a_livekit_that_is_away_is_an_error_and_the_rest_is_not_asked() -> None:
    found = await checks("ws://127.0.0.1:9")

    assert found["livekit"].level == "error"
    assert "LIVEKIT_URL" in found["livekit"].fix
    assert "worker" not in found


async def test_a_refused_key_is_told_from_a_missing_server(server: FakeLiveKit) -> None:
    server.answers["ListRooms"] = (401, b'{"code":"unauthenticated"}')

    found = await checks(server.url)

    assert found["livekit"].said == "LiveKit refused our key"


async def test_no_worker_is_an_error(server: FakeLiveKit) -> None:
    server.answers["ListParticipants"] = (200, b"")

    found = await checks(server.url, {"worker_wait_s": 0.3})

    assert found["worker"].level == "error"
    assert "persona-router agent" in found["worker"].fix


async def test_a_rule_that_dispatches_by_itself_is_an_error(server: FakeLiveKit) -> None:
    config = RoomConfiguration(agents=[RoomAgentDispatch(agent_name="friday-ai-agent")])
    rules(server, rule=INDIVIDUAL, room_config=config)

    found = await checks(server.url)

    assert found["dispatch rules"].level == "error"
    assert "two agents" in found["dispatch rules"].said


@pytest.mark.parametrize(
    "rule",
    [
        SIPDispatchRule(dispatch_rule_direct=SIPDispatchRuleDirect(room_name="lobby")),
        SIPDispatchRule(dispatch_rule_callee=SIPDispatchRuleCallee(room_prefix="c-")),
    ],
)
async def test_a_rule_that_shares_rooms_is_an_error(
    server: FakeLiveKit, rule: SIPDispatchRule
) -> None:
    rules(server, rule=rule)

    found = await checks(server.url)

    assert "two callers into one room" in found["dispatch rules"].said


async def test_a_server_without_sip_or_rules_is_a_warning(server: FakeLiveKit) -> None:
    server.answers["ListSIPDispatchRule"] = (500, b'{"code":"internal"}')
    without_sip = await checks(server.url)
    server.answers["ListSIPDispatchRule"] = (200, b"")
    without_rules = await checks(server.url)

    assert without_sip["dispatch rules"].level == "warning"
    assert without_rules["dispatch rules"].level == "warning"
    assert "dispatch-rule.json" in without_rules["dispatch rules"].fix


async def test_a_clock_that_is_off_is_an_error(server: FakeLiveKit) -> None:
    any_difference = {"max_skew_s": -1.0}

    found = await checks(server.url, any_difference)

    assert found["clock"].level == "error"
    assert "NTP" in found["clock"].fix


async def test_a_persona_api_that_answers_is_well(server: FakeLiveKit) -> None:
    with PersonaApi({}) as persona_api:
        found = await checks(server.url, persona_api_base=persona_api.url)

    assert found["persona api"] == Check("persona api", "ok", "it answers")


async def test_a_persona_api_that_fails_or_is_away_is_an_error(server: FakeLiveKit) -> None:
    with PersonaApi({}) as persona_api:
        persona_api.faults.unavailable = True
        failing = await checks(server.url, persona_api_base=persona_api.url)
    away = await checks(server.url, persona_api_base="http://127.0.0.1:9")

    assert failing["persona api"].said == "it answers 503"
    assert "PERSONA_API_BASE" in away["persona api"].fix
