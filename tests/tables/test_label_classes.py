"""Labels are checked as events are: classes from 0, stated codes, or a refusal before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SettingsError, TableError
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.root import load_settings
from pipeline.workflow.study import load_study

LABELS = ["label_x"]


def study(folder: Path, values: list[str], **changes: Any) -> dict[str, Any]:
    """A classifying study whose table has these values of `label_x`, one a patient."""
    rows = ["patient_id,image_path,set,centre,label_x"]
    rows += [f"s{n:02d},s{n:02d}.npy,development,one,{value}" for n, value in enumerate(values)]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    cohort = {"source": "slices", "table": str(folder / "table.csv"), **changes.pop("cohort", {})}
    losses = {"labels": LABELS, "classes": 2, **changes.pop("losses", {})}
    return {
        "study": {"name": "labels"},
        "cohort": cohort,
        "contours": {"required": False},
        "registration": {"method": "none"},
        "crop": {"shape": [1, 32, 32], "spacing_mm": [1.0, 1.0, 1.0]},
        "models": {
            "net": {"kind": "chest_ct", "width": 0.125, "tasks": ["classification"], "losses": losses}
        },
        "plan": {"folds": 2},
        "training": {"balance_events": False},
        **changes,
    }


@pytest.mark.parametrize("values", [["0", "1"] * 15, ["0.0", "1.0", ""] * 10, ["0", "1", "NA"] * 10])
def test_classes_from_0_pass(tmp_path: Path, values: list[str]) -> None:
    assert load_study(study(tmp_path, values)).name == "labels"


def test_codes_1_and_2_are_refused_with_what_to_write(tmp_path: Path) -> None:
    # The coding of many registries: trained on unmapped, the loss was -7e10 and F1 0.667 on noise.
    config = study(tmp_path, ["1", "2"] * 15)
    message = (
        r"label 'label_x' has values that are no class: '2'.*models\.net\.losses\.labels.*expected: 0 and 1"
    )
    with pytest.raises(SettingsError, match=message) as refused:
        load_study(config)
    assert "cohort.labels: {label_x: {1: 0, 2: 1}}" in str(refused.value)
    config["cohort"]["labels"] = {"label_x": {1: 0, 2: 1}}
    patients = load_study(config).cohort.patients
    assert [p.extra["label_x"] for p in patients] == ["0", "1"] * 15


def test_three_classes_and_words_are_mapped_by_the_stated_table(tmp_path: Path) -> None:
    words = ["lung", "oesophagus", "", "other"] * 5
    codes = {"label_x": {"lung": 1, "oesophagus": 0, "other": 2}}
    made = load_study(study(tmp_path, words, cohort={"labels": codes}, losses={"classes": 3}))
    assert [p.extra["label_x"] for p in made.cohort.patients[:4]] == ["1", "0", "", "2"]
    with pytest.raises(SettingsError, match="values that are no class: 'lung', 'oesophagus', 'other'"):
        load_study(study(tmp_path, words, losses={"classes": 3}))
    with pytest.raises(SettingsError, match="nobody has class 0"):
        load_study(study(tmp_path, ["1", "2", "3"] * 5, losses={"classes": 4}))


def test_a_value_without_a_code_names_its_line(tmp_path: Path) -> None:
    codes = {"label_x": {"lung": 1, "oesophagus": 0}}
    with pytest.raises(TableError, match=r"value without a code.*line 4.*'lungs'.*cohort\.labels\.label_x"):
        load_study(study(tmp_path, ["lung", "oesophagus", "lungs"], cohort={"labels": codes}))


def test_a_label_of_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nobody has class 1 of label 'label_x'"):
        load_study(study(tmp_path, ["0"] * 20))


def test_a_misspelt_label_or_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no column 'label_y'.*losses\.labels.*did you mean 'label_x'"):
        load_study(study(tmp_path, ["0", "1"] * 15, losses={"labels": ["label_y"]}))
    with pytest.raises(SettingsError, match=r"clasification.*classification"):
        load_study(study(tmp_path, ["0", "1"] * 15, losses={"clasification": 1.0}))
    with pytest.raises(SettingsError, match="predicts labels, and names none"):
        load_study(study(tmp_path, ["0", "1"] * 15, losses={"labels": []}))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"label_x": {1: 1, 2: 2}}, "classes of label_x must be 0, 1"),
        ({"pathology": {"a": 0, "b": 1}}, "must begin with label_"),
    ],
)
def test_codes_are_classes_of_labels(labels: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CohortSettings.model_validate({"table": "t.csv", "labels": labels})


def test_codes_of_a_column_that_is_not_there(tmp_path: Path) -> None:
    codes = {"label_z": {"a": 0, "b": 1}}
    config = study(tmp_path, ["0", "1"] * 15, cohort={"labels": codes})
    load_settings(config)
    with pytest.raises(TableError, match="cohort.labels names a column that the table lacks: 'label_z'"):
        load_study(config)
