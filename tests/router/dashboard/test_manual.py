"""The API for people: every route, with a line that a shell understands."""

import json
import shlex

from router.api.openapi import document
from router.api.table import ENDPOINTS
from router.dashboard.manual import operations
from tests.router.api.rig import Rig

SHOWN = list(operations(document(ENDPOINTS, "/api")))


def test_every_route_has_a_line_of_curl_that_says_the_same() -> None:
    by_route = {(one["method"], one["path"]): one for one in SHOWN}
    assert set(by_route) == {(one.method, f"/api{one.path}") for one in ENDPOINTS}

    for row in ENDPOINTS:
        words = shlex.split(by_route[row.method, f"/api{row.path}"]["curl"])
        assert words[0] == "curl"
        assert (words[words.index("-X") + 1] if "-X" in words else "GET") == row.method
        (address,) = [word for word in words if word.startswith("$ROUTER/api")]
        path = address.removeprefix("$ROUTER/api").partition("?")[0]
        assert [part for part in path.split("/") if not part.startswith("$")] == [
            part for part in row.path.split("/") if not part.startswith("{")
        ]
        assert ("Authorization: Bearer $TOKEN" in words) is (row.needs != "nothing")
        if row.body is not None:
            sent = json.loads(words[words.index("-d") + 1])
            required = {
                name for name, field in row.body.model_fields.items() if field.is_required()
            }
            assert len(set(sent)) >= len(required)


async def test_the_page_shows_all_of_them_and_loads_nothing_from_elsewhere(rig: Rig) -> None:
    async with rig.client() as client:
        page = await client.get("/docs", headers=await rig.token("viewer"))

    assert page.status_code == 200
    assert page.text.count('<details class="route">') == len(ENDPOINTS)
    assert "https://" not in page.text.replace("https://router.example.org", "")
    assert "unsafe-inline" not in page.headers["content-security-policy"]
