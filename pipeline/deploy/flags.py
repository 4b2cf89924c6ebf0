"""What a reader of a prediction has to know: quality, and whether the patient is like the study's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.deploy.covariate_shift import covariate_title
from pipeline.deploy.manifest import CovariateRange, Manifest
from pipeline.errors import PipelineError

Level = Literal["warning", "note"]
WIDE_SPREAD = 1.0
"""SD of the folds' Z-scores above which they do not agree on the patient's risk."""


@dataclass(frozen=True)
class Flag:
    """One thing to know.

    Attributes:
        level: `warning`: the prediction may not hold; `note`: how it came about.
        about: What it concerns.
        text: A sentence.
    """

    level: Level
    about: str
    text: str


def out_of_domain(manifest: Manifest, covariates: Mapping[str, float]) -> list[Flag]:
    """A warning for each covariate outside the range that the development patients make plausible."""
    return [
        Flag(
            "warning",
            "out of domain",
            f"{covariate_title(name)} is {covariates[name]:.4g}; patients like the {known.patients} "
            f"development patients lie between {known.low:.4g} and {known.high:.4g}",
        )
        for name, known in manifest.cohort.covariates.items()
        if name in covariates and not _within(covariates[name], known)
    ]


def _within(value: float, known: CovariateRange) -> bool:
    """Equal but for rounding is within: in a constant cohort both ends are the same number."""
    tolerance = 1e-6 * max(abs(known.low), abs(known.high))
    return known.low - tolerance <= value <= known.high + tolerance


def unknown_scanner(manifest: Manifest, scanner: str) -> list[Flag]:
    """A warning where the PET scanner is none of the study's."""
    if not scanner or not manifest.cohort.scanners or scanner in manifest.cohort.scanners:
        return []
    return [
        Flag(
            "warning",
            "out of domain",
            f"the PET is from a {scanner}; the study's are from {', '.join(manifest.cohort.scanners)}",
        )
    ]


def suv_flags(suv: Mapping[str, object]) -> list[Flag]:
    """Flags and assumptions of the stage `suv`, from its `suv.json`."""
    flags = [Flag("warning", "SUV", str(text)) for text in _texts(suv.get("flags"))]
    return flags + [Flag("note", "SUV", str(text)) for text in _texts(suv.get("assumptions"))]


def _texts(values: object) -> list[object]:
    return list(values) if isinstance(values, list) else []


def disagreement(spread: float) -> list[Flag]:
    """A warning where the folds' Z-scores lie far apart."""
    if not spread > WIDE_SPREAD:
        return []
    return [Flag("warning", "folds", f"the folds' Z-scores have a standard deviation of {spread:.2f}")]


def other_code(manifest: Manifest, digest: str) -> list[Flag]:
    """A warning where this software's prediction code is not that of the software that made the bundle."""
    if manifest.software.code == digest:
        return []
    text = f"the bundle was made by other code (version {manifest.software.version})"
    return [Flag("warning", "software", text)]


def clinical_flags(manifest: Manifest, given: Mapping[str, str]) -> list[Flag]:
    """Flags of the clinical columns: missing values, and text that no development patient had.

    Args:
        manifest: The bundle's manifest.
        given: Text by column; blank: unknown.

    Raises:
        PipelineError: A column was not given, is not one of the bundle's, or is not a number
            where it must be.
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
    numbers = manifest.number_columns()
    flags = []
    for name, text in given.items():
        if not text:
            filled = "median" if name in numbers else "most frequent level"
            flags.append(Flag("note", "clinical", f"{name} is unknown; the training {filled} is used"))
        elif name in numbers:
            if not _is_number(text):
                raise PipelineError(
                    "a clinical value is not a number",
                    where=f"--clinical {name}",
                    got=repr(text[:40]),
                    action=f"give a number, or {name}= where it is unknown",
                )
        elif text not in manifest.cohort.levels.get(name, ()):
            known = ", ".join(manifest.cohort.levels.get(name, ()))
            text = f"{name} {text[:40]!r} is new (known: {known}); it counts as the most frequent level"
            flags.append(Flag("warning", "clinical", text))
    return flags


def _is_number(text: str) -> bool:
    """Python reads `nan` and `inf` as numbers; neither is a measurement."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
