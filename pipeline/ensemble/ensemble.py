"""Folds and models averaged on a common scale: Z-scores with frozen means and SDs."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.evaluation import ZScoreSource
from pipeline.tables.parquet import write_frame
from pipeline.tables.predictions import OUT_OF_SAMPLE, is_of_mask, read_predictions
from pipeline.tables.status import read_whole
from pipeline.tables.whole import write_text

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
log = logging.getLogger(__name__)
MIN_PATIENTS = 3
"""Patients that a standard deviation needs at least."""
QUANTILES = (0.25, 1 / 3, 0.5, 2 / 3, 0.75)
"""Quantiles of the training patients' Z-scores that are stored as cuts between risk groups."""


@dataclass(frozen=True)
class RiskScale:
    """Frozen Z-score of one model in one fold: Z = (risk − mean) / sd.

    Attributes:
        mean: Mean risk.
        sd: Its standard deviation (n − 1); 0 where the risk is constant, and Z is 0.
        source: Patients that both are computed from, `training` (with validation) or `test`.
        patients: Number of them.
        train_cut: Median Z-score of the fold's training patients.
    """

    mean: float
    sd: float
    source: str
    patients: int
    train_cut: float = 0.0

    def z(self, risk: Array) -> Array:
        """Z-scores, higher = worse; 0 for a constant risk."""
        values = np.asarray(risk, dtype=float)
        return (values - self.mean) / self.sd if self.sd > 0 else np.zeros_like(values)


@dataclass(frozen=True)
class FoldAverage:
    """The models of an ensemble averaged in one fold.

    Attributes:
        table: Indexed by patient_id: set, risk (mean Z-score), and the other means.
        scales: Model → its Z-score; without models that give no risk.
    """

    table: pd.DataFrame
    scales: dict[str, RiskScale]


def fit_scale(frame: pd.DataFrame, source: ZScoreSource) -> RiskScale:
    """The Z-score of one fold's predictions.

    Mean and SD are those of the fold's training and validation patients, by out-of-sample risks
    where the model was cross-fitted: a few validation patients alone would be random weights of
    models and folds. Those of the test patients are the way of some papers; they are marked, since
    the patients are then scored by their own spread.

    Args:
        frame: Predictions with set, risk and maybe out-of-sample risk.
        source: Patients that mean and SD come from.

    Raises:
        ModelError: They are fewer than three.
    """
    sets, risk = frame["set"].to_numpy(), frame["risk"].to_numpy(float)
    basis = frame[OUT_OF_SAMPLE].to_numpy(float) if OUT_OF_SAMPLE in frame else risk
    members = sets == "test" if source == "test" else (sets == "train") | (sets == "validation")
    values = basis[members]
    if len(values) < MIN_PATIENTS:
        raise ModelError(
            "a fold has too few patients for a Z-score",
            expected=f"at least {MIN_PATIENTS} {source} patients",
            got=str(len(values)),
            action="use fewer folds (plan.folds), or evaluation.z_scores: training",
        )
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    # A spread at the level of rounding errors is a constant.
    sd = sd if sd > 1e-12 * max(1.0, abs(mean)) else 0.0
    scale = RiskScale(mean, sd, source, len(values))
    train = scale.z(risk[sets == "train"])
    return replace(scale, train_cut=float(np.median(train)) if len(train) else 0.0)


def ensemble(
    members: dict[str, list[Path]], out: Path, info: Path, z_scores: ZScoreSource = "training"
) -> None:
    """Average models and folds.

    Development patients get the prediction of the fold that has them as test patients, external
    patients the mean over folds; several models are averaged with equal weights within each fold
    first.

    Args:
        members: Model → the folders of its folds, in fold order; a single model is an ensemble, too.
        out: Parquet: patient_id, set (development, external), fold (−1: external), risk
            (mean Z-score, higher = worse), spread (SD over folds of external patients' risk),
            `survival_{days}d`, columns of masks and label probabilities (means; missing
            where a member has none). Members that do not predict survival are not part of risk,
            spread and survival; where none predicts it, these columns are left out.
        info: JSON: per member and fold mean, SD, from, train_cut (no folds for a member without
            risk); per fold the cuts of the averaged training Z-scores (none without risk);
            warnings; caveats of the members' `model.json`, which are printed in every table.
        z_scores: Patients that the Z-scores' means and SDs come from.

    Raises:
        ModelError: Members differ in folds or patients.
    """
    _check_members(members)
    number_of_folds = len(next(iter(members.values())))
    folds = [
        _average_models(_read_fold(members, number), number, z_scores) for number in range(number_of_folds)
    ]
    warnings = [
        warning
        for number, fold in enumerate(folds)
        for name, scale in fold.scales.items()
        for warning in _warnings_of(name, number, scale)
    ]
    write_frame(out, _join_folds([fold.table for fold in folds]))
    about = {
        "members": {name: _describe_scales(name, folds) for name in members},
        "folds": _cuts(folds),
        "warnings": warnings,
        "caveats": _caveats_of(members),
    }
    write_text(info, json.dumps(about, indent=1) + "\n")
    for warning in warnings:
        log.warning("%s", warning)


def _check_members(members: dict[str, list[Path]]) -> None:
    if not members or not all(members.values()):
        raise ModelError("an ensemble needs at least one model with at least one fold")
    counts = {name: len(paths) for name, paths in members.items()}
    if len(set(counts.values())) > 1:
        raise ModelError("the models of an ensemble have different numbers of folds", got=str(counts))


def _read_fold(members: dict[str, list[Path]], fold: int) -> dict[str, pd.DataFrame]:
    """Model → its predictions in one fold."""
    for folders in members.values():
        read_whole(folders[fold], "predictions.parquet", "model.json")
    return {
        name: read_predictions(folders[fold] / "predictions.parquet") for name, folders in members.items()
    }


def _average_models(frames: dict[str, pd.DataFrame], fold: int, z_scores: ZScoreSource) -> FoldAverage:
    """The mean of the models' predictions in one fold; the risk is the mean Z-score."""
    import pandas as pd

    scales: dict[str, RiskScale] = {}
    z_scored: dict[str, pd.DataFrame] = {}
    for name, frame in frames.items():
        if "risk" in frame:
            scales[name] = fit_scale(frame, z_scores)
            frame = frame.assign(risk=scales[name].z(frame["risk"].to_numpy(float)))
        z_scored[name] = frame.set_index("patient_id").sort_index()
    first = next(iter(z_scored.values()))
    _check_patients(z_scored, fold)
    with_risk = [z_scored[name] for name in scales]
    risk_columns = (
        [c for c in with_risk[0].columns if c == "risk" or c.startswith("survival_")] if scales else []
    )
    other_columns = [c for c in first.columns if is_of_mask(c) or c.startswith("label_")]
    table = pd.DataFrame({"set": first["set"]})
    for column in [*risk_columns, *other_columns]:
        values = [frame[column].to_numpy(float) for frame in z_scored.values() if column in frame]
        # A probability is averaged only where all models give it, one of survival where all models
        # that give a risk do; masks are averaged over the networks that give them.
        required = len(with_risk) if column in risk_columns else len(z_scored)
        complete = is_of_mask(column) or len(values) == required
        table[column] = np.mean(values if complete else [np.full(len(first), np.nan)], axis=0)
    return FoldAverage(table, scales)


def _check_patients(frames: dict[str, pd.DataFrame], fold: int) -> None:
    """Refuse models with different patients or sets."""
    first = next(iter(frames.values()))
    for name, frame in frames.items():
        if not (frame.index.equals(first.index) and frame["set"].equals(first["set"])):
            raise ModelError(
                "the models of an ensemble were trained on different patients or splits",
                where=f"model {name}, fold {fold}",
                action="rerun the models on one splits.json",
            )


def _warnings_of(name: str, fold: int, scale: RiskScale) -> list[str]:
    where = f"model {name}, fold {fold}"
    warnings = []
    if scale.source == "test":
        warnings.append(f"{where}: Z-scores from test patients, as evaluation.z_scores asks")
    if scale.sd == 0:
        warnings.append(f"{where}: the risk is the same for all patients, so its Z-score is 0")
    return warnings


def _join_folds(folds: list[pd.DataFrame]) -> pd.DataFrame:
    """Each development patient from the fold that tests it, each external patient as the mean over folds."""
    import pandas as pd

    development = pd.concat(
        [
            frame[frame["set"] == "test"].drop(columns="set").assign(set="development", fold=number)
            for number, frame in enumerate(folds)
        ]
    )
    if development.index.duplicated().any():
        raise ModelError("a development patient is a test patient of two folds")
    has_risk = "risk" in development
    if has_risk:
        development["spread"] = np.nan
    in_folds = pd.concat(
        [frame[frame["set"] == "external"].drop(columns="set") for frame in folds], keys=range(len(folds))
    )
    by_patient = in_folds.groupby(level=1, sort=True)
    external = by_patient.mean().assign(set="external", fold=-1)
    # pandas averages the values that are there; a probability that some folds cannot give is missing.
    if len(external):
        counted = by_patient.count()
        missing = counted < len(folds)
        # Dice of a class is missing where neither mask holds it: the folds that found it wrongly have 0,
        # and leaving the patient out would hide them.
        of_classes = [column for column in counted if str(column).startswith("dice_")]
        missing[of_classes] = counted[of_classes] == 0
        external = external.mask(missing)
    external["set"], external["fold"] = "external", -1
    if has_risk:
        external["spread"] = by_patient["risk"].std(ddof=1) if len(external) else np.nan
    table = pd.concat([part for part in (development, external) if len(part)])
    table["fold"] = table["fold"].astype("int64")
    front = ["set", "fold", *(["risk", "spread"] if has_risk else [])]
    rest = [column for column in table.columns if column not in front]
    return table[front + rest].rename_axis("patient_id").reset_index()


def _describe_scales(name: str, folds: list[FoldAverage]) -> list[dict[str, object]]:
    """A model's Z-scores, a row per fold."""
    rows = []
    for number, fold in enumerate(folds):
        if name in fold.scales:
            row = asdict(fold.scales[name])
            row["from"] = row.pop("source")
            rows.append({"fold": number, **row})
    return rows


def _cuts(folds: list[FoldAverage]) -> list[dict[str, object]]:
    """Median and quantiles of the training patients' averaged Z-scores, a row per fold."""
    if not any(fold.scales for fold in folds):
        return []
    rows = []
    for number, fold in enumerate(folds):
        train = fold.table.loc[fold.table["set"] == "train", "risk"].to_numpy(float)
        cuts = np.quantile(train, QUANTILES) if len(train) else np.zeros(len(QUANTILES))
        rows.append(
            {
                "fold": number,
                "train_cut": float(np.median(train)) if len(train) else 0.0,
                "train_quantiles": {f"{q:.6g}": float(cut) for q, cut in zip(QUANTILES, cuts, strict=True)},
            }
        )
    return rows


def _caveats_of(members: dict[str, list[Path]]) -> list[str]:
    """Caveats in the members' `model.json` files, each once; a folder may have no such file."""
    caveats: dict[str, None] = {}
    for folders in members.values():
        for path in (folder / "model.json" for folder in folders):
            if path.is_file():
                caveats.update(dict.fromkeys(json.loads(path.read_text(encoding="utf-8")).get("caveats", [])))
    return list(caveats)
