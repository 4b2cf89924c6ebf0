"""What a run says on the terminal: at its start, at its end, and when it failed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from pipeline.errors import PipelineError
from pipeline.planning.folds import infeasible_plan_reason
from pipeline.tables.files import orphan_folders
from pipeline.tables.preflight import describe_outcomes, preflight_warnings
from pipeline.workflow.guards import absent_patients
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.records import copied_without_times
from pipeline.workflow.snakemake_files import records

ERROR = " ERROR   pipeline: "
"""Begins the message of a job that ended with an error, after the time (`pipeline.console.LOG_FORMAT`)."""


def announce(lines: Iterable[str]) -> None:
    """Print lines on standard error, where Snakemake prints too."""
    for line in lines:
        print(line, file=sys.stderr)


def refuse(error: PipelineError) -> NoReturn:
    """End the workflow with a message and nothing around it.

    An exception of Snakemake's own would begin with the line of the file that raised it, which is not
    where the mistake is.
    """
    print(f"error: {error}", file=sys.stderr, flush=True)
    raise SystemExit(error.exit_code)


def start_lines(paths: StudyPaths) -> list[str]:
    """What a run begins with: the study, its outcomes as read, and warnings of what will fail later."""
    study, settings, cohort = paths.study, paths.study.settings, paths.study.cohort
    unit = settings.cohort.time_unit
    warnings = [f"patient {patient} left out: {problem}" for patient, problem in cohort.problems.items()]
    late = [
        *_copy_warnings(paths),
        *preflight_warnings(settings.plan, cohort, settings.evaluation.horizons_days, unit),
        *_plan_warnings(paths),
        *_image_warnings(paths),
    ]
    return [
        f"study {study.name}: {len(cohort.ids())} patients, {len(settings.models)} models, "
        f"results in {paths.results}/",
        *(f"warning: {warning}" for warning in warnings),
        *describe_outcomes(cohort, unit),
        *(f"warning: {warning}" for warning in late),
    ]


def _plan_warnings(paths: StudyPaths) -> list[str]:
    """Whether the plan will refuse these patients even where no stage excludes one."""
    study = paths.study
    development = [p for p in study.cohort.patients if p.set == "development"]
    reason = infeasible_plan_reason(development, study.settings.plan, study.settings.study.seed)
    return [f"even if no patient is left out, the plan will refuse: {reason}"] if reason else []


def _copy_warnings(paths: StudyPaths) -> list[str]:
    """Results that were copied without their times, which Snakemake would make again."""
    if not copied_without_times(paths):
        return []
    return [
        f"the times of the files in {paths.results} are those of a copy (cp -r), so nearly everything would be made "
        "again; copy with cp -a, or, if nothing was changed since, give the command once with --touch "
        "--forceall, which sets the times in order"
    ]


def _image_warnings(paths: StudyPaths) -> list[str]:
    """Patients without images, and images without a patient."""
    study, settings = paths.study, paths.study.settings.cohort
    patients = study.cohort.ids()
    warnings = []
    if absent := absent_patients(paths):
        warnings.append(
            f"no images of {len(absent)} of {len(patients)} patients; the first: {absent[0]}, "
            f"{paths.image_folder(absent[0])} (cohort.image_root, then the table's image_path)"
        )
    return warnings + [
        f"{folder} holds images, but no row of {settings.table} names it; add a row, or move the folder"
        for folder in orphan_folders(settings, study.cohort)
    ]


def end_lines(paths: StudyPaths) -> list[str]:
    """Where the results of a finished run are: the report, and the table of excluded patients."""
    page, exclusions = Path(paths.report, "index.html"), Path(paths.exclusions)
    lines = [f"\nreport: {page.resolve()}"] if page.exists() else []
    if exclusions.exists() and len(exclusions.read_text(encoding="utf-8").splitlines()) > 1:
        lines.append(f"patients with problems: {exclusions.resolve()}")
    return lines


def failure_lines(paths: StudyPaths, since: float) -> list[str]:
    """What to read and do after a run that failed: last on the terminal, below Snakemake's lists of files.

    Args:
        paths: The study's paths.
        since: When the run began, in seconds since the epoch.
    """
    again = "run the same command again to go on"
    if any(record.path.parts[1] == "incomplete" for record in records()):
        again += ", with --rerun-incomplete for what was being written"
    return [
        f"\nstopped; each job's log lies in {paths.results}/logs/; {again}",
        "(where Snakemake itself is killed, the next command is refused until --unlock was given once)",
        *(f"{log}: {message}" for log, message in _errors(paths, since)),
    ]


def _errors(paths: StudyPaths, since: float) -> list[tuple[Path, str]]:
    """The last error in each log that was written since a run began."""
    errors = []
    for log in sorted(Path(paths.results, "logs").rglob("*.log")):
        if log.stat().st_mtime < since:
            continue
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        messages = [line.partition(ERROR)[2] for line in lines if ERROR in line]
        if messages:
            errors.append((log, f"error: {messages[-1]}"))
    return errors
