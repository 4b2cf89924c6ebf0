"""Whether a bundle's model may be asked about a patient: the verdict above a prediction's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.deploy.flags import Flag

Answer = Literal["yes", "doubtful", "no"]
NO_LESION = "the networks found no lesion"
"""The flag without which nothing that was predicted is about a tumour."""


@dataclass(frozen=True)
class Answerable:
    """Whether the model may be asked.

    Attributes:
        answer: `yes`: nothing was flagged; `doubtful`: a warning says that the prediction may not hold;
            `no`: the prediction is about nothing.
        text: A sentence with the reasons in short.
    """

    answer: Answer
    text: str


def answerable(flags: Iterable[Flag], patients: int) -> Answerable:
    """The verdict that a prediction's warnings allow.

    Args:
        flags: All flags of the prediction.
        patients: Number of development patients.
    """
    warnings = [flag for flag in flags if flag.level == "warning"]
    if any(flag.text == NO_LESION for flag in warnings):
        return Answerable("no", f"No: {NO_LESION}, so that the numbers below are about none.")
    if not warnings:
        return Answerable(
            "yes",
            f"Yes: nothing about this patient lies outside of what the {patients} development patients make plausible. "
            "That it holds for a single patient is not shown by this.",
        )
    counted = Counter(flag.about for flag in warnings)
    reasons = ", ".join(f"{about} ({count})" if count > 1 else about for about, count in counted.items())
    total = f"{len(warnings)} warning{'s' * (len(warnings) > 1)}"
    return Answerable(
        "doubtful", f"With doubt: {total} ({reasons}). The prediction may not hold for this patient."
    )
