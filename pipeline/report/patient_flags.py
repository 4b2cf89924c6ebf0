"""What has to be known of each patient, by severity: what stages warned of, what is unusual, what was assumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.report.qc_tables import without_dates

Severity = Literal["warning", "unusual", "note"]
"""`warning`: a stage doubts the patient's data; `unusual`: far from the cohort's values; `note`: an assumption."""


@dataclass(frozen=True)
class PatientFlag:
    """Something to know of a patient.

    Attributes:
        severity: How much it matters.
        stage: Where it was found.
        text: What it is.
    """

    severity: Severity
    stage: str
    text: str


@dataclass(frozen=True)
class PatientFlags:
    """Everything to know of a patient, the worst first."""

    flags: tuple[PatientFlag, ...]

    @property
    def severity(self) -> Severity | None:
        """The worst severity that marks a patient; None where there is nothing, or notes alone."""
        return next((flag.severity for flag in self.flags if flag.severity != "note"), None)

    @property
    def reasons(self) -> tuple[PatientFlag, ...]:
        """What marks the patient: all but notes."""
        return tuple(flag for flag in self.flags if flag.severity != "note")


def patient_flags(
    problems: Iterable[Mapping[str, str]], suv: Mapping[str, Any], unusual: Iterable[str]
) -> PatientFlags:
    """Gather what has to be known of a patient; dates are replaced by days since the first one.

    Args:
        problems: The patient's rows of `problems.csv`.
        suv: The patient's `suv.json`, or an empty mapping.
        unusual: Values far from the cohort's, as :func:`pipeline.report.outliers.rank_outliers` words them.
    """
    rows = list(problems)
    told = {row["problem"] for row in rows}
    flags = [
        PatientFlag("warning", row["stage"], f"{without_dates(row['problem'])}: {row['consequence']}")
        for row in rows
    ]
    flags += [PatientFlag("warning", "suv", text) for text in _texts(suv, "flags", told)]
    flags += [PatientFlag("unusual", "crop", text) for text in unusual]
    flags += [PatientFlag("note", "suv", text) for text in _texts(suv, "assumptions", told)]
    return PatientFlags(tuple(flags))


def _texts(suv: Mapping[str, Any], key: str, told: set[str]) -> list[str]:
    """Texts of an entry of `suv.json` that no problem says already."""
    return [without_dates(str(text)) for text in suv.get(key) or () if str(text) not in told]


def worst_first(flags: Mapping[str, PatientFlags]) -> dict[str, PatientFlags]:
    """Patients by severity, then by the number of reasons, else in their order."""
    rank = {"warning": 0, "unusual": 1, None: 2}
    order = sorted(flags.items(), key=lambda entry: (rank[entry[1].severity], -len(entry[1].reasons)))
    return dict(order)
