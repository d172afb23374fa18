"""How long everything is kept, as it is shown: with what the sweeper does not delete."""

from router.records.claims import KEPT_S as CLAIMS_KEPT_S
from router.records.outbox import KEPT_S as EVENTS_KEPT_S
from router.records.retention import DAY_S, kinds
from router.settings import RouterSettings


def shown_days(settings: RouterSettings) -> list[tuple[str, float | None, str | None]]:
    """Return each kind, its days (None: until somebody deletes it), and its setting."""
    return [
        *((kind.name, kind.days, kind.setting) for kind in kinds(settings)),
        ("journal", settings.journal_days, "JOURNAL_DAYS"),
        ("snapshots", settings.snapshots_days, "SNAPSHOTS_DAYS"),
        ("claims", CLAIMS_KEPT_S / DAY_S, None),
        ("events", EVENTS_KEPT_S / DAY_S, None),
        ("do_not_call", None, None),
        ("consents", None, None),
    ]
