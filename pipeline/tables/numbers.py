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
MISSING = frozenset({"na", "n/a", "nan", "null"})
"""Words that other programs write for an unknown number (R, pandas, SQL)."""
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", re.ASCII)


class SlipError(TableError):
    """A cell holds something that was meant as a number and is none: no patient is left out for a slip of the pen."""

    lists_problems = True


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
    kind = TableError if is_blank(text) else SlipError
    raise kind(
        f"column {column!r} must be a number",
        where=where,
        expected="digits with a decimal point, such as 730.5",
        got=repr(text) + likeness(text.strip()),
        action="correct this row or remove the patient",
    )


def is_blank(text: str) -> bool:
    """Whether a cell says that the value is not known: nothing, or a program's word for it."""
    return not text.strip() or text.strip().lower() in MISSING


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


def likeness(text: str) -> str:
    """What a text that is no number looks like, to be said after it; empty where it looks like nothing known."""
    if _COMMA.fullmatch(text):
        return ", a decimal comma"
    if _DATE.fullmatch(text):
        return ", a date"
    if "_" in text and is_number(text.replace("_", "")):
        return ", a number with an underscore"
    if any(c.isdigit() and not c.isascii() for c in text):
        return ", digits of another script"
    return ""
