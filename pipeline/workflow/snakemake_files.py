"""Snakemake's own files below `.snakemake`: its records of outputs, its logs, its locks."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOME = Path(".snakemake")
LOCKS = HOME / "locks"
RECORDS = ("metadata", "incomplete")
DISPOSABLE = ("log", "slurm_logs", "cluster_logs", "iocache", "scripts", "auxiliary", "planned_jobs")
"""Folders of what no later run needs: logs, caches, scripts of jobs that were killed, lists of planned jobs."""


@dataclass(frozen=True)
class Record:
    """A record of Snakemake about one output.

    Attributes:
        path: The record's file.
        output: The output, relative to the working directory.
    """

    path: Path
    output: str

    def ended(self) -> float:
        """When the job ended, in seconds since the epoch; 0 where the record does not say."""
        try:
            return float(json.loads(self.path.read_text(encoding="utf-8")).get("endtime") or 0.0)
        except (ValueError, AttributeError):
            return 0.0


def records() -> Iterator[Record]:
    """Every record of an output, whether finished or marked as incomplete.

    The file's name is the output's in base64; a long one is cut, its first parts folders that
    begin with `@` (`snakemake.persistence.file.FilePersistence`).
    """
    for kind in RECORDS:
        for path in sorted((HOME / kind).rglob("*")):
            if path.is_file():
                encoded = "".join(part.removeprefix("@") for part in path.relative_to(HOME / kind).parts)
                try:
                    yield Record(path, urlsafe_b64decode(encoded).decode())
                except ValueError:  # no record
                    continue


def disposable_files() -> Iterator[Path]:
    """Files that no later run needs."""
    for folder in DISPOSABLE:
        yield from (path for path in sorted((HOME / folder).rglob("*")) if path.is_file())
