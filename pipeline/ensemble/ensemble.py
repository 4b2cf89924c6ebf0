"""Folds and models averaged on a common scale: Z-scores with frozen means and SDs."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.tables.predictions import DISTANCES, read_predictions

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
log = logging.getLogger(__name__)
MIN_PATIENTS = 3
"""Fewer validation patients than this give no standard deviation worth the name."""
QUANTILES = (0.25, 1 / 3, 0.5, 2 / 3, 0.75)
"""Cuts of risk groups that are kept, of the training patients' Z."""


@dataclass(frozen=True)
class RiskScale:
    """Frozen Z-score of one model in one fold: Z = (risk − mean) / sd.

    Attributes:
        mean: Mean risk.
        sd: Its standard deviation (n − 1); 0: the risk is constant, and Z is 0.
        source: Where both come from, `validation` or `test`.
        patients: How many patients that is.
        train_cut: Median Z of the fold's training patients.
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


def fit_scale(sets: Array, risk: Array) -> RiskScale:
    """The scale of one fold's predictions.

    Mean and SD of the validation patients, or, where they are fewer than three, of
    the test patients (marked: those are then scored by their own spread).

    Args:
        sets: (n,) train, validation, test or external.
        risk: (n,) log-hazard, higher = worse.

    Raises:
        ModelError: Neither set has three patients.
    """
    for source in ("validation", "test"):
        values = risk[sets == source]
        if len(values) >= MIN_PATIENTS:
            break
    else:
        raise ModelError(
            "a fold has too few patients for a Z-score",
            expected=f"at least {MIN_PATIENTS} validation or test patients",
            action="use fewer folds (plan.folds)",
        )
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    # A spread at the level of rounding is a constant, whatever its digits say.
    sd = sd if sd > 1e-12 * max(1.0, abs(mean)) else 0.0
    scale = RiskScale(mean, sd, source, len(values))
    train = scale.z(risk[sets == "train"])
    return RiskScale(mean, sd, source, len(values), float(np.median(train)) if len(train) else 0.0)


def ensemble(members: dict[str, list[Path]], out: Path, info: Path) -> None:
    """Average models and folds.

    Development patients get the fold that held them out, external patients the mean over
    folds; several models are averaged with equal weights within each fold first.

    Args:
        members: Model → the folders of its folds, in fold order; one model is its own ensemble.
        out: Parquet: patient_id, set (development, external), fold (−1: external), risk
            (mean Z, higher = worse), spread (SD over folds of external patients' risk),
            `survival_{days}d`, dice, hd95_mm, assd_mm and label probabilities (means; missing
            where a member has none). Members that do not predict survival have no part in
            the first three; where none does, they are left out.
        info: JSON: per member and fold mean, SD, from, train_cut (no fold of a member without
            risk); per fold the cuts of the averaged training Z (none without risk); what was
            told; caveats of the members' `model.json` (key `caveats`), which are printed in every
            table.

    Raises:
        ModelError: Members differ in folds or patients.
    """
    _check_members(members)
    names = list(members)
    scales: dict[str, list[RiskScale]] = {name: [] for name in names}
    told: list[str] = []
    folds = []
    for k in range(len(members[names[0]])):
        frames = [read_predictions(members[name][k] / "predictions.parquet") for name in names]
        folds.append(_average_models(dict(zip(names, frames, strict=True)), k, scales, told))
    table = _join_folds(folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out, index=False)
    about = _describe(scales, folds, told)
    about["caveats"] = _caveats(members)
    info.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for line in told:
        log.warning("%s", line)


def _caveats(members: dict[str, list[Path]]) -> list[str]:
    """What the members' `model.json` files, where there are any, want printed in every table."""
    found: dict[str, None] = {}
    for folders in members.values():
        for path in (folder / "model.json" for folder in folders):
            if path.is_file():
                found.update(dict.fromkeys(json.loads(path.read_text(encoding="utf-8")).get("caveats", [])))
    return list(found)


def _check_members(members: dict[str, list[Path]]) -> None:
    if not members or not all(members.values()):
        raise ModelError("an ensemble needs at least one model with at least one fold")
    counts = {name: len(paths) for name, paths in members.items()}
    if len(set(counts.values())) > 1:
        raise ModelError("the models of an ensemble have different numbers of folds", got=str(counts))


def _average_models(
    frames: dict[str, pd.DataFrame], fold: int, scales: dict[str, list[RiskScale]], told: list[str]
) -> pd.DataFrame:
    """One fold's predictions, risk = mean Z over models; appends to scales and told."""
    import pandas as pd

    z_scored, ranked = [], []
    for name, frame in frames.items():
        if "risk" not in frame:
            z_scored.append(frame.set_index("patient_id").sort_index())
            continue
        scale = fit_scale(frame["set"].to_numpy(), frame["risk"].to_numpy(float))
        scales[name].append(scale)
        told.extend(_tell(name, fold, scale))
        z_scored.append(
            frame.assign(risk=scale.z(frame["risk"].to_numpy(float))).set_index("patient_id").sort_index()
        )
        ranked.append(z_scored[-1])
    first = z_scored[0]
    for name, frame in zip(frames, z_scored, strict=True):
        if not (frame.index.equals(first.index) and frame["set"].equals(first["set"])):
            raise ModelError(
                "the models of an ensemble were trained on different patients or splits",
                where=f"model {name}, fold {fold}",
                action="rerun the models on one splits.json",
            )
    of_masks = ("dice", *DISTANCES)
    of_risk = [c for c in ranked[0].columns if c == "risk" or c.startswith("survival_")] if ranked else []
    kept = pd.DataFrame({"set": first["set"]})
    for column in [*of_risk, *(c for c in first.columns if c in of_masks or c.startswith("label_"))]:
        parts = [f[column].to_numpy(float) for f in z_scored if column in f]
        # A probability is averaged only where all members give it, one of survival where all who
        # predict survival do; networks alone give masks.
        wanted = len(ranked) if column in of_risk else len(z_scored)
        present = parts if column in of_masks or len(parts) == wanted else [np.full(len(first), np.nan)]
        kept[column] = np.mean(present, axis=0)
    return kept


def _tell(name: str, fold: int, scale: RiskScale) -> list[str]:
    where = f"model {name}, fold {fold}"
    lines = []
    if scale.source == "test":
        lines.append(f"{where}: Z-scores from test patients, since there are too few validation patients")
    if scale.sd == 0:
        lines.append(f"{where}: the risk is the same for all patients, so its Z-score is 0")
    return lines


def _join_folds(folds: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    held = [
        frame[frame["set"] == "test"].drop(columns="set").assign(set="development", fold=k)
        for k, frame in enumerate(folds)
    ]
    outside = [frame[frame["set"] == "external"].drop(columns="set") for frame in folds]
    development = pd.concat(held)
    if development.index.duplicated().any():
        raise ModelError("a development patient is held out by two folds")
    ranks = "risk" in development
    if ranks:
        development["spread"] = np.nan
    numbers = pd.concat(outside, keys=range(len(folds)))
    by_patient = numbers.groupby(level=1, sort=True)
    external = by_patient.mean().assign(set="external", fold=-1)
    # pandas would average what is there; a probability some folds cannot give is missing.
    external = external.mask(by_patient.count() < len(folds)) if len(external) else external
    external["set"], external["fold"] = "external", -1
    if ranks:
        external["spread"] = by_patient["risk"].std(ddof=1) if len(external) else np.nan
    table = pd.concat([part for part in (development, external) if len(part)])
    table["fold"] = table["fold"].astype("int64")
    front = ["set", "fold", *(["risk", "spread"] if ranks else [])]
    rest = [c for c in table.columns if c not in front]
    return table[front + rest].rename_axis("patient_id").reset_index()


def _describe(
    scales: dict[str, list[RiskScale]], folds: list[pd.DataFrame], told: list[str]
) -> dict[str, object]:
    members = {}
    for name, ones in scales.items():
        rows = []
        for k, scale in enumerate(ones):
            row = asdict(scale)
            row["from"] = row.pop("source")
            rows.append({"fold": k, **row})
        members[name] = rows
    cuts = []
    for k, frame in enumerate(folds if any(scales.values()) else ()):
        train = frame.loc[frame["set"] == "train", "risk"].to_numpy(float)
        quantiles = np.quantile(train, QUANTILES) if len(train) else np.zeros(len(QUANTILES))
        cuts.append(
            {
                "fold": k,
                "train_cut": float(np.median(train)) if len(train) else 0.0,
                "train_quantiles": {f"{q:.6g}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)},
            }
        )
    return {"members": members, "folds": cuts, "warnings": told}
