"""The cohort table of a study of disks: `python -m pipeline.phantoms.disk_table STUDY.yaml`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PipelineError, TableError
from pipeline.phantoms.disks import write_disk_table
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.phantom import DiskSettings


def main(arguments: Sequence[str]) -> int:
    """Write the cohort table that a study file names; returns the exit code."""
    import yaml

    if len(arguments) != 1:
        print("usage: python -m pipeline.phantoms.disk_table STUDY.yaml", file=sys.stderr)
        return 2
    try:
        study = yaml.safe_load(Path(arguments[0]).read_text(encoding="utf-8")) or {}
        disks = DiskSettings.model_validate(study.get("disks", {}))
        cohort = CohortSettings.model_validate(study.get("cohort", {}))
        _check(cohort, arguments[0])
        write_disk_table(disks, Path(cohort.table))
    # What is wrong with settings is a ValueError.
    except (PipelineError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{disks.images} rows written to {cohort.table}")
    return 0


def _check(cohort: CohortSettings, where: str) -> None:
    """Refuse to write over a table that holds other patients."""
    if cohort.source != "generated" or "table" not in cohort.model_fields_set:
        raise TableError(
            "this is no study of generated images with a table of its own",
            where=where,
            expected="cohort.source: generated, and cohort.table",
            got=f"source {cohort.source}, table {cohort.table}",
            action="name the table to be written in the study file",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
