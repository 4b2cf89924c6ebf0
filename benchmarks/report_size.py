"""The report of 300 patients: processor time, size, and time to first paint.

Run after `make demo`: python -m benchmarks.report_size [results/phantom]. The demo's patients are multiplied to 300
(crops, masks, predictions, SUV, contours and registration of each copy are those of its original; scores stay the
demo's), so that the report draws 300 crops and writes 300 patients' pages and viewers. Limits: 60 s, 90 MB, 2 s.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipeline.report.job import ReportJob
from pipeline.report.report import build_report
from pipeline.settings.root import load_settings
from pipeline.store.crops import read_crop, write_crop
from pipeline.tables.parquet import read_frame, write_frame
from pipeline.tables.splits import Fold, Splits, read_splits, write_splits
from pipeline.tables.status import read_status, write_status
from tests.browser.chromium import Chromium

if TYPE_CHECKING:
    import pandas as pd

PATIENTS = 300
CONFIG = Path("config/config.yaml")
STAGES = ("suv", "contours", "registration")
FIRST_PAINT = "performance.getEntriesByType('paint').map(p => p.startTime).sort((a, b) => a - b)[0]"


def copies(ids: list[str]) -> Iterator[tuple[str, str]]:
    """(copy, original) of as many patients as are wanted, the originals among them."""
    for number in range(PATIENTS):
        original = ids[number % len(ids)]
        yield original if number < len(ids) else f"{original}x{number // len(ids)}", original


def multiplied(table: pd.DataFrame, names: dict[str, str], column: str) -> pd.DataFrame:
    """A table with a row per copy."""
    rows = table.set_index(column)
    return rows.loc[list(names.values())].set_axis(list(names), axis=0).rename_axis(column).reset_index()


def multiply(source: Path, target: Path) -> tuple[str, ...]:
    """Write a study of 300 patients; returns their ids."""
    cohort = read_frame(source / "cohort.parquet")
    names = dict(copies(list(cohort.index)))
    write_frame(
        target / "cohort.parquet",
        multiplied(cohort.reset_index(), names, "patient_id").set_index("patient_id"),
        index=True,
    )
    splits = read_splits(source / "splits.json")

    def of(ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(copy for copy, original in names.items() if original in ids)

    folds = tuple(Fold(of(fold.train), of(fold.validation), of(fold.test)) for fold in splits.folds)
    write_splits(target / "splits.json", Splits(folds, of(splits.external), splits.seed))
    shutil.copyfile(source / "problems.csv", target / "problems.csv")
    (target / "metrics").symlink_to((source / "metrics").resolve())
    for path in (source / "ensemble").glob("*.parquet"):
        write_frame(target / "ensemble" / path.name, multiplied(read_frame(path), names, "patient_id"))
        shutil.copyfile(path.with_suffix(".json"), target / "ensemble" / path.with_suffix(".json").name)
    for fold in (source / "models").glob("*/fold*"):
        copied = target / "models" / fold.parent.name / fold.name
        shutil.copytree(fold, copied)
        for copy, original in names.items():
            store = copied / "masks.zarr"
            if copy != original and (store / original).is_dir():
                shutil.copytree(store / original, store / copy)
        write_status(copied, read_status(fold))
    for copy, original in names.items():
        for stage in STAGES:
            (target / stage).mkdir(exist_ok=True)
            (target / stage / copy).symlink_to((source / stage / original).resolve())
        crop = read_crop(source / "crops" / f"{original}.zarr")
        attributes = replace(crop.attributes, patient_id=copy)
        write_crop(target / "crops" / f"{copy}.zarr", replace(crop, attributes=attributes))
    return tuple(names)


def main(results: Path) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="report-size-") as name:
        folder = Path(name)
        ids = multiply(results, folder / "results")
        settings = load_settings(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
        wall, processor = time.monotonic(), time.process_time()
        build_report(ReportJob(folder / "results", settings, "0" * 16, ids), folder / "report")
        wall, processor = time.monotonic() - wall, time.process_time() - processor
        size = sum(path.stat().st_size for path in (folder / "report").rglob("*") if path.is_file())
        print(
            f"report of {len(ids)} patients: {processor:.1f} s of processor time, {wall:.1f} s, {size / 1e6:.1f} MB"
        )
        with Chromium(folder / "profile") as browser:
            for page in ("index.html", "quality.html", f"patients/{ids[-1]}.html"):
                browser.open(folder / "report" / page, 1400)
                print(f"{page}: first paint after {browser.evaluate(FIRST_PAINT) / 1000:.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/phantom"))
