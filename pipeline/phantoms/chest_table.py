"""The cohort table of a study of chest slices: `python -m pipeline.phantoms.chest_table STUDY.yaml`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.errors import PipelineError
from pipeline.phantoms.chest_slices import COVID, diagnosis_of, slice_id
from pipeline.settings.chest_phantom import ChestSliceSettings
from pipeline.settings.cohort import CohortSettings

COLUMNS = ("patient_id", "set", "split", "group", "subsets", "centre", "image_path", "label_diagnosis")


def write_chest_table(settings: ChestSliceSettings, path: Path) -> None:
    """Write a row per slice: its volume is its group, its set that of the volume.

    Subsets: `cr` (classification) has all slices, `sr` (segmentation) those with a mask, `dr`
    (detection) a share of these volumes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for volume in range(1, settings.volumes + 1):
            name, split = _set_of(volume, settings)
            for number in range(1, settings.slices + 1):
                row = [slice_id(volume, number), name, split, f"V{volume:03d}", _subsets(volume, settings)]
                writer.writerow([*row, "generated", row[0], diagnosis_of(volume)])


def _rank(volume: int) -> int:
    """Number of a volume among those of its diagnosis, from 0."""
    return (volume - 1) // 3


def _set_of(volume: int, settings: ChestSliceSettings) -> tuple[str, str]:
    """`set` and `split` of a volume; each diagnosis has the same shares of every set."""
    place = _rank(volume) / -(-settings.volumes // 3)
    if place < settings.training:
        return "development", "train"
    if place < settings.training + settings.validation:
        return "development", "validation"
    return "external", "test"


def _subsets(volume: int, settings: ChestSliceSettings) -> str:
    if diagnosis_of(volume) != COVID:
        return "cr"
    # Every n-th of them, so that each set keeps its share.
    rank = _rank(volume)
    detected = int((rank + 1) * settings.detection) > int(rank * settings.detection)
    return "cr sr dr" if detected else "cr sr"


def main(arguments: Sequence[str]) -> int:
    """Write the cohort table that a study file names; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m pipeline.phantoms.chest_table STUDY.yaml", file=sys.stderr)
        return 2
    try:
        study = yaml.safe_load(Path(arguments[0]).read_text(encoding="utf-8")) or {}
        settings = ChestSliceSettings.model_validate(study.get("chest_slices", {}))
        table = CohortSettings.model_validate(study.get("cohort", {})).table
        write_chest_table(settings, Path(table))
    # Invalid settings raise a ValueError.
    except (PipelineError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{settings.volumes * settings.slices} rows written to {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
