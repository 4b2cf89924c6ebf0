"""Numbers and names as a paper prints them."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import Any

from pipeline.settings.base import DAYS_PER_MONTH
from pipeline.tables.time_units import DAYS_PER_YEAR

MISSING = "–"


@dataclass(frozen=True)
class TimeAxis:
    """The unit of a time axis.

    Attributes:
        days: Length of the unit in days (1 where the study's time has no unit).
        label: Title of the axis.
    """

    days: float
    label: str

    @classmethod
    def of(cls, time_unit: str, longest_days: float) -> TimeAxis:
        """Years, or months where nobody was followed for two years; `none`: no unit."""
        if time_unit == "none":
            return cls(1.0, "Time (no unit)")
        if longest_days >= 2 * DAYS_PER_YEAR:
            return cls(DAYS_PER_YEAR, "Years")
        return cls(DAYS_PER_MONTH, "Months")

    def ticks(self, longest_days: float, steps: int = 6) -> list[float]:
        """At most `steps` + 1 round numbers of units from 0 to the longest time."""
        end = longest_days / self.days
        if end <= 0:
            return [0.0]
        rough = end / steps
        power = 10.0 ** math.floor(math.log10(rough))
        # Parts of years and months are hard to read: only times without unit are divided further.
        sizes = [m * power for m in (1, 2, 5, 10)] if self.days == 1 else [1, 2, 3, 6, 12, 24, 60, 120]
        step = next((size for size in sizes if size >= rough * (1 - 1e-9)), sizes[-1])
        return [i * step for i in range(int(end / step + 1e-9) + 1)]


TURNING = frozenset({"R", "AL", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "FSI"})
"""Unicode's classes of letters and marks that change the direction of what stands beside them."""
CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Marks that embed, override or isolate a direction (Unicode Standard Annex 9)."""


def isolated(text: str) -> str:
    """A user's text for a sentence: between isolates where it would turn the letters after it round.

    Marks within it that could end the isolate are left out.
    """
    if not any(unicodedata.bidirectional(letter) in TURNING for letter in text):
        return text
    return f"\u2068{text.translate(CONTROLS)}\u2069"


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def display_name(name: str) -> str:
    """A model's or column's name with spaces instead of underscores."""
    return isolated(name.replace("_", " "))


def is_known(value: Any) -> bool:
    """Whether a value is present and finite."""
    return value is not None and value == value and not (isinstance(value, float) and math.isinf(value))


def format_number(value: Any, digits: int) -> str:
    """A number with a fixed count of decimals, or a dash."""
    if not is_known(value):
        return MISSING
    # + 0.0: a number that rounds to zero has no sign.
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def format_interval(value: Any, low: Any, high: Any, digits: int = 3) -> str:
    """`0.712 (0.65–0.77)`, the interval with at most two decimals.

    Without interval where there is none; a dash where the value is unknown.
    """
    if not is_known(value):
        return MISSING
    text = format_number(value, digits)
    if not (is_known(low) and is_known(high)):
        return text
    fewer = min(digits, 2)
    dash = " to " if float(low) < 0 or float(high) < 0 else "–"
    return f"{text} ({format_number(low, fewer)}{dash}{format_number(high, fewer)})"


def format_p_value(value: Any) -> str:
    """`< 0.001`, three decimals below 0.1, else two."""
    if not is_known(value):
        return MISSING
    if float(value) < 0.001:
        return "< 0.001"
    return format_number(value, 3 if float(value) < 0.1 else 2)


def format_p_relation(value: Any) -> str:
    """A p-value with its relation, e.g. `= 0.031` or `< 0.001`."""
    text = format_p_value(value)
    return text if text.startswith("<") else f"= {text}"


def format_cell(value: Any) -> str:
    """A table's cell: four significant digits, a dash where unknown or empty."""
    if isinstance(value, str):
        return value or MISSING
    if not is_known(value):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if 0 < abs(value) < 1e-4:
            mantissa, exponent = f"{value:.2e}".split("e")
            return f"{mantissa} × 10".replace("-", "−") + str(int(exponent)).translate(SUPERSCRIPTS)
        return (f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}").replace("-", "−")
    return str(value)
