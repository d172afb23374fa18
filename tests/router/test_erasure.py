"""Nothing is left of a person: planted words are searched in all bytes that there are."""

import contextlib
import json
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from agent.spool import Address, SpoolFile
from personas.phone import PhoneNumber, read_dialed
from personas.reports import CallReport, Closed, Event, Fact, Opened, ToolCall, Turn, numbered
from personas.tokens import call_token
from router.db import Store
from router.demo.deliveries import body, caller_attributes
from router.demo.persona_api import PersonaApi
from router.erasure import erase_spooled
from router.errors import ErasureRefused
from router.events import sign
from router.records.appointments import appointments
from router.records.attempts import call_attempt
from router.records.consents import consents
from router.records.people import Person, forms_of
from tests.fakes_personas import document
from tests.redis_server import RedisServer
from tests.router.api.rig import Rig, open_rig
from tests.router.cli.test_users import said
from tests.router.records.test_retention import _blank
from tests.samples import KEY, SECRET

DID = "+13125550100"
NUMBER = "+13125550187"
NAME, EMAIL = "Zephyrina Quillfeather", "zq.canary@alder.example"
SENTENCE = "the purple walrus sings at noon"
CANARIES = ("3125550187", NAME, EMAIL, SENTENCE)
ROWS = (f"{NUMBER},{NAME},{EMAIL}", f"soon,{NAME},{EMAIL}", "+13125550101,Ben,")
CSV = "\n".join(("phone,prospect_name,email", *ROWS, ""))


def report(call_id: str, *events: Event, first: int = 1) -> str:
    at = time.time()
    made = [numbered(one, seq=seq, attempt=1, at=at) for seq, one in enumerate(events, first)]
    return CallReport(call_id=call_id, events=tuple(made)).model_dump_json()


class Plant:
    """A person in every store that there is."""

    def __init__(self, rig: Rig, folder: Path, redis: RedisServer | None) -> None:
        self.rig = rig
        self.folder = folder
        self.redis = redis
        self.store: Store = rig.services.store
        self.call_id = ""

    async def tell(self, *events: Event, first: int = 1) -> int:
        token = call_token(self.call_id, SECRET.decode(), time.time())
        async with self.rig.client() as client:
            answer = await client.post(
                "/api/reports",
                content=report(self.call_id, *events, first=first),
                headers={"Authorization": f"Bearer {token}"},
            )
        assert answer.status_code == 200
        return int(answer.json()["acknowledged"])

    async def insert(self, table: sa.Table, **values: object) -> None:
        row = {
            column.name: values.get(column.name, _blank(column))
            for column in table.c
            if column.name in values or not column.nullable
        }
        await self.store.write(lambda c: c.execute(sa.insert(table), row))

    async def everywhere(self) -> None:
        services = self.rig.services
        await services.hooks.add("https://crm.invalid/hooks", ["call.ended", "fact.shared"])
        content = body(
            room=f"call-_{NUMBER}_x",
            room_sid="RM_canary",
            attributes=caller_attributes(number=DID, caller=NUMBER, call_id="SCL_1"),
        )
        headers = {"Authorization": sign(content, time.time(), KEY, SECRET)}
        async with self.rig.client() as client:
            await client.post("/livekit-webhook", content=content, headers=headers)
        await services.journal.write()
        await self.store.flush()
        [self.call_id] = await self.store.read(
            lambda c: c.scalars(sa.text("SELECT call_id FROM calls")).all()
        )
        await self.tell(
            Opened(direction="inbound", caller=NUMBER, room=f"call-_{NUMBER}_x"),
            Turn(by="caller", text=f"I am {NAME}, {SENTENCE}, write to {EMAIL}"),
            Fact(id="f1", category="contact", information=f"{NAME} {EMAIL} {NUMBER}"),
            ToolCall(name="look", ok=True, detail=SENTENCE),
            Closed(reason="the caller hung up", disposition="answered"),
        )
        rang = Opened(direction="outbound", dialed_number="312 555 0187")
        over = Closed(reason="done", disposition="answered")
        steps = [numbered(rang, seq=1, attempt=1, at=1.0), numbered(over, seq=2, attempt=1, at=2.0)]
        await services.calls.take(CallReport(call_id="outbound", events=tuple(steps)))
        await services.leads.add("default", "spring.csv", CSV.encode())
        await self.insert(
            consents, tenant="default", number=NUMBER, what="calls", source=NAME, via="api"
        )
        await self.insert(
            appointments,
            tenant="default",
            calendar="desk",
            id="a1",
            call_id=self.call_id,
            starts_at=2_000_000_000,
            ends_at=2_000_000_060,
            phone="(312) 555-0187",
            name=NAME,
            notes=SENTENCE,
        )
        await self.insert(
            call_attempt,
            attempt_id="t1",
            tenant="default",
            number=NUMBER,
            note=SENTENCE,
            verdict=json.dumps({"number": NUMBER}),
            ended_at=time.time(),
        )

    async def bytes(self) -> bytes:
        """Return all that lies on disk, in PostgreSQL's rows and in Redis, unpacked too."""
        found = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        found.append(await self.store.read(_rows))
        if self.redis is not None:
            client = Redis.from_url(self.redis.url)
            async for key in client.scan_iter():
                found += [key, await client.dump(key) or b""]
                with contextlib.suppress(ResponseError):  # it is no text
                    value: bytes | str | None = await client.get(key)
                    found.append(value if isinstance(value, bytes) else b"")
            await client.aclose()
        return b"\n".join(found)


def _rows(connection: sa.Connection) -> bytes:
    found = []
    for table in sa.inspect(connection).get_table_names():
        for row in connection.execute(sa.text(f'SELECT * FROM "{table}"')):  # noqa: S608
            for value in row:
                raw = value if isinstance(value, bytes) else str(value).encode()
                try:
                    found.append(zlib.decompress(raw))
                except zlib.error:
                    found.append(raw)
    return b"\n".join(found)


def left(content: bytes) -> list[str]:
    low = content.lower()
    return [canary for canary in CANARIES if canary.lower().encode() in low]


@pytest.fixture
async def plant(tmp_path: Path, store_url: str, redis: RedisServer) -> AsyncIterator[Plant]:
    named = document(DID, transfer_targets=[{"name": NAME, "number": NUMBER}])
    with PersonaApi({DID.removeprefix("+"): named}) as api:
        settings = {"persona_api_base": api.url, "redis_url": redis.url, "router_dev": True}
        async with open_rig(tmp_path / "state", database_url=store_url, **settings) as rig:
            yield Plant(rig, tmp_path, redis)


@pytest.mark.redis
async def test_a_planted_person_is_given_out_and_then_in_no_byte_any_more(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    await plant.everywhere()
    assert left(await plant.bytes()) == list(CANARIES)
    admin = await plant.rig.token("admin")
    whom = {"number": "(312) 555-0187"}

    async with plant.rig.client() as client:
        exported = await client.post("/api/privacy/export", json=whom, headers=admin)
        erased = await client.post("/api/privacy/erase", json=whom, headers=admin)
        again = await client.post("/api/privacy/export", json=whom, headers=admin)
        deeds = await client.get("/api/audit", headers=admin)

    assert left(exported.content) == list(CANARIES)
    kinds = {kind for kind, rows in exported.json().items() if rows}
    assert kinds == {
        "calls",
        "events",
        "facts",
        "dialed",
        "claims",
        "deliveries",
        "attempts",
        "leads",
        "consents",
        "appointments",
        "notices",
    }
    assert erased.status_code == 200, erased.text
    assert erased.json()["erased"]["personas"] == 1
    assert not any(again.json().values())
    assert [deed["did"] for deed in deeds.json()["items"]][:3] == [
        "person.exported",
        "person.erased",
        "person.exported",
    ]
    assert left(await plant.bytes()) == []
    out = capsys.readouterr()
    assert left((out.out + out.err + deeds.text).encode()) == []

    # An agent that was away brings it once more: it is taken, and thrown away.
    late = Turn(by="caller", text=SENTENCE)
    assert await plant.tell(Opened(direction="inbound", caller=NUMBER), late, first=1) == 2
    assert await plant.tell(late, first=6) == 6
    assert left(await plant.bytes()) == []
    # And the others are still there.
    [ben] = await plant.rig.services.leads.all((await plant.rig.services.leads.lists("default"))[0])
    assert ben.lead.prospect_name == "Ben"


@pytest.mark.redis
async def test_a_wish_not_to_be_called_stays_and_says_no_more_than_that(plant: Plant) -> None:
    await plant.everywhere()
    services = plant.rig.services
    await services.do_not_call.add(NUMBER, source="call", call_id=plant.call_id, reason=SENTENCE)

    await services.erasure.erase(Person(None, EMAIL.upper(), None))

    wish = await services.do_not_call.holds(NUMBER)
    assert wish is not None
    assert (wish.call_id, wish.reason, wish.source) == (None, "", "call")
    assert set(left(await plant.bytes())) == {"3125550187"}


@pytest.mark.redis
async def test_whoever_is_on_the_phone_is_not_erased(plant: Plant) -> None:
    await plant.everywhere()
    await plant.insert(call_attempt, attempt_id="t2", room="r2", tenant="default", number=NUMBER)
    admin = await plant.rig.token("admin")

    async with plant.rig.client() as client:
        answer = await client.post("/api/privacy/erase", json={"number": NUMBER}, headers=admin)
        nobody = await client.post("/api/privacy/erase", json={}, headers=admin)
        unread = await client.post("/api/privacy/erase", json={"number": "soon"}, headers=admin)

    assert (answer.status_code, answer.json()["code"]) == (409, "going_on")
    assert (nobody.status_code, unread.status_code) == (422, 422)
    assert left(await plant.bytes()) == list(CANARIES)


@pytest.mark.redis
async def test_another_tenant_erases_nothing_of_ours(plant: Plant) -> None:
    await plant.everywhere()

    counts = await plant.rig.services.erasure.erase(Person(PhoneNumber(NUMBER), EMAIL, "acme"))

    del counts["personas"], counts["snapshots"]  # copies belong to nobody, and are fetched anew
    assert not any(counts.values())
    assert set(left(await plant.bytes())) == set(CANARIES)


async def test_reports_that_wait_on_this_machine_go_too(tmp_path: Path) -> None:
    async with open_rig(tmp_path / "state") as rig:

        def spooled(call_id: str, caller: str) -> SpoolFile:
            address = Address(call_id=call_id, attempt=1, url="http://router", token="t")
            file = SpoolFile.create(tmp_path / "spool", address)
            opened = Opened(direction="inbound", caller=caller)
            file.append([numbered(opened, seq=1, attempt=1, at=1.0)])
            return file

        spooled("theirs", NUMBER).close()
        spooled("other", "+13125550101").close()
        traces = await rig.services.erasure.people.find(Person(PhoneNumber(NUMBER), None, None))

        assert erase_spooled(tmp_path / "spool", traces) == 1
        held = spooled("theirs", NUMBER)
        with pytest.raises(ErasureRefused, match="in_use"):
            erase_spooled(tmp_path / "spool", traces)
        held.close()
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == [
        "other.1.spool",
        "theirs.1.spool",
    ]


def test_a_number_is_looked_for_as_trunks_write_it() -> None:
    assert set(forms_of(PhoneNumber("+4930901820"))) >= {
        "+4930901820",
        "4930901820",
        "004930901820",
        "030901820",
        "30901820",
    }
    dialed = read_dialed("8655701159", "US").number
    assert dialed is not None
    assert "8655701159" in forms_of(dialed)


def test_a_command_exports_and_erases(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET.decode(),
        "STATE_DIR": str(tmp_path),
        "PERSONA_API_BASE": "off",
        "DEFAULT_REGION": "US",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "leads.csv"
    file.write_text(CSV, encoding="utf-8")
    said(capsys, "leads", "import", str(file))
    file.unlink()

    assert NAME in said(capsys, "privacy", "export", EMAIL)
    counts = json.loads(said(capsys, "privacy", "erase", "312-555-0187", "--yes"))
    assert counts["leads"] == 1
    assert "nothing is kept" in said(capsys, "privacy", "export", NUMBER, status=4)
    assert "E.164" in said(capsys, "privacy", "erase", "soon", "--yes", status=2)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "3125550187" not in left(kept)
