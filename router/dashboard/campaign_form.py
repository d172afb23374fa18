"""A campaign as the fields of a form, and back. Pure: what a field may hold, the model says."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from router.campaigns.model import DAYS, Campaign
from router.errors import RequestRefused

RETRIED: Final = ("no_answer", "busy", "voicemail", "failed")
_TICKS: Final = ("auto_next", "tools", "recorded")
TICKED: Final = (*(f"day_{day}" for day in DAYS), *_TICKS)
_SAME: Final = (
    "name",
    "agent_text",
    "session_text",
    "trunk_id",
    "caller_number",
    "consent",
    "concurrency",
    "calls_per_second",
)
_NUMBERS: Final = {"concurrency": int, "calls_per_second": float}
_BUDGETS: Final = {
    "budget_calls": int,
    "budget_calls_per_day": int,
    "budget_minutes": float,
    "budget_minutes_per_day": float,
}


def fields_of(campaign: Campaign) -> dict[str, str]:
    """Write *campaign* into the fields; a box that is ticked says ``on``."""
    fields = {name: str(getattr(campaign, name)) for name in _SAME}
    fields["personas"] = "\n".join(f"{one.id} {one.weight}" for one in campaign.personas)
    fields["opens"], fields["closes"] = campaign.window.opens, campaign.window.closes
    fields |= {f"day_{day}": "on" for day in campaign.window.days}
    for name in RETRIED:
        retry = next((one for key, one in campaign.retries.items() if key == name), None)
        fields[f"{name}_times"] = str(retry.times) if retry else ""
        fields[f"{name}_after_min"] = f"{retry.after_s / 60:g}" if retry else ""
    fields["countries"] = ", ".join(campaign.countries)
    for name in _BUDGETS:
        budget = getattr(campaign, name)
        fields[name] = "" if budget is None else str(budget).removesuffix(".0")
    fields |= {name: "on" for name in _TICKS if getattr(campaign, name)}
    return fields


def changes_of(form: Mapping[str, str]) -> dict[str, Any]:
    """Read the whole form as a campaign's fields.

    Raises:
        RequestRefused: 422, a field that should hold a number holds none.
    """
    changes: dict[str, Any] = {name: _lines(form.get(name, "")) for name in _SAME}
    changes |= {name: _number(name, changes[name], kind) for name, kind in _NUMBERS.items()}
    changes["personas"] = [_persona(line) for line in form.get("personas", "").splitlines() if line]
    changes["window"] = {
        "days": [day for day in DAYS if form.get(f"day_{day}")],
        "opens": form.get("opens", ""),
        "closes": form.get("closes", ""),
    }
    changes["retries"] = {
        name: {
            "times": _number(f"{name}_times", form[f"{name}_times"], int),
            "after_s": 60 * _number(f"{name}_after_min", form.get(f"{name}_after_min", ""), float),
        }
        for name in RETRIED
        if form.get(f"{name}_times", "").strip()
    }
    listed = form.get("countries", "").replace(",", " ").split()
    changes["countries"] = [country.upper() for country in listed]
    for name, kind in _BUDGETS.items():
        budget = form.get(name, "").strip()
        changes[name] = _number(name, budget, kind) if budget else None
    return changes | {name: bool(form.get(name)) for name in _TICKS}


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    with suppress(ValueError):
        return kind(text.strip().replace(",", "."))
    raise RequestRefused("invalid", status=422, fix=f"{name}: write a number")


def _persona(line: str) -> dict[str, Any]:
    """Read ``id`` or ``id weight``."""
    name, _, weight = line.strip().rpartition(" ")
    if name and weight.isdecimal():
        return {"id": name.strip(), "weight": int(weight)}
    return {"id": line.strip()}
