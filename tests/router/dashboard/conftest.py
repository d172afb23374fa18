"""What tests of pages share."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.router.api.rig import Rig
from tests.router.dashboard.rig import signed_in


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in which an operator has signed in."""
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        yield client
