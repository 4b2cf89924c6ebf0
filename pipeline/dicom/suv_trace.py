"""The reasoning behind one patient's SUV, gathered while it is made."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Trace:
    """What was done, what was taken for granted, what looks odd.

    Attributes:
        path: Steps in order, each with the values it used.
        assumptions: What the headers don't say and the standard, a vendor's habit or a
            setting supplied.
        flags: What a person should look at.
    """

    path: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
