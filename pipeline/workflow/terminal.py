"""What a dry run and a run without a terminal show: Snakemake's messages, gathered into a few lines.

Snakemake lists every job of a dry run with its inputs, thousands of lines for a study. Here its messages are
gathered by rule, before any of its own ways of printing; `-p`, `--verbose` and `--quiet` leave them as they are.
Of a run whose output is a file, the quiet profile shows nothing between start and end; a line a rule is printed.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TextIO

SNAKEMAKE = "snakemake.logging"
"""Name of Snakemake's logger."""
DRY_RUN_ENDS = "This was a dry-run"
CAUSES = {
    "missing output files": "not made yet",
    "incomplete output files": "was interrupted",
    "code has changed": "code changed",
    "params have changed": "settings or code changed",
    "updated input files": "an input changed",
    "set of input files has changed": "other inputs",
    "software environment": "environment changed",
    "forced execution": "forced",
    "input files updated by another job": "follows",
}
"""Snakemake's reason of a job → what is said of it; the last one only where there is no other."""
FOLLOWS = "follows"
TRAINING = ("train_fold", "train_cross")
QUIET_SECONDS = 60.0
"""A line at least this often, while jobs end."""


class OutputOptions(Protocol):
    """What Snakemake knows of how its output is wanted."""

    dryrun: bool
    printshellcmds: bool
    verbose: bool
    quiet: Collection[object] | None
    log_handler_settings: Mapping[str, object]


def gather_messages(options: OutputOptions) -> None:
    """Gather Snakemake's messages where the user did not ask for all of them.

    Args:
        options: Snakemake's settings of its output.
    """
    if options.printshellcmds or options.verbose or options.quiet:
        return
    logger = logging.getLogger(SNAKEMAKE)
    if options.dryrun:
        logger.addFilter(DryRunSummary())
    elif options.log_handler_settings and not sys.stderr.isatty():
        logger.addFilter(ProgressLines(sys.stderr))


@dataclass
class DryRunSummary(logging.Filter):
    """Holds back the jobs of a dry run, and tells them by rule where Snakemake ends it.

    Attributes:
        jobs: Rule → number of jobs.
        causes: Rule → cause → number of jobs.
        models: Network → number of its folds that are trained.
    """

    jobs: Counter[str] = field(default_factory=Counter)
    causes: dict[str, Counter[str]] = field(default_factory=dict)
    models: Counter[str] = field(default_factory=Counter)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether Snakemake prints a message itself; the last one is replaced by the summary."""
        said = vars(record)
        event = str(said.get("event") or "")
        if event == "job_info":
            self._add(said)
        if event in ("job_info", "run_info", "workflow_started"):
            return False
        text = str(record.msg)
        if text.startswith(DRY_RUN_ENDS):
            record.msg = self.text()
        # What lies between is about reasons of single jobs, which `-p` shows.
        elif self.jobs and record.levelno <= logging.INFO and not event:
            return False
        return True

    def _add(self, job: Mapping[str, object]) -> None:
        rule, reason = str(job["rule_name"]), str(job["reason"]).lower()
        self.jobs[rule] += 1
        causes = [words for phrase, words in CAUSES.items() if phrase in reason]
        self.causes.setdefault(rule, Counter()).update([c for c in causes if c != FOLLOWS] or [FOLLOWS])
        wildcards = job["wildcards"]
        if rule in TRAINING and isinstance(wildcards, Mapping):
            self.models[str(wildcards["model"])] += 1

    def text(self) -> str:
        """Jobs by rule in the order in which they run, why, and what is trained."""
        wide = max(map(len, self.jobs), default=0)
        lines = [f"{sum(self.jobs.values())} jobs would run:"]
        for rule, number in self.jobs.items():
            why = ", ".join(cause for cause, _ in self.causes[rule].most_common())
            lines.append(f"  {rule:<{wide}} {number:>5}  {why}")
        if self.models:
            named = ", ".join(f"{name} ({number})" for name, number in self.models.items())
            lines.append(f"trained (networks, times): {named}")
        return "\n".join([*lines, "nothing was run (-n); with -p all jobs are listed, each with its reason"])


@dataclass
class ProgressLines(logging.Filter):
    """Prints a line where a rule's jobs are all done, and once a minute in between.

    Attributes:
        stream: Where lines are printed.
        totals: Rule → number of its jobs.
        done: Rule → number of its jobs that ended.
        seconds: Rule → seconds that its ended jobs took together.
    """

    stream: TextIO
    totals: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    _started: dict[object, tuple[str, float]] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Take note of jobs that start and end; every message passes."""
        said = vars(record)
        event = str(said.get("event") or "")
        if event == "run_info":
            self.totals = {rule: int(number) for rule, number in said["stats"].items() if rule != "total"}
        elif event == "job_info":
            self._started[said["jobid"]] = (str(said["rule_name"]), time.monotonic())
        elif event == "job_finished" and said["job_id"] in self._started:
            self._end(*self._started.pop(said["job_id"]), time.monotonic())
        return True

    def _end(self, rule: str, started: float, now: float) -> None:
        self.done[rule] += 1
        self.seconds[rule] += int(1000 * (now - started))
        if self.done[rule] == self.totals.get(rule) or now - self._printed >= QUIET_SECONDS:
            self._printed = now
            print(self.line(rule, now - self._begun), file=self.stream, flush=True)

    def line(self, rule: str, elapsed: float) -> str:
        """How far a rule and the run are, and how long what has begun will take.

        Args:
            rule: The rule whose job ended.
            elapsed: Seconds since the run began.
        """
        jobs = f"{sum(self.done.values())} of {sum(self.totals.values())} jobs"
        text = f"{time.strftime('%H:%M:%S')} {rule}: {self.done[rule]} of {self.totals.get(rule, 0)} done; {jobs}"
        # Jobs side by side: seconds of jobs in a second of the run.
        abreast = max(1.0, sum(self.seconds.values()) / 1000 / max(elapsed, 1e-3))
        begun = {name: self.totals[name] - self.done[name] for name in self.done if name in self.totals}
        left = (
            sum(number * self.seconds[name] / 1000 / self.done[name] for name, number in begun.items())
            / abreast
        )
        waiting = [name for name in self.totals if not self.done[name]]
        if not waiting and not any(begun.values()):
            return text
        more = f" and then {', '.join(waiting[:3])}{' …' if len(waiting) > 3 else ''}" if waiting else ""
        return f"{text}; about {_in_words(left)} left{more}"


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
