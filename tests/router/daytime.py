"""Where it is day: a gate that asks for the clock on the wall must not fail tests at night."""

import time


def noon_zone(now: float | None = None) -> str:
    """Name a time zone in which it is about two in the afternoon."""
    hour = time.gmtime(time.time() if now is None else now).tm_hour
    ahead = (14 - hour + 12) % 24 - 12  # hours before UTC, from -12 to 11
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def leads_csv(*numbers: str, zone: str | None = None) -> bytes:
    """Write a list of people who may be called at this hour."""
    head = (
        "phone,prospect_name,company_name,timezone,resource_name,consent,consent_at,consent_source"
    )
    where = zone or noon_zone()
    rows = [
        f"{number},Person {place},Alder & Sons,{where},Lakeside,calls,2026-01-02,form"
        for place, number in enumerate(numbers, 1)
    ]
    return "\n".join([head, *rows]).encode()
