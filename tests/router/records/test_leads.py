"""Lists in the database: whole or not there, each tenant's own."""

import asyncio
import threading

import pytest
import sqlalchemy as sa

from router.db import Store
from router.errors import LeadsRefused, StoreUnavailable
from router.records import leads as records
from router.records.leads import Leads

CSV = b"phone,prospect_name,colour\n312 555 0101,Ann,red\n312 555 0102,Bob,\nnobody,Eve,\n"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def leads(store: Store) -> Leads:
    return Leads(store, clock=Clock(), region="US")


async def rows(store: Store) -> int:
    positions = sa.select(records.leads.c.position)
    return len(await store.read(lambda c: c.execute(positions).all()))


async def test_a_list_is_kept_with_its_leads_and_its_bad_rows(leads: Leads) -> None:
    added, _ = await leads.add("default", "one.csv", CSV)

    found = await leads.find("default", "one.csv")
    assert found == added
    assert (added.leads, added.bad, added.columns) == (2, 1, ("phone", "prospect_name", "colour"))
    page = await leads.page(added, limit=10)
    assert [(one.position, one.row, one.lead.phone) for one in page] == [
        (1, 2, "+13125550101"),
        (2, 3, "+13125550102"),
    ]
    assert page[0].lead.variables == {"colour": "red"}
    assert "nobody,Eve" in (await leads.bad_csv("default", "one.csv") or "")


async def test_a_list_of_the_same_name_takes_the_place_and_stays_active(
    leads: Leads, store: Store
) -> None:
    await leads.add("default", "one.csv", CSV)
    await leads.select("default", "one.csv")

    added, _ = await leads.add("default", "one.csv", b"phone\n+13125550103\n")

    assert added.active
    assert await leads.lists("default") == [added]
    assert await rows(store) == 1


async def test_what_cannot_be_read_changes_nothing(leads: Leads) -> None:
    before, _ = await leads.add("default", "one.csv", CSV)

    with pytest.raises(LeadsRefused):
        await leads.add("default", "one.csv", b"no list")

    assert await leads.lists("default") == [before]


async def test_an_import_that_broke_off_is_never_seen_and_goes_with_a_later_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    leads = Leads(store, clock=clock, region="US")
    monkeypatch.setattr(records, "BATCH_ROWS", 1)
    added, _ = await leads.add("default", "one.csv", CSV)

    def unready(connection: sa.Connection) -> None:  # as after a crash before the last step
        change = sa.update(records.lead_lists).where(records.lead_lists.c.id == added.id)
        connection.execute(change.values(ready=False))

    await store.write(unready)

    assert await leads.lists("default") == []
    assert await leads.find("default", "one.csv") is None
    clock.now += 2 * records.FORGOTTEN_S
    await leads.add("default", "two.csv", b"phone\n+13125550103\n")
    assert await rows(store) == 1


async def test_one_list_of_a_tenant_is_active(leads: Leads) -> None:
    for name in ("one.csv", "two.csv"):
        await leads.add("default", name, CSV)
    assert await leads.find("default") is None

    assert await leads.select("default", "one.csv")
    assert await leads.select("default", "two.csv")
    assert not await leads.select("default", "three.csv")

    found = await leads.find("default")
    assert found is not None
    assert found.name == "two.csv"
    assert [one.active for one in await leads.lists("default")] == [False, True]


async def test_an_import_tells_its_tenant_how_far_it_has_read_and_written(leads: Leads) -> None:
    raw = b"phone\n" + b"".join(b"+1312%d\n" % number for number in range(5_550_000, 5_552_500))
    read, go_on = threading.Event(), threading.Event()
    seen: list[tuple[str, int]] = []

    def told(step: str, rows: int) -> None:
        seen.append((step, rows))
        if (step, rows) == ("read", 2_000):
            read.set()
            go_on.wait(60)

    adding = asyncio.create_task(leads.add("default", "one.csv", raw, told))
    await asyncio.to_thread(read.wait, 60)
    during, theirs = await leads.imports("default"), await leads.imports("other")
    go_on.set()
    await adding

    (one,) = during
    assert (one.name, one.read, one.leads, one.kept) == ("one.csv", 2_000, 0, 0)
    assert theirs == []
    assert await leads.imports("default") == []
    assert seen[-1] == ("kept", 2_500)


async def test_a_list_is_deleted_with_its_leads(leads: Leads, store: Store) -> None:
    await leads.add("default", "one.csv", CSV)

    assert await leads.delete("default", "one.csv")

    assert not await leads.delete("default", "one.csv")
    assert await rows(store) == 0


async def test_nobody_sees_or_touches_another_tenants_lists(leads: Leads) -> None:
    mine, _ = await leads.add("default", "one.csv", CSV)
    await leads.select("default", "one.csv")
    theirs, _ = await leads.add("other", "one.csv", b"phone\n+13125550103\n")

    assert await leads.lists("other") == [theirs]
    assert await leads.find("other") is None
    await leads.select("other", "one.csv")
    assert await leads.delete("other", "one.csv")
    found = await leads.find("default")
    assert found is not None
    assert found.id == mine.id
    assert len(await leads.all(found)) == 2


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("one.csv", "one.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\leads\\März 2026.csv", "März 2026.csv"),
    ],
)
def test_a_name_is_a_name_and_no_path(sent: str, kept: str) -> None:
    assert records.file_name(sent) == kept


@pytest.mark.parametrize("sent", ["", "/", "..", "a/..", "a\nb", "x" * 101])
def test_what_is_no_name_is_refused(sent: str) -> None:
    with pytest.raises(LeadsRefused, match="bad_name"):
        records.file_name(sent)


async def test_a_database_that_is_away_is_said(leads: Leads, store: Store) -> None:
    await store.write(lambda c: c.exec_driver_sql("DROP TABLE leads"))

    with pytest.raises(StoreUnavailable):
        await leads.add("default", "one.csv", CSV)

    assert await leads.lists("default") == []
