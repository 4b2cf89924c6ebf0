"""What a reader of a prediction has to know: quality, and likeness to the study's patients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.deploy.covariate_shift import label
from pipeline.deploy.manifest import Manifest, NetworkFold
from pipeline.errors import PipelineError

Level = Literal["warning", "note"]
WIDE_SPREAD = 1.0
"""Folds that differ by more than this SD of Z do not agree on where the patient stands."""


@dataclass(frozen=True)
class Flag:
    """One thing to know.

    Attributes:
        level: `warning`: the prediction may not hold; `note`: how it came about.
        about: What it concerns.
        text: In a sentence.
    """

    level: Level
    about: str
    text: str


def out_of_domain(manifest: Manifest, found: Mapping[str, float]) -> list[Flag]:
    """A warning for each quantity outside the development patients' 1st to 99th percentile."""
    flags = []
    for name, span in manifest.cohort.spans.items():
        if name in found and not _within(found[name], span.low, span.high):
            flags.append(
                Flag(
                    "warning",
                    "out of domain",
                    f"{label(name)} is {found[name]:.4g}; of {span.patients} development patients 98 % lie "
                    f"between {span.low:.4g} and {span.high:.4g}",
                )
            )
    return flags


def _within(value: float, low: float, high: float) -> bool:
    """Equal but for rounding is within: of a constant cohort both ends are one number."""
    slack = 1e-6 * max(abs(low), abs(high))
    return low - slack <= value <= high + slack


def unknown_scanner(manifest: Manifest, scanner: str) -> list[Flag]:
    """A warning where the PET's scanner is none of the study's."""
    if not scanner or not manifest.cohort.scanners or scanner in manifest.cohort.scanners:
        return []
    return [
        Flag(
            "warning",
            "out of domain",
            f"the PET is of a {scanner}; the study's are of {', '.join(manifest.cohort.scanners)}",
        )
    ]


def suv_flags(account: Mapping[str, object]) -> list[Flag]:
    """What the SUV stage flagged and assumed."""
    flags = [Flag("warning", "SUV", str(text)) for text in _texts(account.get("flags"))]
    return flags + [Flag("note", "SUV", str(text)) for text in _texts(account.get("assumptions"))]


def _texts(values: object) -> list[object]:
    return list(values) if isinstance(values, list) else []


def disagreement(spread: float) -> list[Flag]:
    """A warning where the folds' Z-scores lie far apart."""
    if not spread > WIDE_SPREAD:
        return []
    return [Flag("warning", "folds", f"the folds' Z-scores have a standard deviation of {spread:.2f}")]


def other_code(manifest: Manifest, digest: str) -> list[Flag]:
    """A warning where this software's prediction code is not the one the bundle was made by."""
    if manifest.software.get("code") == digest:
        return []
    version = manifest.software.get("version", "?")
    return [Flag("warning", "software", f"the bundle was made by other code (version {version})")]


def clinical_flags(manifest: Manifest, given: Mapping[str, str]) -> list[Flag]:
    """What is said of clinical columns: unknown values, and text no training patient had.

    Raises:
        PipelineError: A column was not given, is not known, or is no number where one belongs.
    """
    missing = [name for name in manifest.clinical if name not in given]
    unknown = [name for name in given if name not in manifest.clinical]
    if missing or unknown:
        raise PipelineError(
            "the clinical values are not those the bundle needs",
            where="--clinical",
            expected=", ".join(f"{name}=…" for name in manifest.clinical) or "none",
            got=", ".join(given) or "none",
            action="give each as --clinical NAME=VALUE; NAME= says that it is unknown",
        )
    numbers = number_columns(manifest)
    flags = []
    for name, text in given.items():
        if not text:
            filled = "median" if name in numbers else "most frequent level"
            flags.append(Flag("note", "clinical", f"{name} is unknown; the training {filled} is taken"))
        elif name in numbers:
            if not _is_number(text):
                raise PipelineError(
                    "a clinical value is no number",
                    where=f"--clinical {name}",
                    got=repr(text[:40]),
                    action=f"give a number, or {name}= where it is unknown",
                )
        elif text not in manifest.cohort.levels.get(name, ()):
            known = ", ".join(manifest.cohort.levels.get(name, ()))
            told = f"{name} {text[:40]!r} is new (known: {known}); it counts as the most frequent level"
            flags.append(Flag("warning", "clinical", told))
    return flags


def _is_number(text: str) -> bool:
    """Python reads `nan` and `inf` as numbers; neither is a measurement."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def number_columns(manifest: Manifest) -> set[str]:
    """Clinical columns that are numbers; the others are text."""
    states = [
        fold.about["clinical"] if isinstance(fold, NetworkFold) else fold.clinical
        for member in manifest.members.values()
        for fold in member.folds
    ]
    return {name for state in states for name in state["numbers"]}
