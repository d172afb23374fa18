"""Every word of the pages is there in every language."""

from pathlib import Path
from typing import get_args

from babel.messages.extract import extract_from_dir

from router import dashboard
from router.campaigns import refusals
from router.campaigns.leads import FIXES
from router.campaigns.model import DAYS
from router.campaigns.preview import WORDS
from router.campaigns.progress import RunState
from router.dashboard.dialer import DISPOSITIONS
from router.dashboard.hooks import STATES
from router.dashboard.languages import LANGUAGES, words
from router.dashboard.runs import FUNNEL
from router.dashboard.table import PAGES
from router.records import recordings
from router.records.attempts import State

TEMPLATES = Path(dashboard.__file__).parent / "templates"


def asked() -> set[str]:
    found: set[str] = {page.title for page in PAGES if page.method == "GET"}
    how = [("**.html", "jinja2.ext:babel_extract")]
    for _, _, message, *_ in extract_from_dir(
        str(TEMPLATES), how, {"**.html": {"silent": "false"}}
    ):
        found |= {message} if isinstance(message, str) else set(message)
    return found


def test_german_has_every_word_and_none_that_nobody_asks_for() -> None:
    named = {"no_answer", "busy", "declined", "voicemail", "answered", "transferred"}
    named |= {"house", "file", "stale", "last_known_good", "inbound", "outbound"}
    named |= {"warning", "error", "Not possible", "fresh", "revalidating", "absent"}
    named |= {"builtin", "made", "call", "api", "csv", "cli"}
    named |= {
        *get_args(State),
        *get_args(recordings.State),
        *get_args(RunState),
        *DISPOSITIONS,
        *FUNNEL,
        *STATES,
    }
    named |= {"operator", "failing", "gone"}
    named |= {*refusals.FIXES, *refusals.FIXES.values()}
    named |= {*WORDS.values(), *FIXES, *FIXES.values(), *DAYS}

    assert set(words("de")) == asked() | named
    assert set(LANGUAGES) == {"en", "de"}
