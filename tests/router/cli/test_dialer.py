"""`call` and `dial`: by way of the router that runs, through its gate, and never around it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from router.cli import run
from router.records.attempts import Attempt
from router.records.outcomes import AttemptFilter, Outcomes
from tests.router.api.rig import Rig, open_rig
from tests.router.daytime import leads_csv
from tests.router.serving import serving
from tests.samples import SECRET

ANN, BO, CY = (f"+1312555010{digit}" for digit in range(3))


@dataclass(frozen=True, slots=True)
class Terminal:
    """Somebody at a terminal, and the router that they reach."""

    rig: Rig
    url: str
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    async def types(self, *arguments: str, lines: str = "") -> tuple[int, str, str]:
        """Run a command with *lines* on its input; return its exit status and what it said."""
        self.monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        status = await asyncio.to_thread(run, [*arguments, "--to", self.url])
        caught = self.capsys.readouterr()
        return status, caught.out, caught.err

    async def attempts(self) -> tuple[Attempt, ...]:
        return (await Outcomes(self.rig.services.store).page(AttemptFilter(tenant="default"))).rows

    async def ends_calls(self) -> None:
        """End every call as if somebody had talked, as soon as it is there."""
        attempts = self.rig.services.engine.attempts
        while True:
            for one in await attempts.open():
                await attempts.told(one.attempt_id, "answered", "the callee hung up")
            await asyncio.sleep(0.05)  # another process would do it; there is no event


@pytest.fixture
async def terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Terminal]:
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET.decode())
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the router's own lines
    async with open_rig(tmp_path) as rig, serving(rig.app) as url:
        await rig.services.leads.add("default", "one.csv", leads_csv(ANN, BO, CY))
        await rig.services.leads.select("default", "one.csv")
        await rig.services.do_not_call.add(BO, source="api")
        yield Terminal(rig, url, capsys, monkeypatch)


@pytest.fixture
async def ending(terminal: Terminal) -> AsyncIterator[None]:
    task = asyncio.create_task(terminal.ends_calls())
    yield
    task.cancel()


@pytest.mark.usefixtures("ending")
async def test_one_call_is_made_and_followed_to_its_end(terminal: Terminal) -> None:
    status, out, err = await terminal.types("call", ANN, "--persona", "mia", "--wait", "--json")

    (made,) = await terminal.attempts()
    said = json.loads(out)
    assert status == 0
    assert (said["attempt_id"], said["state"]) == (made.attempt_id, "answered")
    assert ANN not in out
    assert "answered" in err


async def test_a_lead_is_named_by_the_environment_of_older_dialers(terminal: Terminal) -> None:
    terminal.monkeypatch.setenv("RUN_SINGLE_CALL", "1")
    terminal.monkeypatch.setenv("LEAD_INDEX", "3")

    status, _, _ = await terminal.types("call")

    (made,) = await terminal.attempts()
    assert (status, made.number, made.position) == (0, CY, 3)


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        ((BO,), 7, "leave it at that"),
        (("--lead", "2"), 7, "do_not_call"),
        (("+13125550199",), 7, "no_consent"),
        (("none",), 7, "country code"),
        (("--lead", "9"), 4, "the list has 3 leads"),
        ((ANN, "--campaign", "spring"), 4, "no_such_campaign"),
        ((), 2, "NUMBER"),
        ((ANN, "--lead", "1"), 2, "NUMBER"),
    ],
)
async def test_who_is_not_called_is_said_with_reason_and_fix(
    terminal: Terminal, arguments: tuple[str, ...], status: int, word: str
) -> None:
    ended, out, err = await terminal.types("call", *arguments)

    assert (ended, out) == (status, "")
    assert word in err
    assert not any(one.dialed_at for one in await terminal.attempts())


@pytest.mark.usefixtures("ending")
async def test_a_tenant_is_called_for_by_name_and_has_its_own_lists(terminal: Terminal) -> None:
    await terminal.rig.services.leads.add("north", "north.csv", leads_csv(CY))
    await terminal.rig.services.leads.select("north", "north.csv")

    status, _, _ = await terminal.types("call", "--lead", "1", "--tenant", "north")
    lines = ["", "", "1", "y", "", "", "q"]
    menu, out, _ = await terminal.types("dial", "--tenant", "north", lines="\n".join(lines) + "\n")
    bad, _, err = await terminal.types("call", ANN, "--tenant", "no such")

    made = AttemptFilter(tenant="north")
    rows = (await Outcomes(terminal.rig.services.store).page(made)).rows
    assert (status, menu, bad) == (0, 0, 2)
    assert [one.number for one in rows] == [CY, CY]
    assert "north.csv" in out
    assert "letters" in err
    assert await terminal.attempts() == ()


async def test_without_a_router_nobody_is_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = await asyncio.to_thread(run, ["call", ANN, "--to", "http://127.0.0.1:9"])

    assert status == 5
    assert "persona-router serve" in capsys.readouterr().err


@pytest.mark.usefixtures("ending")
async def test_a_menu_calls_the_next_one_skips_whom_the_gate_refuses_and_keeps_notes(
    terminal: Terminal,
) -> None:
    lines = ["1", "", "", "n", "", "y", "asked for prices", "call back", "", "3", "", "", "q"]

    status, out, err = await terminal.types("dial", lines="\n".join(lines) + "\n")

    third, second, first = await terminal.attempts()
    assert status == 0
    assert [one.number for one in (first, second, third)] == [ANN, BO, CY]
    assert (first.note, first.disposition) == ("asked for prices", "call_back")
    assert (second.state, third.state) == ("refused", "answered")
    assert "leave it at that" in err
    assert "Person 3" in out
    assert ANN not in out


@pytest.mark.usefixtures("ending")
async def test_a_menu_that_is_opened_again_goes_on_behind_whom_was_called(
    terminal: Terminal,
) -> None:
    await terminal.types("call", "--lead", "1")
    lines = ["", "", "3", "y", "", "", "", "", "q"]  # the third one, and then nobody is next

    status, out, err = await terminal.types("dial", lines="\n".join(lines) + "\n")

    assert status == 0
    assert "→    2" in out
    assert "nobody is next" in err
    assert [one.number for one in reversed(await terminal.attempts())] == [ANN, CY]


async def test_a_menu_calls_nobody_who_was_not_confirmed_and_ends_with_its_input(
    terminal: Terminal,
) -> None:
    status, out, _ = await terminal.types(
        "dial", "--campaign", "default", "--list", "one.csv", lines="\nn\n"
    )

    assert status == 0
    assert "a real phone will ring" in out
    assert await terminal.attempts() == ()
