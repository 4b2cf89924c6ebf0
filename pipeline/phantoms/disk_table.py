"""The cohort table of a study of disks: `python -m pipeline.phantoms.disk_table STUDY.yaml`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from math import pi
from pathlib import Path

from pipeline.errors import PipelineError, TableError
from pipeline.phantoms.disks import disk_id, draw_disk
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.phantom import DiskSettings

COLUMNS = (
    "patient_id",
    "set",
    "centre",
    "image_path",
    "roi",
    "time_days",
    "event",
    "truth_log_hazard",
    "truth_area_px",
)


def write_disk_table(settings: DiskSettings, path: Path) -> None:
    """Write the cohort table of the disks, whose times are dimensionless (`cohort.time_unit: none`).

    `truth_log_hazard` is minus the scaled area without noise (higher is worse).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number in range(1, settings.images + 1):
            disk, name = draw_disk(number, settings), disk_id(number)
            group = "development" if number <= settings.development else "external"
            truth = [f"{-disk.scaled_area:.6f}", f"{pi * disk.radius_px**2:.3f}"]
            writer.writerow([name, group, "generated", name, "", f"{disk.time:.6f}", 1, *truth])


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
    # Invalid settings raise a ValueError.
    except (PipelineError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{disks.images} rows written to {cohort.table}")
    return 0


def _check(cohort: CohortSettings, where: str) -> None:
    """Refuse to overwrite a table of other patients."""
    if cohort.source != "generated" or "table" not in cohort.model_fields_set:
        raise TableError(
            "the study has no generated images with a table of their own",
            where=where,
            expected="cohort.source: generated, and cohort.table",
            got=f"source {cohort.source}, table {cohort.table}",
            action="name the table to be written in the study file",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
