"""The OpenAPI document is valid, and says what the table says."""

from pathlib import Path

from openapi_spec_validator import validate

from router.api.openapi import document
from router.api.stream import EVENTS
from router.api.table import ENDPOINTS
from tests.router.api.rig import open_rig


def test_it_is_a_valid_openapi_document() -> None:
    validate(document(ENDPOINTS, "/api", (EVENTS,)))


async def test_it_is_served_and_has_every_endpoint(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, rig.client() as client:
        served = (await client.get("/openapi.json")).json()

    described = {
        (method.upper(), path) for path, item in served["paths"].items() for method in item
    }
    assert described == {
        *((one.method, "/api" + one.path) for one in ENDPOINTS),
        ("GET", "/events"),
    }
    assert all(
        operation["x-needs"] == "nothing" or operation["security"]
        for item in served["paths"].values()
        for operation in item.values()
    )
