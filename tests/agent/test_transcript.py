import json
from itertools import count

from agent.transcript import Transcript


def test_entries_stand_in_order_with_the_persona_first() -> None:
    ticks = count(1)
    transcript = Transcript(clock=lambda: float(next(ticks)))

    transcript.persona_applied(version="sha256:0", origin="api", because="the API answered")
    transcript.said("agent", "Good day.")
    transcript.said("caller", "  ")
    transcript.said("caller", "Grüß Gott")

    assert json.loads(transcript.to_json()) == [
        {
            "kind": "persona_applied",
            "at": 1.0,
            "version": "sha256:0",
            "origin": "api",
            "because": "the API answered",
        },
        {"kind": "agent", "at": 2.0, "text": "Good day."},
        {"kind": "caller", "at": 3.0, "text": "Grüß Gott"},
    ]
    assert len(transcript.entries) == 3
