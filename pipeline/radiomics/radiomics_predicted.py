"""The rule `radiomics_predicted`: features inside the contours that a network predicted.

Only patients that the network of the fold has not seen have features here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.errors import PatientError, TableError
from pipeline.radiomics.feature_table import Row, table_metadata, write_feature_table
from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.pet_harmonisation import harmonised
from pipeline.radiomics.radiomics_patient import (
    EXCLUDED,
    STAGE,
    ExtractionOptions,
    PatientFeatures,
    patient_features,
    with_classes,
)
from pipeline.radiomics.sets import load_feature_set
from pipeline.radiomics.sources import read_predicted
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.predicted_features import KEYS, check_unseen, unseen_patients
from pipeline.tables.predictions import read_predictions
from pipeline.tables.splits import read_splits
from pipeline.tables.status import Status, read_whole, stop_or_exclude

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldContours:
    """The files of the network of a fold, and what they belong to.

    Attributes:
        network: Name of the model.
        fold: Number of the fold.
        folder: `models/{network}/fold{k}`: `masks.zarr`, `predictions.parquet`.
        results: Folder of the study's results: `crops/{patient}.zarr`, and the folders of the
            stages, whose PET the metrics are measured on.
        splits: `splits.json`.
    """

    network: str
    fold: int
    folder: Path
    results: Path
    splits: Path

    def of_patient(self, patient_id: str) -> FeatureSources:
        """The files of a patient."""
        convert, suv, registration = (
            self.results / stage / patient_id for stage in ("convert", "suv", "registration")
        )
        crop = self.results / "crops" / f"{patient_id}.zarr"
        return FeatureSources(patient_id, convert, suv, registration=registration, crop=crop)


def radiomics_predicted(source: FoldContours, out: Path, settings: RadiomicsSettings, policy: Policy) -> None:
    """Write features inside the predicted contours of a fold, for test and external patients only.

    A parquet table with a row per patient: `patient_id`, `fold`, `set`, the set's columns and
    `pet_index_*` (of the predicted contour, carried to the native PET). A patient in whom the network found no lesion,
    or whose features cannot be computed (policy `exclude`), has missing values. The schema's
    metadata holds `statuses` by patient, `settings_hash`, `feature_set`, `versions`, `contour`
    and the `caveats` of the network. Images are the crops, whatever images the study's other
    features come from, because the masks lie on the grid of the crops.

    Args:
        source: The files of the fold.
        out: Parquet file.
        settings: The study's radiomics section.
        policy: What happens to a patient whose features cannot be computed.

    Raises:
        TableError: The network has seen a patient, or stored no mask of a patient that it has
            not seen.
        RadiomicsError: With policy `stop`: the features of a patient cannot be computed.
    """
    read_whole(source.folder)
    splits = read_splits(source.splits)
    patients = unseen_patients(splits, source.fold)
    _require_unseen(source, patients)
    feature_set = load_feature_set(settings)
    rows: list[Row] = []
    statuses = {}
    for patient_id, name in patients.items():
        features = _features(source, patient_id, feature_set, settings, policy)
        statuses[patient_id] = asdict(features.status)
        if features.status.state == "warned":
            log.warning("patient %s: %s", patient_id, features.status.problem)
        rows.append({"patient_id": patient_id, "fold": source.fold, "set": name, **features.values})
    metadata = {
        **table_metadata(feature_set, settings, f"predicted by {source.network}"),
        b"statuses": statuses,
        b"caveats": _caveats(source.folder),
    }
    key_columns = dict(zip(KEYS, (str, int, str), strict=True))
    write_feature_table(out, rows, key_columns, feature_set, metadata, settings.per_class)


def _require_unseen(source: FoldContours, patients: Mapping[str, str]) -> None:
    """Require that the network's record of its sets agrees with the splits, and that its masks exist."""
    import zarr

    table = read_predictions(source.folder / "predictions.parquet")
    sets = dict(zip(table["patient_id"], table["set"], strict=True))
    unseen = {p: s for p, s in sets.items() if p in patients or s in ("test", "external")}
    check_unseen(unseen, read_splits(source.splits), source.fold, str(source.folder))
    masks = source.folder / "masks.zarr"
    stored = set(zarr.open_group(str(masks), mode="r")) if masks.is_dir() else set()
    absent = sorted(set(patients) - stored)
    if absent:
        raise TableError(
            "a network stored no mask of patients that it has not seen",
            where=str(masks),
            got=", ".join(absent[:5]),
            action="set training.outputs: [masks] and train a network that segments",
        )


def _features(
    source: FoldContours,
    patient_id: str,
    feature_set: FeatureSet,
    settings: RadiomicsSettings,
    policy: Policy,
) -> PatientFeatures:
    try:
        files = source.of_patient(patient_id)
        masks, options = source.folder / "masks.zarr", ExtractionOptions(settings, "manual", policy)
        labels = range(len(options.classes()) + 1)
        whole, *each = (
            harmonised(read_predicted(replace(files, label=label), masks), files.suv, settings.pet_fwhm_mm)
            for label in labels
        )
        if not whole.has_contour:
            return PatientFeatures({}, whole.status)
        return with_classes(patient_features(whole, feature_set, options), each, feature_set, options)
    except PatientError as error:
        excluded = stop_or_exclude(error, patient_id, EXCLUDED, policy)
        return PatientFeatures({}, Status("warned", STAGE, excluded.problem, "features missing"))


def _caveats(folder: Path) -> list[str]:
    path = folder / "model.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [str(caveat) for caveat in facts.get("caveats", [])]
