"""Features on the contours that a fold's network drew on patients it has not seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PatientError, TableError
from pipeline.radiomics.pet_metrics import INDEX_COLUMNS
from pipeline.radiomics.radiomics_patient import EXCLUDED, STAGE, Wanted, patient_features, table_metadata
from pipeline.radiomics.sets import feature_columns, load_feature_set
from pipeline.radiomics.sources import read_crop, with_predicted
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.predicted_features import KEYS, check_unseen, unseen_patients
from pipeline.tables.predictions import read_predictions
from pipeline.tables.splits import read_splits
from pipeline.tables.status import Status, stop_or_exclude

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldContours:
    """What a fold's network left.

    Attributes:
        network: The model's name.
        fold: Which fold.
        folder: `models/{network}/fold{k}`: `masks.zarr`, `predictions.parquet`.
        crops: Folder of the crop stores, `{patient}.zarr`.
        splits: `splits.json`.
    """

    network: str
    fold: int
    folder: Path
    crops: Path
    splits: Path


def radiomics_predicted(source: FoldContours, out: Path, settings: RadiomicsSettings, policy: Policy) -> None:
    """Write features on a fold's predicted contours: of test and external patients only.

    A parquet table with a row per patient: `patient_id`, `fold`, `set`, the set's columns and
    `pet_index_*` (of the predicted contour). A patient in whom the network found no lesion,
    or whose features cannot be computed (policy `exclude`), has missing values. The schema's
    metadata holds `statuses` by patient, `settings_hash`, `feature_set`, `versions`, `contour`
    and the network's `caveats`. Images are the crops, whatever the study's other features are
    taken from: the masks lie on their grid.

    Raises:
        TableError: The network has seen a patient, or kept no mask of one it must have.
        RadiomicsError: With policy `stop`: a patient's features cannot be computed.
    """
    splits = read_splits(source.splits)
    patients = unseen_patients(splits, source.fold)
    _require_unseen(source, patients)
    feature_set = load_feature_set(settings)
    rows, statuses = [], {}
    for patient_id, name in patients.items():
        values, status = _patient((source, patient_id), feature_set, settings, policy)
        statuses[patient_id] = asdict(status)
        if status.state == "warned":
            log.warning("patient %s: %s", patient_id, status.problem)
        rows.append({"patient_id": patient_id, "fold": source.fold, "set": name, **values})
    told = table_metadata(feature_set, settings, f"predicted by {source.network}")
    _write(out, rows, feature_set, {**told, b"statuses": statuses, b"caveats": _caveats(source.folder)})


def _require_unseen(source: FoldContours, patients: Mapping[str, str]) -> None:
    """The network's own record of its sets must be that of the splits, and its masks be there."""
    import zarr

    table = read_predictions(source.folder / "predictions.parquet")
    told = dict(zip(table["patient_id"], table["set"], strict=True))
    seen = {p: s for p, s in told.items() if p in patients or s in ("test", "external")}
    check_unseen(seen, read_splits(source.splits), source.fold, str(source.folder))
    masks = source.folder / "masks.zarr"
    kept = set(zarr.open_group(str(masks), mode="r")) if masks.is_dir() else set()
    absent = sorted(set(patients) - kept)
    if absent:
        raise TableError(
            "a network kept no mask of patients it did not see",
            where=str(masks),
            got=", ".join(absent[:5]),
            action="set training.outputs: [masks] and train a network that segments",
        )


def _patient(
    where: tuple[FoldContours, str], feature_set: FeatureSet, settings: RadiomicsSettings, policy: Policy
) -> tuple[Mapping[str, float], Status]:
    source, patient_id = where
    try:
        images = with_predicted(read_crop(source.crops / f"{patient_id}.zarr"), source.folder / "masks.zarr")
        if not images.contour:
            return {}, images.status
        return patient_features(images, feature_set, Wanted(settings, "manual", policy))
    except PatientError as error:
        told = stop_or_exclude(error, patient_id, EXCLUDED, policy)
        return {}, Status("warned", STAGE, told.problem, "features missing")


def _caveats(folder: Path) -> list[str]:
    told = folder / "model.json"
    found = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    return [str(caveat) for caveat in found.get("caveats", [])]


def _write(
    out: Path, rows: list[dict[str, Any]], feature_set: FeatureSet, metadata: Mapping[bytes, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (pa.string(), pa.int64(), pa.string())
    fields = [pa.field(name, kind) for name, kind in zip(KEYS, kinds, strict=True)]
    fields += [pa.field(name, pa.float64()) for name in feature_columns(feature_set) + INDEX_COLUMNS]
    schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in metadata.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
