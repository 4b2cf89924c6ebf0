"""Numbers as messages print them: what hostile headers make of them stays readable, too."""

from __future__ import annotations

_MOST_PERCENT, _LONG_S = 1000.0, 1000 * 86400.0


def percent_of_suv(percent: float, digits: int = 1) -> str:
    """A change of SUV: `+7.9 %`; from eleven times as high on, that it is more than ten times as high.

    Args:
        percent: The change in percent.
        digits: Decimal places.
    """
    if percent >= _MOST_PERCENT:
        return "more than ten times as high"
    return f"{percent:+.{digits}f} %"


def duration(seconds: float) -> str:
    """A time without its sign: `59 s`, `12 min`, `50 h`, `12 days`."""
    seconds = abs(seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 86400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 86400:.0f} days" if seconds < _LONG_S else "more than 1,000 days"
