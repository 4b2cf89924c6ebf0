"""Numbers and names as a paper prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pipeline.settings.base import DAYS_PER_MONTH

YEAR_DAYS = 365.25
NOTHING = "–"


@dataclass(frozen=True)
class Clock:
    """The unit of a time axis.

    Attributes:
        days: Length of the unit in days (1 where the study's time has no unit).
        label: Of the axis.
    """

    days: float
    label: str

    @classmethod
    def of(cls, time_unit: str, longest_days: float) -> Clock:
        """Years, or months where nobody was followed for two years; `none`: no unit."""
        if time_unit == "none":
            return cls(1.0, "Time (no unit)")
        if longest_days >= 2 * YEAR_DAYS:
            return cls(YEAR_DAYS, "Years")
        return cls(DAYS_PER_MONTH, "Months")

    def ticks(self, longest_days: float, wanted: int = 6) -> list[float]:
        """At most `wanted` + 1 round numbers of units from 0 to the longest time."""
        end = longest_days / self.days
        if end <= 0:
            return [0.0]
        rough = end / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        # Half units of years and months would not be read; only times without unit get them.
        steps = [m * power for m in (1, 2, 5, 10)] if self.days == 1 else [1, 2, 3, 6, 12, 24, 60, 120]
        step = next((s for s in steps if s >= rough * (1 - 1e-9)), steps[-1])
        return [i * step for i in range(int(end / step + 1e-9) + 1)]


def horizon_name(days: float, time_unit: str) -> str:
    """A time of evaluation: `2 years`, `6 months`, or the bare number without unit."""
    if time_unit == "none":
        return f"time {days:g}"
    if days < YEAR_DAYS * 0.999:
        return f"{days / DAYS_PER_MONTH:.3g} months"
    # 365 days are a year to whoever wrote them, not 0.999.
    years = f"{round(days / YEAR_DAYS, 2):.3g}"
    return f"{years} year" + ("" if years == "1" else "s")


def pretty(name: str) -> str:
    """A model's or column's name as words."""
    return name.replace("_", " ")


def known(value: Any) -> bool:
    """Whether a value is there and finite."""
    return value is not None and value == value and not (isinstance(value, float) and math.isinf(value))


def fixed(value: Any, digits: int) -> str:
    """A number with so many decimals, or a dash."""
    if not known(value):
        return NOTHING
    # + 0.0: what rounds to nothing has no sign.
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def interval(value: Any, low: Any, high: Any, digits: int = 3) -> str:
    """`0.712 (0.65–0.77)`, the interval with at most two decimals.

    Without interval where there is none; a dash where the value is unknown.
    """
    if not known(value):
        return NOTHING
    text = fixed(value, digits)
    if not (known(low) and known(high)):
        return text
    fewer = min(digits, 2)
    dash = " to " if float(low) < 0 or float(high) < 0 else "–"
    return f"{text} ({fixed(low, fewer)}{dash}{fixed(high, fewer)})"


def p_value(value: Any) -> str:
    """`< 0.001`, three decimals below 0.1, else two."""
    if not known(value):
        return NOTHING
    if float(value) < 0.001:
        return "< 0.001"
    return fixed(value, 3 if float(value) < 0.1 else 2)


def cell(value: Any) -> str:
    """A table's cell: four significant digits, a dash where unknown or empty."""
    if isinstance(value, str):
        return value or NOTHING
    if not known(value):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return (f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}").replace("-", "−")
    return str(value)
