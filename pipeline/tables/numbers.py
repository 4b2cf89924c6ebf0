"""Numbers in the cells of a cohort table: decimal notation in ASCII, nothing else that Python would accept.

`float` also reads `1_0` as 10, digits of other scripts, `inf` and `nan`: a slip of the pen would become
a time. What people write instead of a number has names of its own in the message, so that the reason
is found at once.
"""

from __future__ import annotations

import math
import re

from pipeline.errors import TableError

LONGEST_DAYS = 54_787.0
"""150 years: no patient is followed for longer; a longer time is a date, another unit, or a slip."""
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", re.ASCII)


def is_number(text: str) -> bool:
    """Whether a cell holds a finite number in decimal notation."""
    return _DECIMAL.fullmatch(text.strip()) is not None and math.isfinite(float(text))


def cell_number(text: str, column: str, where: str) -> float:
    """The number in a cell.

    Args:
        text: The cell.
        column: Its column, for the message.
        where: Table and line, for the message.

    Raises:
        TableError: The cell holds no finite number; decimal commas and dates are named as such.
    """
    if is_number(text):
        return float(text)
    raise TableError(
        f"column {column!r} must be a number",
        where=where,
        expected="digits with a decimal point, such as 730.5",
        got=repr(text) + _likeness(text.strip()),
        action="correct this row or remove the patient",
    )


def require_time(days: float, column: str, where: str) -> None:
    """Refuse a time that nobody can have been followed for.

    Args:
        days: Time from baseline, days.
        column: Its column, for the message.
        where: Table and line, for the message.

    Raises:
        TableError: The time is 0, negative, or above 150 years.
    """
    if not 0 < days <= LONGEST_DAYS:
        bound = "must be greater than 0" if days <= 0 else "is longer than a life"
        raise TableError(
            f"column {column!r} {bound}",
            where=where,
            expected=f"time from baseline to event or last follow-up, above 0 and at most {LONGEST_DAYS:,.0f} days",
            got=f"{days:g} days",
            action="correct this row or remove the patient (times in months: cohort.time_unit)",
        )


def _likeness(text: str) -> str:
    if _COMMA.fullmatch(text):
        return ", a decimal comma"
    if _DATE.fullmatch(text):
        return ", a date"
    return ""
