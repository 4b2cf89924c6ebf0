"""Results whose making Snakemake has no record of: what made them is unknown.

Snakemake compares settings and code with its records in `.snakemake`. An output without a record
counts as done, whatever made it: a folder that a cancelled job left half removed, or the results
of a study whose `.snakemake` was deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipeline.errors import PipelineError
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.snakemake_files import records

COPIED_LATER_S = 60.0
"""A result whose time is so much later than its job's end was not written by the job."""

CLOCK_S = 60.0
"""How far a result's time may lie in the future: clocks of a file server and its clients differ."""


class Records(Protocol):
    """What is asked of Snakemake's persistence, by the path of an output.

    These are the methods that a backend of `snakemake.persistence.PersistenceBase` implements; its
    public ones want jobs, of which there are none before the graph is built.
    """

    def _read_record(self, key: str) -> object | None:
        """The record of an output; None where there is none."""

    def _mark_incomplete(self, key: str, external_jobid: str | None) -> None:
        """Mark an output as incomplete, which makes Snakemake ask, or run its job again."""

    def _filter_incomplete_keys(self, keys: Iterable[str]) -> set[str]:
        """Those outputs that are marked as incomplete."""


def mark_results_without_record(paths: StudyPaths, records: Records) -> list[str]:
    """See to it that no result of unknown origin counts as done.

    Where some results of a study have records, those without were left by jobs that were
    cancelled while they wrote or removed them: they are marked as incomplete, and a run with
    --rerun-incomplete (in every profile) makes them again. Where none has a record, the records
    were lost, and a person decides.

    Args:
        paths: The study's paths, relative to the working directory.
        records: Snakemake's persistence.

    Returns:
        Lines that tell what was marked.

    Raises:
        PipelineError: No result has a record.
    """
    present = [path for path in outputs_of(paths) if Path(path).exists()]
    marked = records._filter_incomplete_keys(present)
    unknown = [path for path in present if path not in marked and records._read_record(path) is None]
    if not unknown:
        return []
    if len(unknown) == len(present):
        raise PipelineError(
            "results lie here, but Snakemake's records of what made them are gone",
            where=paths.results,
            expected=f"a record in .snakemake/metadata of each of {len(present)} results",
            got="none",
            action=f"make them again: rm -r {paths.results}, then run the same command; or, only if you know "
            "that these settings, images and this code made them, add --touch --forceall to the command, which "
            "records them as they are",
        )
    for path in unknown:
        records._mark_incomplete(path, None)
    return [
        f"warning: {len(unknown)} results were left by jobs that did not end; --rerun-incomplete makes "
        f"them again; the first: {unknown[0]}"
    ]


def correct_future_times(paths: StudyPaths, now: float) -> list[str]:
    """Give results whose times lie in the future the present time.

    They were made while the clock was ahead. Snakemake refuses every result that is made from them:
    it would be older than its input. What is made from such a result is made again, once.

    Args:
        paths: The study's paths, relative to the working directory.
        now: Seconds since the epoch.

    Returns:
        Lines that tell how many results were given another time.
    """
    ahead = [path for path in outputs_of(paths) if Path(path).exists() and _time(Path(path)) > now + CLOCK_S]
    for path in ahead:
        os.utime(_timed(Path(path)), (now, now))
    if not ahead:
        return []
    return [
        f"warning: {len(ahead)} results had times in the future, as the clock was ahead when they were made; "
        "they have the present time now, and what rests on them is made again"
    ]


def outputs_of(paths: StudyPaths) -> Iterable[str]:
    """Every output that the rules of a study may write."""
    yield from shared_outputs(paths)
    for patient in paths.study.cohort.ids():
        if paths.study.is_phantom:
            yield paths.stage("phantom", patient)
        yield from paths.stages_of(patient)
        yield paths.perturbed_features(patient)


def shared_outputs(paths: StudyPaths) -> Iterable[str]:
    """Outputs of a study's rules that are of all patients together."""
    study = paths.study
    yield from (
        paths.template, paths.crop_position, paths.exclusions, paths.splits, paths.cohort,
        paths.training_plan, paths.cross_splits, paths.stability, paths.stability_summary,
        paths.metrics, paths.report, paths.bundle, paths.feature_table(), *paths.radiomics_tables(),
    )  # fmt: skip
    for network in study.settings.contour_networks():
        yield from (paths.predicted_features(network, fold) for fold in study.folds)
    yield from paths.folds(*study.settings.models)
    yield from (paths.refits("permutations", model) for model in study.classical)
    yield from (paths.refits("validation", model) for model in study.classical)
    for network in study.networks:
        yield from (paths.cross(network, number) for number in study.cross_folds)
        yield paths.explanation(network)
    for ensemble in study.ensembles:
        yield from (paths.ensemble(ensemble), paths.ensemble_info(ensemble))


def copied_without_times(paths: StudyPaths) -> bool:
    """Whether the results got their times by a copy: later than their records say, and out of order.

    Snakemake makes a result again that is older than what it was made from. A copy that gives
    each file the time of copying mixes that order.
    """
    made = {path for path in shared_outputs(paths) if Path(path).exists()}
    if paths.report not in made:
        return False
    finished = (
        record for record in records() if record.path.parts[1] == "metadata" and record.output in made
    )
    ended = {record.output: record.ended() for record in finished}
    times = {path: _time(Path(path)) for path, end in ended.items() if end}
    report = times.get(paths.report)
    if report is None or len(times) < 2:
        return False
    later = all(time > ended[path] + COPIED_LATER_S for path, time in times.items())
    return later and any(time > report for path, time in times.items() if path != paths.bundle)


def _time(path: Path) -> float:
    """Time of a result as Snakemake takes it."""
    return _timed(path).stat().st_mtime


def _timed(path: Path) -> Path:
    """What has the time of a result: of a folder, a file in it."""
    stamp = path / ".snakemake_timestamp"
    return stamp if stamp.exists() else path
