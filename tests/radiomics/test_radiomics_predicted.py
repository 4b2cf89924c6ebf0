"""Features on predicted contours come from networks that have not seen the patient."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from pipeline.errors import TableError
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.radiomics_predicted import FoldContours, radiomics_predicted
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.parquet import read_metadata
from pipeline.tables.predicted_features import contour_caveats, read_predicted_features
from pipeline.tables.predictions import write_predictions
from pipeline.tables.splits import Fold, Splits, write_splits
from pipeline.tables.status import Status, write_status
from tests.radiomics.patient_files import files_of

DEMO = RadiomicsSettings(feature_set="demo")
SHAPE, MARGIN = (16, 20, 18), 2
SPLITS = Splits(
    (Fold(("C", "D"), ("B",), ("A",)), Fold(("A", "B"), ("D",), ("C",)), Fold(("A", "C"), (), ("B", "D"))),
    ("X",),
    seed=0,
)


def ball(radius: float) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (z - 8) ** 2 + (y - 10) ** 2 + (x - 9) ** 2 <= radius**2


def write_crop(path: Path, number: int, mask: np.ndarray | None) -> Path:
    rng = np.random.default_rng(number)
    image = np.stack([rng.gamma(4, 1.5, SHAPE), rng.normal(40, 30, SHAPE)]).astype(np.float32)
    about = CropAttributes(path.stem, ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 2.0), margin=MARGIN)
    drawn = None if mask is None else mask.astype(np.uint8)
    store.write_crop(path, store.Crop(image, drawn, np.ones(SHAPE, np.uint8), about))
    return path


def radius_of(patient: str, fold: int) -> float:
    return 3.0 + 0.3 * "ABCDX".index(patient) + 0.5 * fold


def write_fold(folder: Path, fold: int, splits: Splits = SPLITS) -> None:
    """What training leaves: masks of patients the network did not train on, predictions of all."""
    sets = splits.sets(fold)
    rows = [(p, name) for name, ids in sets.items() for p in ids]
    table = pd.DataFrame(rows, columns=["patient_id", "set"]).assign(risk=0.0)
    write_predictions(folder / "predictions.parquet", table)
    masks = zarr.open_group(str(folder / "masks.zarr"), mode="w")
    for patient, name in rows:
        if name != "train":
            inner = ball(radius_of(patient, fold))[(slice(MARGIN, -MARGIN),) * 3]
            masks.create_array(patient, data=inner.astype(np.uint8))
    (folder / "model.json").write_text('{"caveats": ["epoch chosen on the test fold"]}')
    write_status(folder, Status("ok", "train_fold"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for number, patient in enumerate("ABCDX"):
        files_of(write_crop(tmp_path / "crops" / f"{patient}.zarr", number, None), tmp_path)
    for fold in range(3):
        write_fold(tmp_path / "net" / f"fold{fold}", fold)
    write_splits(tmp_path / "splits.json", SPLITS)
    return tmp_path


def contours(study: Path, fold: int) -> FoldContours:
    return FoldContours("net", fold, study / "net" / f"fold{fold}", study, study / "splits.json")


def extracted(study: Path) -> list[Path]:
    paths = [study / f"fold{fold}.parquet" for fold in range(3)]
    for fold, path in enumerate(paths):
        radiomics_predicted(contours(study, fold), path, DEMO, "stop")
    return paths


def test_each_patient_has_the_contour_of_a_fold_that_has_not_seen_it(study: Path) -> None:
    paths = extracted(study)
    assert pd.read_parquet(paths[2])[["patient_id", "set"]].values.tolist() == [
        ["B", "test"], ["D", "test"], ["X", "external"],
    ]  # fmt: skip
    for fold, held in ((0, {"A": 0, "B": 2, "C": 1, "D": 2}), (1, {"A": 0, "B": 2, "C": 1, "D": 2})):
        table = read_predicted_features(paths, SPLITS, fold)
        assert sorted(table.index) == list("ABCDX")
        for patient, drawn_by in {**held, "X": fold}.items():
            # The same contour, drawn by hand.
            number = "ABCDX".index(patient)
            path = write_crop(
                study / "manual" / f"{patient}.zarr", number, ball(radius_of(patient, drawn_by))
            )
            radiomics_patient(files_of(path), study / "manual.parquet", DEMO, "stop")
            manual = pd.read_parquet(study / "manual.parquet").set_index("patient_id")
            pd.testing.assert_frame_equal(table.loc[[patient]], manual)
    assert contour_caveats(paths) == ["contours: epoch chosen on the test fold"]


def test_a_leaky_table_is_caught(study: Path) -> None:
    """The variant a careless rule would write: features of training patients on in-fold contours."""
    paths = extracted(study)
    honest = pd.read_parquet(paths[0])
    leaky = pd.concat([honest, honest.iloc[[0]].assign(patient_id="C")], ignore_index=True)
    for name in ("test", "train", "validation"):
        leaky.loc[2, "set"] = name
        leaky.to_parquet(paths[0])
        with pytest.raises(TableError, match="has seen the patients.*\n?.*C|C"):
            read_predicted_features(paths, SPLITS, 1)
    honest.iloc[1:].to_parquet(paths[0])
    with pytest.raises(TableError, match="no predicted contour"):
        read_predicted_features(paths, SPLITS, 1)
    honest.to_parquet(paths[0])
    with pytest.raises(TableError, match="does not hold one row per patient of one fold"):
        read_predicted_features([paths[1], paths[0], paths[2]], SPLITS, 1)
    with pytest.raises(TableError, match="one feature table per fold"):
        read_predicted_features(paths[:2], SPLITS, 0)


def test_contours_of_a_network_trained_on_the_patient_are_refused(study: Path) -> None:
    # Fold 1's network was trained on A, whom fold 0 holds out.
    swapped = replace(contours(study, 1), fold=0)
    with pytest.raises(TableError, match="has seen the patients"):
        radiomics_predicted(swapped, study / "out.parquet", DEMO, "exclude")
    # The same where the splits were drawn again after training.
    changed = replace(SPLITS, folds=(SPLITS.folds[1], SPLITS.folds[0], SPLITS.folds[2]))
    write_splits(study / "splits.json", changed)
    with pytest.raises(TableError, match="has seen the patients"):
        radiomics_predicted(contours(study, 0), study / "out.parquet", DEMO, "exclude")


def test_a_network_without_masks_is_refused(study: Path) -> None:
    source = contours(study, 0)
    del zarr.open_group(str(source.folder / "masks.zarr"))["A"]
    write_status(source.folder, Status("ok", "train_fold"))
    with pytest.raises(TableError, match="stored no mask"):
        radiomics_predicted(source, study / "out.parquet", DEMO, "exclude")


def test_where_the_network_finds_nothing_features_are_missing(study: Path) -> None:
    source = contours(study, 2)
    zarr.open_group(str(source.folder / "masks.zarr"))["D"][...] = 0
    write_status(source.folder, Status("ok", "train_fold"))
    out = study / "out.parquet"
    radiomics_predicted(source, out, DEMO, "stop")
    table = pd.read_parquet(out).set_index("patient_id").drop(columns=["fold", "set"])
    assert table.loc["D"].isna().all() and table.loc["B"].notna().all()
    assert "found no lesion" in read_metadata(out)[b"statuses"]["D"]["problem"]
