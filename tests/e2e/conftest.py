"""Fixtures of the end-to-end tests, which need the livekit-server binary.

Without it they are skipped, loudly, except on CI, where they fail. Logs of all processes are kept
in one folder, and what they wrote during a test is shown when it fails.
"""

import os
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import api

from router.demo import binary
from router.demo.livekit_server import LiveKitServer
from router.demo.persona_api import Faults
from router.demo.processes import Child
from router.demo.settings import DemoSettings
from tests.e2e.bed import Bed, open_bed
from tests.e2e.evidence import Evidence, open_evidence
from tests.e2e.worker import Worker, running_worker

HOW = (
    "livekit-server is missing; `make test` builds it, and so does "
    "`.venv/bin/python -m router.demo.livekit_server`"
)
LOGS = pytest.StashKey[Path]()
STARTED = pytest.StashKey[float]()
SHOWN_LINES = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    needing = [item for item in items if here in item.path.parents]
    missing = bool(needing) and binary.find(DemoSettings.load()) is None
    for item in needing:
        item.add_marker(pytest.mark.e2e)
        if missing and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason=f"SKIPPED, NOT TESTED: {HOW}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[STARTED] = time.time()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    folder = item.config.stash.get(LOGS, None)
    if report.failed and folder is not None:
        for log in sorted(folder.rglob("*.log")):
            if log.stat().st_mtime >= item.stash[STARTED]:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                report.sections.append(
                    (f"end of {log.relative_to(folder)}", "\n".join(lines[-SHOWN_LINES:]))
                )
    return report


@pytest.fixture(scope="session")
def livekit_program() -> Path:
    """The livekit-server binary."""
    found = binary.find(DemoSettings.load())
    if found is None:
        pytest.fail(HOW)
    return found


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder under which every process of this run logs."""
    folder = tmp_path_factory.mktemp("e2e")
    request.config.stash[LOGS] = folder
    return folder


@pytest.fixture
def folder(logs: Path, request: pytest.FixtureRequest) -> Path:
    """A new folder for the processes of one test; hand it to ``open_bed``."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:80]
    made = logs / f"{name}-{len(list(logs.iterdir()))}"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def module_folder(logs: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of the processes that a module's tests share."""
    made = logs / str(request.module.__name__).rpartition(".")[2]
    made.mkdir(exist_ok=True)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def livekit(module_folder: Path, livekit_program: Path) -> AsyncIterator[LiveKitServer]:
    """A server alone, without webhooks, for all tests of a module."""
    server = LiveKitServer(livekit_program, log_path=module_folder / "livekit-server.log")
    async with server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_worker(livekit: LiveKitServer, module_folder: Path) -> AsyncIterator[Child]:
    """A worker for all tests of a module; take it through ``worker``."""
    async with running_worker(livekit, module_folder) as running:
        yield running


@pytest_asyncio.fixture
async def worker(shared_worker: Child) -> AsyncIterator[Worker]:
    """A worker beside ``livekit``; its log begins with the test."""
    worker = Worker(shared_worker, before=len(shared_worker.log()))
    yield worker
    await worker.calls_over()


@pytest_asyncio.fixture
async def client(livekit: LiveKitServer) -> AsyncIterator[api.LiveKitAPI]:
    """LiveKit's API."""
    made = api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret, failover=False)
    yield made
    await made.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_bed(
    logs: Path, livekit_program: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Bed]:
    """Everything running, for all tests of a module; take it through ``bed``."""
    module = request.module
    async with open_bed(
        logs / module.__name__.rpartition(".")[2],
        livekit_program,
        personas=getattr(module, "PERSONAS", None),
        router_settings=getattr(module, "ROUTER_SETTINGS", None),
        agent_settings=getattr(module, "AGENT_SETTINGS", None),
        with_sip=getattr(module, "WITH_SIP", False),
    ) as running:
        yield running


@pytest.fixture
def bed(shared_bed: Bed) -> Iterator[Bed]:
    """Everything running, with the module's ``PERSONAS`` behind the persona API.

    The module's ``ROUTER_SETTINGS`` and ``AGENT_SETTINGS`` are environment variables; with
    ``SIP_EDGE`` the agent's transfers are taken. The processes are shared by the module's tests;
    the persona API's faults and counters are new for each.
    """
    yield shared_bed
    shared_bed.persona_api.faults = Faults()
    shared_bed.persona_api.requests.clear()


@pytest_asyncio.fixture
async def evidence(bed: Bed) -> AsyncIterator[Evidence]:
    """What can be seen of the bed from outside."""
    async with open_evidence(bed) as seen:
        yield seen
