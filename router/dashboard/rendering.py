"""Templates to HTML. Everything that comes from outside is escaped, by Jinja, always."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import personas
from router.dashboard.assets import asset_url
from router.dashboard.languages import LANGUAGES, translate


@lru_cache(maxsize=32)
def _environment(language: str, zone: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("router.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    told = partial(translate, language)
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        told, lambda one, many, n: told(one if n == 1 else many), newstyle=True
    )
    environment.globals.update(
        asset=asset_url,
        languages=LANGUAGES,
        language=language,
        zone=zone,
        version=personas.__version__,
    )
    environment.filters.update(
        moment=partial(moment, zone=zone),
        seconds=seconds,
        ms=milliseconds,
        json=as_json,
        query=query,
        said=said,
        word=partial(_word, told),
    )
    return environment


def _word(told: Callable[[str], str], name: str) -> str:
    """Say a word of ours as people do: ``no_answer`` is no answer."""
    return told(name).replace("_", " ")


def render(template: str, language: str, values: Mapping[str, Any], zone: str = "") -> str:
    """Return the page that *template* makes of *values*, with times in *zone* (empty: UTC)."""
    return _environment(language, zone).get_template(template).render(values)


def moment(at: float | None, zone: str = "") -> Markup:
    """Write Unix seconds as a time in *zone*, else in UTC, which a script makes the reader's."""
    if at is None:
        return Markup("—")
    when = datetime.fromtimestamp(at, ZoneInfo(zone) if zone else UTC)
    machine, human = when.isoformat(timespec="milliseconds"), when.strftime("%Y-%m-%d %H:%M:%S %Z")
    return Markup('<time datetime="{}">{}</time>').format(machine, human)


def seconds(value: float | None) -> str:
    """Write a length of time: 8 s, 2:05 min, 1:02:05 h."""
    if value is None:
        return "—"
    minutes, left = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02} h"
    return f"{minutes}:{left:02} min" if minutes else f"{left} s"


def milliseconds(value: float | None) -> str:
    """Write milliseconds: 0.4 ms, 12 ms, 1,204 ms."""
    if value is None:
        return "—"
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"  # noqa: PLR2004


def as_json(value: Any) -> str:
    """Write a value as JSON that people read."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def query(values: Mapping[str, Any], **changed: Any) -> str:
    """Write the query of a link: *values* with some *changed*; None leaves one out."""
    wanted = {**values, **changed}
    return urlencode({key: value for key, value in wanted.items() if value not in (None, "")})


def said(text: str | None) -> str:
    """Give what a caller or a carrier wrote so that it cannot turn the text around it about."""
    return "—" if not text else f"\u2068{text}\u2069"
