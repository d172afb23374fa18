"""Calls and totals as PDF, for people who file paper. Pure: no I/O.

What is given is masked already. Everything in it is text: reportlab would read markup in it.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

Language: TypeAlias = Literal["en", "de"]

MAX_TURNS: Final = 2_000
MAX_CHARS: Final = 4_000  # of one text
_LINE: Final = colors.HexColor("#dfe3e7")
_MUTED: Final = colors.HexColor("#57626c")
_PLAIN: Final = ParagraphStyle("plain", fontName="Helvetica", fontSize=9, leading=12)
_SMALL: Final = ParagraphStyle("small", parent=_PLAIN, textColor=_MUTED, fontSize=8)
_HEAD: Final = ParagraphStyle("head", parent=_PLAIN, fontName="Helvetica-Bold", fontSize=11)
_TITLE: Final = ParagraphStyle("title", parent=_HEAD, fontSize=15, leading=20)
_DE: Final = {
    "Call": "Anruf",
    "Began": "Begann",
    "Caller": "Anrufer",
    "Dialed": "Gewählt",
    "Persona": "Persona",
    "Origin": "Herkunft",
    "Ended as": "Endete als",
    "Length": "Dauer",
    "Ring": "Klingeln",
    "Because": "Weil",
    "Stages": "Stationen",
    "Facts": "Fakten",
    "Transcript": "Mitschrift",
    "Agent": "Agent",
    "goes on": "läuft",
    "Nothing was said.": "Es wurde nichts gesagt.",
    "Only the first turns are here.": "Hier stehen nur die ersten Äußerungen.",
    "Summary": "Zusammenfassung",
    "Calls": "Anrufe",
    "Active": "Aktiv",
    "Last calls": "Letzte Anrufe",
    "Page": "Seite",
    "made at": "erstellt am",
}


def call_paper(
    call: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    facts: Sequence[Mapping[str, Any]],
    turns: Sequence[Mapping[str, Any]],
    *,
    at: float,
    language: Language,
) -> bytes:
    """Write one call; *at* (Unix seconds) is now."""
    word = _words(language)
    ended = call["disposition"] if call["ended_at"] is not None else word("goes on")
    about = [
        ("Began", _moment(call["started_at"])),
        ("Caller", call["caller"]),
        ("Dialed", call["dialed_number"]),
        ("Persona", call["persona_name"]),
        ("Origin", call["persona_origin"]),
        ("Ended as", ended),
        ("Length", _seconds(call["duration_s"])),
        ("Ring", _ms(call["ring_ms"])),
        ("Because", call["reason"]),
    ]
    story: list[Flowable] = [
        _text(f"{word('Call')} {call['call_id']}", _TITLE),
        _table([(word(name), value) for name, value in about]),
    ]
    if stages:
        rows = [(one["name"], _ms(one["ms"])) for one in stages]
        story += [*_heading(word("Stages")), _table(rows)]
    if facts:
        rows = [(one["category"], one["information"]) for one in facts]
        story += [*_heading(word("Facts")), _table(rows)]
    story += _heading(word("Transcript"))
    for turn in turns[:MAX_TURNS]:
        who = word("Agent") if turn["by"] == "agent" else word("Caller")
        story += [_text(f"{who}, {_moment(turn['at'])}", _SMALL), _text(turn["text"], _PLAIN)]
    if not turns:
        story.append(_text(word("Nothing was said."), _SMALL))
    if len(turns) > MAX_TURNS:
        story.append(_text(word("Only the first turns are here."), _SMALL))
    return _paper(f"{word('Call')} {call['call_id']}", story, at, language)


def summary_paper(summary: Mapping[str, Any], *, at: float, language: Language) -> bytes:
    """Write the totals and the latest calls."""
    word = _words(language)
    totals = [("Calls", summary["calls"]), ("Active", summary["active"])]
    totals.append(("Facts", summary["facts"]))
    recent = [
        (_moment(one["start"]), f"{one['caller'] or '—'} · {one['facts']} {word('Facts')}")
        for one in summary["recent"]
    ]
    story: list[Flowable] = [
        _text(word("Summary"), _TITLE),
        _table([(word(name), value) for name, value in totals]),
        *_heading(word("Facts")),
        _table(list(summary["facts_by_category"].items())),
        *_heading(word("Last calls")),
        _table(recent),
    ]
    return _paper(word("Summary"), story, at, language)


def _words(language: Language) -> Any:
    return (lambda text: _DE.get(text, text)) if language == "de" else (lambda text: text)


def _text(value: Any, style: ParagraphStyle) -> Paragraph:
    """Write a text as it is; the fonts of every PDF reader know Latin letters alone."""
    plain = str(value)[:MAX_CHARS].encode("cp1252", "replace").decode("cp1252")
    return Paragraph(escape(plain).replace("\n", "<br/>"), style)


def _heading(text: str) -> list[Flowable]:
    return [Spacer(1, 5 * mm), _text(text, _HEAD), Spacer(1, 1.5 * mm)]


def _table(rows: Sequence[tuple[Any, Any]]) -> Flowable:
    if not rows:
        return _text("—", _SMALL)
    cells = [
        [_text(name, _SMALL), _text("—" if value in {None, ""} else value, _PLAIN)]
        for name, value in rows
    ]
    table = Table(cells, colWidths=[42 * mm, 128 * mm])
    lines: list[Any] = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    table.setStyle(TableStyle(lines))
    return table


def _paper(title: str, story: list[Flowable], at: float, language: Language) -> bytes:
    word = _words(language)

    def foot(canvas: Any, paper: Any) -> None:
        canvas.setFont("Helvetica", 7.5)
        canvas.setFillColor(_MUTED)
        left = f"persona-router · {word('made at')} {_moment(at)}"
        canvas.drawString(20 * mm, 10 * mm, left)
        canvas.drawRightString(190 * mm, 10 * mm, f"{word('Page')} {paper.page}")

    out = io.BytesIO()
    paper = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=title,
        lang=language,
        invariant=1,
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=20 * mm,
        bottomMargin=20 * mm,
    )
    paper.build(story, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _moment(at: float | None) -> str:
    return "—" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.0f} s"


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:,.1f} ms"
