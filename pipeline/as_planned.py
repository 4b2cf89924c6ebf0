"""A job runs the code and reads the files that its run was planned with, or it fails.

Snakemake records a result with what was read when the run was planned: settings, cohort table, digests of code
and of named files. A job starts later, perhaps on another machine, and imports code and reads files then. What
was changed meanwhile and put back before the run ended would never be made up for. So a job compares at its
start and at its end, and ends with an error where it cannot stand for its record; Snakemake then removes what
it wrote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline import provenance
from pipeline.errors import NotAsPlannedError
from pipeline.module_facts import read_facts

PLANNED_JOBS = "SUVIVAL_PLANNED_JOBS"
"""Variable of the environment that names the file of `write_planned_jobs`; empty where jobs get their parameters
from the process that planned the run."""
AGAIN = "run the same command again, which makes what has changed with what lies there now"

# Code written after it may not be what was imported; clocks of this machine and its disks may differ by the slack.
_BEGAN_NS = time.time_ns()
_SLACK_NS = 10**9

State = tuple[int, int, int]
T = TypeVar("T")
R = TypeVar("R")


class Named(Protocol):
    """Values with names, such as a rule's parameters."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and values."""


class ScriptJob(Protocol):
    """What Snakemake gives to a rule's script: its paths and parameters."""

    log: Any
    params: Named
    input: Any
    output: Any


def stage_code(script: str, modules: Iterable[str]) -> dict[str, Any]:
    """What code a rule runs, as a parameter of the rule.

    Args:
        script: Name of the file in `workflow_scripts/`.
        modules: Modules that it calls.

    Returns:
        `script`, `modules`, and `digest`: 16 hexadecimal digits over the script, these modules and all that they
        import inside the package.
    """
    names = sorted(modules)
    # The script by its content: Snakemake looks at its time alone, which may be older.
    tree = read_facts(_script(script).read_text(encoding="utf-8")).tree
    text = f"{provenance.code_digest(*names)}\0{tree}"
    return {"script": script, "modules": names, "digest": hashlib.sha256(text.encode()).hexdigest()[:16]}


def code_files(code: Mapping[str, Any]) -> list[Path]:
    """Files that a digest of :func:`stage_code` covers."""
    names = sorted(provenance.modules_behind(*code["modules"]))
    modules = [path for name in names if (path := provenance.module_path(name)) is not None]
    return [
        _script(code["script"]),
        *modules,
        *(file for name in names for file in provenance.package_files(name)),
    ]


def named_files(paths: str | Iterable[str]) -> dict[str, str]:
    """Sizes and times of the files among some paths, which settings or the cohort table name.

    Snakemake asks of an input only whether it is newer than the output: an older file in its place, restored or
    copied with its time, reruns nothing. Folders that other rules make are left out.

    Returns:
        Path → size in bytes and time of the last change in nanoseconds since the epoch.
    """
    named = [paths] if isinstance(paths, str) else list(paths)
    return {path: _stamp(Path(path)) for path in named if Path(path).is_file()}


@contextlib.contextmanager
def as_planned(job: ScriptJob, policy: str, planned_jobs: str) -> Iterator[None]:
    """Run a job only while code, settings, table and named files are those that its run was planned with.

    Args:
        job: The job.
        policy: `study.on_bad_patient` as this job takes it.
        planned_jobs: File of :func:`write_planned_jobs`; empty: this job's parameters are the plan's own.

    Raises:
        NotAsPlannedError: They are not, or they were written to since this process began.
    """
    global _running
    if planned_jobs:
        _require_planned(job, policy, Path(planned_jobs))
    parameters = dict(job.params.items())
    _running = _Watch.begin(str(job.log[0]), parameters.get("code"), parameters.get("files") or {})
    try:
        yield
        require_as_planned()
    finally:
        _running = None


def require_as_planned() -> None:
    """Ask whether the running job's code and files are untouched: before something is kept that outlives the job.

    Raises:
        NotAsPlannedError: They were written to.
    """
    if _running is not None:
        _running.require_untouched()


def running_code() -> dict[str, Any] | None:
    """The code that the running job was planned with (:func:`stage_code`); None outside of a job."""
    return _running.planned if _running is not None else None


def on_worker(code: Mapping[str, Any] | None, function: Callable[[T], R], item: T) -> R:
    """Apply a function in a process that may be older than the code, such as a worker of a dask cluster.

    Args:
        code: What the job that sends the item was planned with; None: no job sends it.
        function: What is applied.
        item: What it is applied to.

    Raises:
        NotAsPlannedError: This process has, or may have, imported other code.
    """
    if code is not None:
        try:
            _Watch.begin("a worker of resources.cluster", code, {})
        except (NotAsPlannedError, OSError) as error:
            raise NotAsPlannedError(
                "a worker of the cluster does not run the code that the run was planned with",
                where=f"resources.cluster, the worker whose checkout is {provenance.ROOT}",
                expected=f"code {code['digest']}",
                got=str(error),
                action="update its checkout, restart the worker, and run the same command again",
            ) from None
    return function(item)


def job_digest(job: ScriptJob, policy: str) -> str:
    """Digest (16 hexadecimal digits) of what a job is given: parameters, paths, and the policy on bad patients."""
    given = [
        dict(job.params.items()).get("by_name"),
        *([str(path) for path in x] for x in (job.input, job.output)),
    ]
    return hashlib.sha256(json.dumps([policy, *given]).encode()).hexdigest()[:16]


def write_planned_jobs(folder: Path, jobs: Iterable[ScriptJob], policy: str) -> Path:
    """Write what each job of a run is given, for jobs that read settings and table anew where they start.

    Args:
        folder: Where the file is written.
        jobs: All jobs that the run will start.
        policy: `study.on_bad_patient`.

    Returns:
        The file: its name follows from its content, so that no other machine keeps an older one of its name.
    """
    content = json.dumps({str(job.log[0]): job_digest(job, policy) for job in jobs}, sort_keys=True)
    path = folder / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)
    return path


def _require_planned(job: ScriptJob, policy: str, path: Path) -> None:
    try:
        planned = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotAsPlannedError(
            "the list of what this run's jobs were planned with cannot be read",
            where=str(path),
            got=error.strerror or str(error),
            action="let the jobs see the folder in which Snakemake runs; " + AGAIN,
        ) from None
    got, expected = job_digest(job, policy), planned.get(str(job.log[0]), "no such job")
    if got != expected:
        raise NotAsPlannedError(
            "settings, cohort table, code, images or named files were changed after the run was planned "
            "and decide this job",
            where=f"the job of {job.log[0]}",
            expected=f"what the run was planned with ({expected})",
            got=f"what lies there now ({got})",
            action=AGAIN,
        )


@dataclass(frozen=True)
class _Watch:
    """Files of a running job as they were when it began.

    Attributes:
        where: The job's log, which names it in messages.
        planned: The code that it was planned with.
        code: State of each file of this code.
        files: State of each file that settings or table name.
    """

    where: str
    planned: dict[str, Any] | None
    code: dict[Path, State]
    files: dict[Path, State]

    @classmethod
    def begin(cls, where: str, code: Mapping[str, Any] | None, files: Mapping[str, str]) -> _Watch:
        """Compare with the plan, and remember the files' states."""
        # States first: what is written while digests are taken is seen at the end.
        watch = cls(
            where,
            dict(code) if code else None,
            {path: _state(path) for path in (code_files(code) if code else [])},
            {Path(path): _state(Path(path)) for path in files},
        )
        if code:
            watch._require_planned_code(code)
        for path, stamp in files.items():
            if _stamp(Path(path)) != stamp:
                raise watch._changed("a file that settings or cohort table name", Path(path), "was replaced")
        return watch

    def require_untouched(self) -> None:
        for what, states in (
            ("the code of this job", self.code),
            ("a file that settings or cohort table name", self.files),
        ):
            for path, state in states.items():
                if _state(path) != state:
                    raise self._changed(what, path, "was written to while the job ran")

    def _require_planned_code(self, code: Mapping[str, Any]) -> None:
        latest = max(self.code, key=lambda path: self.code[path][2])
        present = stage_code(code["script"], code["modules"])
        if present != code:
            raise NotAsPlannedError(
                "the code of this job was changed after the run was planned",
                where=f"the job of {self.where}",
                expected=f"code {code['digest']}",
                got=f"code {present['digest']}; written last: {latest}, {_clock(self.code[latest])}",
                action=AGAIN,
            )
        # A time ahead of the clock tells of the clock, not of the last seconds.
        if _BEGAN_NS - _SLACK_NS < self.code[latest][2] <= time.time_ns() + _SLACK_NS:
            raise self._changed("the code of this job", latest, "was written to while the job began")

    def _changed(self, what: str, path: Path, how: str) -> NotAsPlannedError:
        return NotAsPlannedError(
            f"{what} {how}, so that nobody knows which of its contents made the result",
            where=f"{path}, in the job of {self.where}",
            expected="that it stays as it was when the run was planned",
            got=f"written at {_clock(_state(path))}",
            action=AGAIN,
        )


# What the job of this process watches.
_running: _Watch | None = None


def _script(name: str) -> Path:
    return provenance.ROOT / "workflow_scripts" / f"{name}.py"


def _state(path: Path) -> State:
    """Size, and times of the last change of content and of anything (the last one cannot be set); zeros if gone."""
    try:
        entry = path.stat()
    except OSError:
        return (0, 0, 0)
    return (entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns)


def _stamp(path: Path) -> str:
    size, changed, _ = _state(path)
    return f"{size} bytes, {changed} ns"


def _clock(state: State) -> str:
    if not state[2]:
        return "an unknown time: it is gone"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state[2] / 1e9))
