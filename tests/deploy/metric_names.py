"""Which of the router's metrics an expression of Prometheus names, with which labels and values."""

import re
from collections.abc import Mapping
from typing import Final

from router.metrics import PREFIX, Described, Metrics

_SELECTOR: Final = re.compile(rf"({PREFIX}[a-z_]+)(?:\{{([^}}]*)\}})?")
_MATCHER: Final = re.compile(r'([a-z]+)(=~|!~|!=|=)"([^"]*)"')
_BY: Final = re.compile(r"\bby \(([^)]*)\)")
_PARTS: Final = ("_bucket", "_sum", "_count")
_ELSEWHERE: Final = {"le", "job", "instance"}  # labels that Prometheus brings


def catalogue() -> Mapping[str, Described]:
    """Return every metric by the names that its series have."""
    known: dict[str, Described] = {}
    for one in Metrics().catalogue:
        parts = _PARTS if one.kind == "histogram" else ("",)
        known |= {f"{one.name}{part}": one for part in parts}
    return known


def wrong(expression: str) -> list[str]:
    """Say what *expression* names that is not there."""
    known, labels = catalogue(), set(_ELSEWHERE)
    found: list[str] = []
    for name, matchers in _SELECTOR.findall(expression):
        if name not in known:
            found.append(f"no metric {name}")
            continue
        metric = known[name]
        labels |= {*metric.labels}
        for label, how, value in _MATCHER.findall(matchers):
            if label not in {*metric.labels, *_ELSEWHERE}:
                found.append(f"{name} has no label {label}")
            elif metric.values and how in {"=", "=~"}:
                missing = set(value.split("|")) - {*metric.values}
                found += [f"{name} has no {label} {one}" for one in sorted(missing)]
    for names in _BY.findall(expression):
        found += [f"nothing has a label {one}" for one in names.split(", ") if one not in labels]
    return found
