"""Every command, as a user types it: what it prints, where, and how it ends."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from redis import Redis
from typer.main import get_command

from personas.model import Persona
from router.cli import app, run
from router.cli.talk import place_of
from router.errors import DeliveryRefused
from router.events import verify
from tests.redis_server import RedisServer
from tests.router.cli.conftest import SECRET
from tests.samples.golden import payload

NUMBER = "8655701159"
PERSONA = "persona_name: Mia\npersonality: You answer the phone.\nwelcome_message: Hi!\n"


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    group = group or get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def output(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    return capsys.readouterr().out


def problem(capsys: pytest.CaptureFixture[str], *arguments: str, status: int) -> str:
    assert run(arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    text = output(capsys, *command, "--help")

    assert "Usage:" in text
    assert len(text.split()) > 10


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json\nprint(json.dumps(list(sys.modules)))"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("import router.cli")

    assert loaded.isdisjoint({"livekit", "sqlalchemy", "httpx", "starlette", "phonenumbers"})


def test_a_router_never_loads_the_agents_library() -> None:
    loaded = loaded_by("import router.app, router.doctor, personas.lookup")

    assert loaded.isdisjoint({"livekit.agents", "livekit.rtc", "agent"})


def test_missing_settings_end_with_3_and_are_all_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIVEKIT_URL")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "short")

    said = problem(capsys, "serve", status=3)

    assert "LIVEKIT_URL: is not set" in said
    assert "LIVEKIT_API_SECRET: holds a secret shorter than 32 bytes" in said
    assert "short" not in said.replace("shorter", "")


def test_an_unknown_command_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command" in problem(capsys, "nope", status=2)


# ---- explain ------------------------------------------------------------------------------


def test_explain_says_who_answers_and_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "+18655701159.yaml").write_text(PERSONA)
    monkeypatch.setenv("PERSONA_DIR", str(tmp_path))

    text = output(capsys, "explain", NUMBER)

    assert f"{NUMBER} → +18655701159" in text
    assert "Mia" in text
    assert "because   the dialed number; no persona API is configured" in text


def test_explain_as_json_is_the_same_chain(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "+18655701159.yaml").write_text(PERSONA)
    monkeypatch.setenv("PERSONA_DIR", str(tmp_path))

    chain = json.loads(output(capsys, "explain", NUMBER, "--json"))

    assert (chain["decision"], chain["persona"], chain["source"]) == ("answer", "Mia", "file")
    assert chain["dialed_number"] == "+18655701159"
    assert [step["source"] for step in chain["steps"]] == ["file"]


def test_explain_reads_a_number_in_the_region_of_its_trunk(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNK_REGIONS", "ST_de=DE")

    text = output(capsys, "explain", "030 901820", "--trunk", "ST_de", "--json")

    assert json.loads(text)["dialed_number"] == "+4930901820"


def test_explain_of_no_number_names_the_house_persona(capsys: pytest.CaptureFixture[str]) -> None:
    chain = json.loads(output(capsys, "explain", "101", "--json"))

    assert (chain["dialed_number"], chain["source"]) == (None, "house")


# ---- trigger ------------------------------------------------------------------------------


class Receiver:
    """A webhook receiver that keeps what it got and answers as our verification says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers["Authorization"], body))
                self.send_response(receiver.verdict(self.headers["Authorization"], body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def verdict(self, authorization: str, body: bytes) -> int:
        try:
            verify(authorization, body, time.time(), {"devkey": SECRET.encode()})
        except DeliveryRefused as exc:
            return exc.status
        return 200


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def test_trigger_sends_a_delivery_that_verifies(
    capsys: pytest.CaptureFixture[str], receiver: Receiver
) -> None:
    arguments = ["--number", NUMBER, "--to", receiver.url, "--json"]

    [answer] = json.loads(output(capsys, "trigger", "participant_joined", *arguments))

    assert answer["status"] == 200
    sent = json.loads(receiver.got[0][1])
    assert sent["participant"]["attributes"]["sip.trunkPhoneNumber"] == NUMBER
    assert sent["participant"]["kind"] == "SIP"


def test_trigger_can_send_the_same_delivery_twice(
    capsys: pytest.CaptureFixture[str], receiver: Receiver
) -> None:
    output(capsys, "trigger", "participant_joined", "--to", receiver.url, "--duplicate")

    assert len(receiver.got) == 2
    assert receiver.got[0] == receiver.got[1]


def test_trigger_can_sign_wrongly(capsys: pytest.CaptureFixture[str], receiver: Receiver) -> None:
    text = output(capsys, "trigger", "participant_joined", "--to", receiver.url, "--bad-signature")

    assert text.startswith("401 in ")


def test_trigger_without_a_router_ends_with_5(capsys: pytest.CaptureFixture[str]) -> None:
    said = problem(capsys, "trigger", "participant_joined", "--to", "http://127.0.0.1:9", status=5)

    assert "persona-router serve" in said


# ---- talk -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("job_agent_config", "job"),
        ("job_campaign_call", "job"),
        ("job_persona_document", "job"),
        ("job_persona_structure", "job"),
        ("room_campaign_context", "room"),
        ("participant_custom_greeting", "participant"),
    ],
)
def test_a_payload_is_put_where_its_layout_belongs(name: str, place: str) -> None:
    assert place_of(payload(name)) == place


def test_a_payload_that_is_no_json_is_the_agents_to_judge() -> None:
    assert place_of("{") == place_of("[]") == "job"


def test_talk_tests_the_persona_of_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "+18655701159.yaml").write_text(PERSONA, encoding="utf-8")
    monkeypatch.setenv("PERSONA_DIR", str(tmp_path / "personas"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SPEECH", "offline")
    script = tmp_path / "script.yaml"
    script.write_text("- contains: Hi!\n- says: Who are you?\n  contains: Max\n", encoding="utf-8")

    status = run(["talk", NUMBER, "--script", str(script)])

    said = capfd.readouterr()
    assert status == 6
    assert said.out.startswith("Mia: Hi!\n> Who are you?\nMia: ")
    assert "expected 'Max'" in said.err


@pytest.mark.parametrize("arguments", [[], [NUMBER, "--persona", "x.yaml"]])
def test_talk_needs_one_persona(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(PERSONA, encoding="utf-8")

    assert run(["talk", *arguments]) == 2


# ---- personas, contract, config -----------------------------------------------------------


def test_the_shipped_personas_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(capsys, "personas", "list", "--json"))

    assert len(rows) == 4
    assert len({row["language"] for row in rows}) == 3
    assert "house" in output(capsys, "personas", "list")


def test_a_persona_is_shown_by_id_number_or_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "+18655701159.yaml"
    file.write_text(PERSONA)

    by_id = json.loads(output(capsys, "personas", "show", "house"))
    by_number = json.loads(
        output(capsys, "personas", "show", "18655701159", "--dir", str(tmp_path))
    )
    by_file = json.loads(output(capsys, "personas", "show", str(file)))

    assert Persona.from_document(by_id).welcome_message
    assert by_number == by_file
    assert by_file["persona_name"] == "Mia"


def test_a_persona_that_is_not_there_ends_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert "personas list" in problem(capsys, "personas", "show", "nobody", status=4)


def test_lint_passes_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "personas", "lint")

    assert len(text.splitlines()) == 4
    assert "error" not in text


def test_lint_names_the_field_and_the_fix_and_ends_with_6(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("personality: 7\n")
    (tmp_path / "typo.yaml").write_text("personality: You.\nwelcom_message: Hi\n")
    (tmp_path / "not.yaml").write_text("a: [")

    assert run(["personas", "lint", *map(str, sorted(tmp_path.iterdir()))]) == 6

    said = capsys.readouterr()
    assert "broken.yaml: personality" in said.out
    assert "welcome_message" in said.out
    assert "not.yaml" in said.out
    assert "2 of 3 personas" in said.err


class PurgeEndpoint(Receiver):
    """A router that takes purges, and answers as a test says."""

    answer: tuple[int, dict[str, Any]] = (200, {"purged": "number", "others": "none"})

    def __init__(self) -> None:
        super().__init__()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.got.append((self.path, body))
                status, said = endpoint.answer
                content = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server.RequestHandlerClass = Handler


@pytest.fixture
def endpoint() -> Iterator[PurgeEndpoint]:
    endpoint = PurgeEndpoint()
    thread = threading.Thread(target=endpoint.server.serve_forever, args=(0.01,))
    thread.start()
    yield endpoint
    endpoint.server.shutdown()
    thread.join()
    endpoint.server.server_close()


@pytest.mark.parametrize(
    ("arguments", "sent"), [((NUMBER,), {"number": NUMBER}), (("--all",), {"all": True})]
)
@pytest.mark.parametrize(
    ("others", "said"),
    [
        ("none", "purged\n"),
        ("told", "purged, on every router\n"),
        ("later", "purged there; the other routers will hear of it when Redis is back\n"),
    ],
)
def test_a_purge_goes_to_the_router_that_is_named(
    capsys: pytest.CaptureFixture[str],
    endpoint: PurgeEndpoint,
    *,
    arguments: tuple[str, ...],
    sent: dict[str, Any],
    others: str,
    said: str,
) -> None:
    endpoint.answer = (200, {"purged": "number", "others": others})

    text = output(capsys, "personas", "purge", *arguments, "--to", endpoint.url + "/")

    assert text == said
    assert [(path, json.loads(body)) for path, body in endpoint.got] == [
        ("/api/personas/purge", sent)
    ]


def test_a_live_purge_asks_a_router_even_with_redis_and_says_what_became_of_the_calls(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    endpoint: PurgeEndpoint,
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("HOST", "127.0.0.1")
    monkeypatch.setenv("PORT", endpoint.url.rpartition(":")[2])
    live = {"changed": 2, "same": 1, "not_reached": 0}
    endpoint.answer = (200, {"purged": "number", "others": "told", "live": live})

    text = output(capsys, "personas", "purge", NUMBER, "--live")

    assert text == (
        "purged, on every router; calls that go on: 2 changed, 1 had it already, 0 not reached\n"
    )
    assert json.loads(endpoint.got[0][1]) == {"number": NUMBER, "live": True}


def test_a_purge_that_is_refused_ends_with_6_and_the_fix(
    capsys: pytest.CaptureFixture[str], endpoint: PurgeEndpoint
) -> None:
    endpoint.answer = (403, {"code": "purge_not_allowed", "fix": "listen elsewhere"})

    said = problem(capsys, "personas", "purge", "--all", "--to", endpoint.url, status=6)

    assert "purge_not_allowed; listen elsewhere" in said


def test_a_purge_without_a_router_ends_with_5(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "9")

    said = problem(capsys, "personas", "purge", NUMBER, status=5)

    assert "http://127.0.0.1:9/api/personas/purge" in said


@pytest.mark.parametrize("arguments", [[], [NUMBER, "--all"]])
def test_a_purge_of_nothing_or_of_too_much_ends_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "--all" in problem(capsys, "personas", "purge", *arguments, status=2)


@pytest.mark.redis
def test_with_redis_a_purge_needs_no_router(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis: RedisServer
) -> None:
    monkeypatch.setenv("REDIS_URL", redis.url)
    monkeypatch.setenv("PERSONA_API_BASE", "http://127.0.0.1:9/personas")

    text = output(capsys, "personas", "purge", NUMBER)

    with Redis.from_url(redis.url, protocol=2) as client:
        [stream] = client.keys("*purges")
        [(_, entry)] = client.xrange(stream)
    assert entry[b"number"] == b"+18655701159"
    assert "every router" in text


def test_a_redis_that_is_away_ends_with_5(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("PERSONA_API_BASE", "http://127.0.0.1:9/personas")

    assert "REDIS_URL" in problem(capsys, "personas", "purge", "--all", status=5)


def test_a_number_that_is_none_is_not_purged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")

    assert "DEFAULT_REGION" in problem(capsys, "personas", "purge", "abc", status=2)


@pytest.mark.parametrize(
    ("layout", "required"),
    [
        ("agent-config", "agent_config"),
        ("campaign-call", "phone_number"),
        ("campaign-context", "campaignPrompt"),
        ("greeting", "custom_greeting"),
    ],
)
def test_the_schema_of_every_layout_of_other_backends_is_published(
    layout: str, required: str, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = json.loads(output(capsys, "contract", "schema", "--layout", layout))

    assert schema["required"] == [required]


def test_a_layout_that_is_unknown_is_a_mistake_in_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "agent-config" in problem(capsys, "contract", "schema", "--layout", "x", status=2)


@pytest.mark.parametrize("command", ["personas", "contract"])
def test_the_schemas_are_valid(capsys: pytest.CaptureFixture[str], command: str) -> None:
    schema = json.loads(output(capsys, command, "schema"))

    jsonschema.Draft202012Validator.check_schema(schema)


def test_config_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "config", "show")
    rows = json.loads(output(capsys, "config", "show", "--json"))

    assert SECRET not in text
    assert rows["LIVEKIT_API_SECRET"] == {"value": "********", "from": "environment"}
    assert rows["PORT"] == {"value": "8080", "from": "default"}
