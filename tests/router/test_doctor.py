"""The doctor: each thing that can be wrong is named, with its fix."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from livekit.protocol.agent_dispatch import (
    AgentDispatch,
    CreateAgentDispatchRequest,
    RoomAgentDispatch,
)
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import (
    ListParticipantsRequest,
    ListParticipantsResponse,
    RoomConfiguration,
)
from livekit.protocol.sip import (
    ListSIPDispatchRuleResponse,
    ListSIPInboundTrunkResponse,
    SIPDispatchRule,
    SIPDispatchRuleCallee,
    SIPDispatchRuleDirect,
    SIPDispatchRuleIndividual,
    SIPDispatchRuleInfo,
    SIPInboundTrunkInfo,
)

from router.demo.persona_api import PersonaApi
from router.doctor import Doctor, refusals_at, refusals_of
from router.findings import Check
from router.metrics import Metrics
from router.services import livekit_from, lookup_from, plan_from
from router.settings import RouterSettings
from tests.fakes import Answer, FakeLiveKit

NO_LIMITS: Mapping[str, Any] = MappingProxyType({})
INDIVIDUAL = SIPDispatchRule(
    dispatch_rule_individual=SIPDispatchRuleIndividual(room_prefix="call-")
)


@pytest.fixture
async def server() -> AsyncIterator[FakeLiveKit]:
    """A LiveKit where all is well."""
    async with FakeLiveKit() as server:
        server.answers["CreateDispatch"] = (200, AgentDispatch(id="AD_1").SerializeToString())
        server.answers["ListParticipants"] = lambda asked: who_is_in(server, asked)
        rules(server, rule=INDIVIDUAL)
        yield server


AGENT = ListParticipantsResponse(
    participants=[ParticipantInfo(identity="agent-1", kind=ParticipantInfo.Kind.AGENT)]
).SerializeToString()


def who_is_in(server: FakeLiveKit, asked: bytes) -> Answer:
    """Say that an agent is in each room that one was dispatched to, and in no other."""
    dispatched = {
        CreateAgentDispatchRequest.FromString(content).room
        for method, content, _ in server.asked
        if method == "CreateDispatch"
    }
    return 200, AGENT if ListParticipantsRequest.FromString(asked).room in dispatched else b""


def trunk(server: FakeLiveKit, *numbers: str) -> None:
    listed = ListSIPInboundTrunkResponse(
        items=[SIPInboundTrunkInfo(sip_trunk_id="ST_1", numbers=numbers)]
    )
    server.answers["ListSIPInboundTrunk"] = (200, listed.SerializeToString())


def rules(server: FakeLiveKit, **fields: Any) -> None:
    rule = SIPDispatchRuleInfo(sip_dispatch_rule_id="SDR_1", **fields)
    listed = ListSIPDispatchRuleResponse(items=[rule])
    server.answers["ListSIPDispatchRule"] = (200, listed.SerializeToString())


async def checks(
    url: str, limits: Mapping[str, Any] = NO_LIMITS, **settings: Any
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
    lookup, metrics = lookup_from(loaded, Metrics()), Metrics()
    try:
        async with livekit_from(loaded) as livekit:

            async def refusals() -> Any:
                return refusals_of(metrics.registry.collect())

            doctor = Doctor(
                settings=loaded,
                livekit=livekit,
                personas=lookup,
                plan=plan_from(loaded),
                refusals=refusals,
                **({"nameless_wait_s": 0.2} | dict(limits)),
            )
            return {check.name: check for check in await doctor.examine()}
    finally:
        await lookup.aclose()


async def test_where_all_is_well_every_check_says_so(server: FakeLiveKit) -> None:
    found = await checks(server.url)

    assert {check.level for check in found.values()} == {"ok"}
    assert set(found) == {
        "settings",
        "livekit",
        "persona api",
        "webhook key",
        "last resort",
        "clock",
        "dispatch rules",
        "rules by number",
        "trunk numbers",
        "trunk owners",
        "persona files",
        "orphan numbers",
        "nameless worker",
        "worker",
    }
    assert not any(check.fix for check in found.values())


async def test_both_test_rooms_are_ended(server: FakeLiveKit) -> None:
    await checks(server.url)

    assert [method for method, _, _ in server.asked].count("DeleteRoom") == 2


async def test_a_worker_that_joins_a_room_to_which_none_was_sent_is_an_error(
    server: FakeLiveKit,
) -> None:
    server.answers["ListParticipants"] = (200, AGENT)

    found = await checks(server.url)

    assert found["nameless worker"].level == "error"
    assert "agent_name" in found["nameless worker"].fix
    assert found["worker"].level == "warning"


async def test_a_worker_that_was_too_busy_for_the_first_room_gets_another(
    server: FakeLiveKit,
) -> None:
    def second_room_only(asked: bytes) -> Answer:
        rooms = [
            CreateAgentDispatchRequest.FromString(content).room
            for method, content, _ in server.asked
            if method == "CreateDispatch"
        ]
        return 200, AGENT if ListParticipantsRequest.FromString(asked).room in rooms[1:] else b""

    server.answers["ListParticipants"] = second_room_only

    found = await checks(server.url)

    assert found["worker"].level == "ok"
    assert [method for method, _, _ in server.asked].count("DeleteRoom") == 3


async def test_numbers_without_persona_are_named_and_those_with_a_file_are_not(
    server: FakeLiveKit, tmp_path: Path
) -> None:
    trunk(server, "+13125550100", "+13125550101")
    (tmp_path / "+13125550100.yaml").write_text("personality: Cheerful.")

    found = await checks(server.url, persona_dir=tmp_path)

    assert found["orphan numbers"].level == "warning"
    assert "+13125550101" in found["orphan numbers"].said
    assert "+13125550100" not in found["orphan numbers"].said
    assert found["persona files"].level == "ok"


async def test_numbers_are_looked_up_at_the_persona_api(
    server: FakeLiveKit, tmp_path: Path
) -> None:
    trunk(server, "+13125550100", "+13125550101")
    known = {"13125550100": {"personality": "Cheerful."}}
    with PersonaApi(known) as persona_api:
        found = await checks(server.url, persona_api_base=persona_api.url, state_dir=tmp_path)

    assert "answers +13125550101:" in found["orphan numbers"].said


async def test_a_persona_api_that_is_away_makes_no_orphans_and_is_not_asked_for_all(
    server: FakeLiveKit, tmp_path: Path
) -> None:
    trunk(server, *(f"+131255501{last:02}" for last in range(20)))

    found = await checks(
        server.url,
        state_dir=tmp_path,
        persona_api_base="http://127.0.0.1:9",
        persona_budget_s=0.2,
    )

    assert found["orphan numbers"].level == "ok"
    assert found["orphan numbers"].said.startswith("of the 4 numbers")
    assert found["persona api"].level == "error"


async def test_a_router_that_is_not_there_tells_nothing() -> None:
    assert await refusals_at("127.0.0.1", 9) is None


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
