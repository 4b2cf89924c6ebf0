"""The command `suvival check`: everything that can be known of a study before its first job, a line each."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.check.beforehand import (
    models_without_features,
    problems_beforehand,
    unread_columns,
    unused_settings,
)
from pipeline.check.images import image_problems
from pipeline.errors import PipelineError, SettingsError
from pipeline.planning.folds import infeasible_plan_reason
from pipeline.settings.messages import require_single_keys
from pipeline.settings.root import load_settings
from pipeline.settings.study_file import Places, read_study_file
from pipeline.tables.cohort_rows import read_rows
from pipeline.workflow.announcements import start_lines
from pipeline.workflow.guards import require_images
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.resources import fold_memory_mb
from pipeline.workflow.study import Study, load_study

WARNING = "warning: "


@dataclass(frozen=True)
class Finding:
    """One thing to correct, or to know.

    Attributes:
        is_error: Whether the study would be refused, end early or lose a patient.
        text: What is wrong, where, and what to do, in one line.
    """

    is_error: bool
    text: str

    def line(self) -> str:
        """The finding as it is printed."""
        return f"{'error' if self.is_error else 'warning'}: {self.text}"


def check_study(path: Path, *, images: bool = True) -> list[Finding]:
    """Check a study's file, its cohort table and its images against one another.

    Args:
        path: The study's YAML file.
        images: Whether headers of images are read too, some milliseconds a file.

    Returns:
        Findings in the order in which they were made, errors and warnings; empty: nothing is wrong.
    """
    try:
        config = read_study_file(path)
        require_single_keys([path])
    except PipelineError as error:
        return list(_errors(error))
    try:
        study = load_study(config, [path])
    except PipelineError as error:
        return [*_errors(error), *_of_settings_alone(config, error)]
    return list(dict.fromkeys(_of_study(study, Places([path]), images=images)))


def _of_settings_alone(config: dict[str, Any], first: PipelineError) -> Iterator[Finding]:
    """What the settings tell beside the table that was refused."""
    try:
        settings = load_settings(config)
    except SettingsError:
        return
    if str(first).startswith("settings:"):
        return
    from pipeline.tables.cohort import Cohort

    for error in problems_beforehand(Study(settings, Cohort((), {}))):
        if str(error) != str(first):
            yield from _errors(error)


def _of_study(study: Study, places: Places, *, images: bool) -> Iterator[Finding]:
    paths = StudyPaths(study)
    for patient, reason in study.cohort.problems.items():
        yield Finding(True, f"patient {patient} would be left out: {reason}")
    for error in (*problems_beforehand(study), *models_without_features(study)):
        yield from _errors(places.added(error) if isinstance(error, SettingsError) else error)
    yield from _plan_problems(study)
    yield from _memory_warnings(study)
    yield from (Finding(False, line) for line in unused_settings(study))
    table = study.settings.cohort.table
    if unread := unread_columns(study, read_rows(Path(table)).header):
        yield Finding(
            False,
            f"nothing reads these columns of {table}: {', '.join(unread)}; name them in models.*.clinical, "
            "losses.labels or evaluation.subgroups, or take them out",
        )
    try:
        require_images(paths)
        for line in start_lines(paths):
            if line.startswith(WARNING) and "left out:" not in line and "plan will refuse" not in line:
                yield Finding(False, line.removeprefix(WARNING))
        if images and not study.is_phantom and study.settings.cohort.source != "generated":
            for problem in image_problems(paths):
                yield from _errors(problem)
    except PipelineError as error:
        yield from _errors(error)


def _plan_problems(study: Study) -> Iterator[Finding]:
    """Folds that cannot be made of the table's patients."""
    development = [p for p in study.cohort.patients if p.set == "development"]
    if not development:
        yield Finding(
            True,
            f"no patient is of the set development, from which models learn; where: {study.settings.cohort.table}, "
            "column 'set'; what to do: correct the column",
        )
    elif reason := infeasible_plan_reason(development, study.settings.plan, study.settings.study.seed):
        yield Finding(True, f"no folds can be made: {reason}")


def _memory_warnings(study: Study) -> Iterator[Finding]:
    """Networks that need more memory than this machine has."""
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    for name in study.networks:
        needed = fold_memory_mb(study, name)
        if needed > have:
            yield Finding(
                False,
                f"a fold of {name!r} needs about {math.ceil(needed / 1024):,} GiB of memory, this machine has "
                f"{have / 1024:,.0f}; set training.gradient_accumulation, a smaller training.batch or crop.shape, or "
                "run it on a larger one",
            )


def _errors(error: PipelineError) -> Iterator[Finding]:
    """An error as findings, one for each thing to correct."""
    for line in str(error).splitlines():
        yield Finding(True, line)
