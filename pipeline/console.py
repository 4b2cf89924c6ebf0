"""How jobs run: logging, progress, the frame of every rule's script, and what they inherit from the machine."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pipeline.as_planned import PLANNED_JOBS, ScriptJob, as_planned
from pipeline.attempts import marked_attempt
from pipeline.errors import PipelineError
from pipeline.provenance import set_job

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"

ON_BAD_PATIENT = "SUVIVAL_ON_BAD_PATIENT"
"""Variable of the environment that holds `study.on_bad_patient`."""

T = TypeVar("T")
# The terminal as it was before `job` sent standard error to the log.
_terminal = sys.stderr


def configure_logging(level: int = logging.INFO) -> None:
    """Send the package's log lines to standard error in the one format."""
    logging.basicConfig(level=level, format=LOG_FORMAT, datefmt=DATE_FORMAT, force=True)
    logging.captureWarnings(True)


@contextlib.contextmanager
def job(snakemake: ScriptJob) -> Iterator[None]:
    """Run a rule's script: output to its log, errors of ours as one line.

    Standard output and error are redirected at descriptor level, because compiled
    libraries write there too. A :class:`PipelineError` is printed on the terminal without
    traceback and gives the exit code; any other exception keeps its traceback in the log, names
    the log, and gives 1.

    Args:
        snakemake: What Snakemake gives to a script. The manifests of its results hold a digest of the
            rule's parameters, and it ends with an error where what decides it is not as planned
            (:mod:`pipeline.as_planned`).
    """
    global _terminal
    end_with_parent()
    set_job(snakemake.params.items())
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    _terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with path.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    configure_logging()
    policy, planned_jobs = (os.environ.get(name, "") for name in (ON_BAD_PATIENT, PLANNED_JOBS))
    try:
        with marked_attempt(path), as_planned(snakemake, policy, planned_jobs):
            yield
    except PipelineError as error:
        logging.getLogger("pipeline").error("%s", error)
        print(f"error: {error}", file=_terminal, flush=True)
        _quit(error.exit_code)
    except Exception as error:
        logging.getLogger("pipeline").exception("unexpected failure")
        print(
            f"error: unexpected {type(error).__name__}: {error}; the traceback is in {path}",
            file=_terminal,
            flush=True,
        )
        _quit()


def end_with_parent() -> None:
    """Let the kernel kill this process when Snakemake, which started it, is killed.

    A job that outlives its workflow would write beside the one that the next run starts. Linux
    alone has this (`prctl(2)`, `PR_SET_PDEATHSIG`); elsewhere nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)


def on_bad_patient() -> Literal["stop", "exclude"]:
    """What the study does with a patient whose data cannot be trusted, as the workflow says."""
    return "exclude" if os.environ[ON_BAD_PATIENT] == "exclude" else "stop"


def _quit(code: int = 1) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


def progress(items: Iterable[T], *, title: str, total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar on the terminal; silent where there is none."""
    from tqdm import tqdm

    bar: Iterable[T] = tqdm(
        items,
        desc=title,
        total=total,
        file=_terminal,
        disable=not _terminal.isatty(),
        leave=False,
        dynamic_ncols=True,
    )
    return bar


def prepare_environment(root: Path) -> None:
    """Set what every job of a workflow needs in its environment.

    Jobs import `pipeline` from this checkout, whatever is installed elsewhere; bytes of
    results must not depend on how Python orders sets of strings; and ITK takes one thread,
    where it would take all cores whatever a rule states.

    Args:
        root: The checkout.
    """
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([inherited] if inherited else [])])
    os.environ.setdefault("PYTHONHASHSEED", "0")
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")


def accelerators() -> int:
    """Accelerators of this machine that jobs may see (NVIDIA device files; no driver is loaded)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([entry for entry in visible.split(",") if entry.strip() not in ("", "-1")])
    return len([entry for entry in Path("/dev").glob("nvidia*") if entry.name[6:].isdigit()])
