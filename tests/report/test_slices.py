"""Which fold's mask is shown of a patient, and where it lies on the image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.report import slices
from pipeline.report.job import ReportJob
from pipeline.report.sections import StudyResults
from pipeline.tables.splits import read_splits
from tests.report.synthetic_study import SHAPE, make_study


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic", margin=2)


@pytest.mark.parametrize(("patient_id", "filled"), [("A1", [1]), ("A4", [2]), ("E1", [1, 2])])
def test_mask_is_of_folds_that_held_the_patient_out(
    job: ReportJob, patient_id: str, filled: list[int]
) -> None:
    # Fold 0's masks fill slice 1, fold 1's slice 2; of external patients half the folds count.
    splits = read_splits(job.results / "splits.json")
    mask = slices.predicted_mask(job.folds("deepmts"), patient_id, splits)
    assert mask is not None
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == filled


def test_crop_loses_its_margin_before_a_mask_is_drawn_on_it(job: ReportJob) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    example = slices.load_example(job, "A1", mask, "")
    assert example.images["pet"].shape == SHAPE
    assert example.predicted is not None
    assert example.manual is not None
    assert np.flatnonzero(example.manual.any(axis=(0, 2))).tolist() == [2, 3, 4]


def test_mask_of_another_shape_is_left_out(job: ReportJob) -> None:
    assert slices.load_example(job, "A1", np.zeros((2, 2, 2), bool), "").predicted is None


def test_a_single_slice_has_no_margin_along_z() -> None:
    shape = np.zeros((1, 12, 12))[slices.without_margin((1, 12, 12), 2)].shape
    assert shape == (1, 8, 8)


def test_examples_span_the_range_of_dice() -> None:
    table = pd.DataFrame({"dice": [0.5, 0.9, 0.1, np.nan, 0.7]}, index=list("abcde"))
    assert slices.choose_examples(table, 3) == ["c", "e", "b"]
    assert slices.choose_examples(table[[]], 2) == ["a", "e"]
    assert slices.caption("d", table) == "d"
    assert slices.caption("a", table) == "a\nDice 0.50"


def test_focus_is_the_largest_slice_or_the_peak() -> None:
    image = np.zeros((4, 5, 6), np.float32)
    image[3, 2, 1] = 9.0
    mask = np.zeros(image.shape, bool)
    mask[1, 1:4, 1:5], mask[2, 1, 1] = True, True
    example = slices.Example("a", {"pet": image}, mask, None, "", (1, 1))
    assert slices.focus(example)[0] == 1
    bare = slices.Example("a", {"pet": image}, None, None, "", (1, 1))
    assert slices.focus(bare) == (3, 2, 1)


def test_excluded_patients_have_no_picture(job: ReportJob) -> None:
    stored = slices.stored_patients(StudyResults.read(job))
    assert "X1" in job.patients and stored == ["A1", "A2", "A3", "A4", "A5", "A6", "E1", "E2"]
