"""Two rows with the same images: a copy of a training patient must not judge the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import TableError
from pipeline.planning.duplicate_images import find_duplicate_images
from pipeline.planning.exclusions import gather_problems, read_problems
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop, write_excluded
from pipeline.tables.status import Status, write_status


def store(folder: Path, patient_id: str, value: float, spot: bool = False) -> Path:
    """A crop of one value; `spot`: another contour on it."""
    image = np.full((1, 4, 4, 4), value, dtype=np.float32)
    mask = np.zeros((4, 4, 4), dtype=np.uint8)
    mask[0, 0, int(spot)] = 1
    attributes = CropAttributes(patient_id, ("pet",), ("g/mL",), (4.0, 4.0, 4.0))
    path = folder / f"{patient_id}.zarr"
    write_crop(path, Crop(image, mask, np.ones_like(mask), attributes))
    return path


def listed(folder: Path, patient_id: str, *series: tuple[str, str, bool]) -> Path:
    """An index that holds series (modality, UID, chosen)."""
    path = folder / "index" / patient_id
    path.mkdir(parents=True)
    rows = [{"modality": m, "series_uid": uid, "chosen": chosen} for m, uid, chosen in series]
    (path / "series.json").write_text(json.dumps({"series": rows}))
    return path


def test_copies_are_reported_and_excluded_together(tmp_path: Path) -> None:
    stages = {p: [store(tmp_path, p, v)] for p, v in (("A", 1.0), ("B", 2.0), ("C", 1.0), ("D", 3.0))}
    assert [problem.patient_id for problem in find_duplicate_images(stages, "exclude")] == ["A", "C"]
    gather_problems(stages, {}, tmp_path / "problems.csv", "exclude")
    problems = {p.patient_id: p.status for p in read_problems(tmp_path / "problems.csv")}
    assert {name: status.state for name, status in problems.items()} == {"A": "excluded", "C": "excluded"}
    assert "the same images as patient C" in problems["A"].problem


def test_a_copy_that_is_excluded_anyway_does_no_harm(tmp_path: Path) -> None:
    stages = {p: [listed(tmp_path, p, ("CT", "1.2", True))] for p in ("A", "B", "C")}
    for patient, state in (("A", Status("ok", "index")), ("B", Status("excluded", "suv", "no dose"))):
        write_status(stages[patient][0], state)
    write_status(stages["C"][0], Status("excluded", "contours", "no contour"))
    gather_problems(stages, {}, tmp_path / "problems.csv", "exclude")
    with pytest.raises(TableError, match="no dose.*patient B, suv, and 1 more"):
        gather_problems(stages, {}, tmp_path / "problems.csv", "stop")
    assert [problem.patient_id for problem in read_problems(tmp_path / "problems.csv")] == ["B", "C"]


def test_copies_stop_a_study_that_stops_at_bad_patients(tmp_path: Path) -> None:
    stages = {p: [store(tmp_path, p, 1.0)] for p in ("A", "B")}
    with pytest.raises(
        TableError, match=r"hold the same images.*patients A, B.*remove all but the right row"
    ):
        gather_problems(stages, {}, tmp_path / "problems.csv")


def test_another_contour_does_not_make_it_another_person(tmp_path: Path) -> None:
    stages = {p: [store(tmp_path, p, 1.0, spot=spot)] for p, spot in (("A", False), ("B", True))}
    assert len(find_duplicate_images(stages, "exclude")) == 2


def test_one_examination_in_two_folders_is_known_by_its_series(tmp_path: Path) -> None:
    """Registered and cropped differently, e.g. since one of the two is the template."""
    uids = {"A": ("1.2", "1.3"), "B": ("1.4", "1.3"), "C": ("1.5", "1.6")}
    stages = {
        p: [listed(tmp_path, p, ("CT", ct, True), ("PT", pet, True)), store(tmp_path, p, n)]
        for n, (p, (ct, pet)) in enumerate(uids.items())
    }
    assert [problem.patient_id for problem in find_duplicate_images(stages, "exclude")] == ["A", "B"]


def test_series_that_were_not_chosen_and_patients_left_out_do_not_count(tmp_path: Path) -> None:
    stages = {
        p: [listed(tmp_path, p, ("PT", f"1.{n}", True), ("PT", "1.9", False), ("RTSTRUCT", "1.8", True))]
        for n, p in enumerate("AB")
    }
    for patient in "CD":
        path = tmp_path / f"{patient}.zarr"
        write_excluded(path, Status("excluded", "suv", "no dose", "excluded from the study"))
        stages[patient] = [path]
    assert find_duplicate_images(stages, "stop") == []
