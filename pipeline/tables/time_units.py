"""Times of a study in the unit that people read."""

from __future__ import annotations

from pipeline.settings.base import DAYS_PER_MONTH

DAYS_PER_YEAR = 365.25


def horizon_name(days: float, time_unit: str) -> str:
    """A time of evaluation: `2 years`, `6 months`, or the bare number without unit."""
    if time_unit == "none":
        return f"time {days:g}"
    if days < DAYS_PER_YEAR * 0.999:
        return f"{days / DAYS_PER_MONTH:.3g} months"
    # Whoever writes 365 days means a year, not 0.999 of one.
    years = f"{round(days / DAYS_PER_YEAR, 2):.3g}"
    return f"{years} year" + ("" if years == "1" else "s")
