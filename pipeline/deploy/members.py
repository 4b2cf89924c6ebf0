"""Members of an ensemble as a bundle holds them, from a study's folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.deploy.manifest import BundleError
from pipeline.deploy.manifest_members import (
    BaselineHazard,
    LinearFold,
    LinearMember,
    LogisticFold,
    LogisticMember,
    Member,
    NetworkDescription,
    NetworkFold,
    NetworkMember,
    ScaledFeature,
    ZScale,
)
from pipeline.settings.classical import FeatureModel, FeatureSelecting
from pipeline.settings.kinds import KINDS
from pipeline.settings.label_models import LogisticModel
from pipeline.settings.models import Model
from pipeline.tables.clinical import ClinicalEncoder
from pipeline.training.checkpoint import unpack


@dataclass(frozen=True)
class MemberFolds:
    """A member's folds in a study.

    Attributes:
        name: Name of the model.
        settings: Its settings.
        folders: Folders of its folds, in fold order.
        scales: mean and sd by fold, from the ensemble's JSON; empty for a network that does not
            predict survival.
    """

    name: str
    settings: Model
    folders: tuple[Path, ...]
    scales: Sequence[Mapping[str, Any]]


def require_packable(models: Mapping[str, Model]) -> None:
    """Refuse models that cannot be written as weights or coefficients.

    Raises:
        BundleError: Naming each of them and why.
    """
    reasons = [
        f"{name} ({model.kind}) {why}" for name, model in models.items() if (why := _unpackable(model))
    ]
    if reasons:
        raise BundleError(
            "members of the ensemble cannot be bundled",
            where="bundle.ensemble",
            expected="networks, and, of the drawn contour's radiomics and without harmonisation, "
            + ", ".join(kind.model_fields["kind"].default for kind in KINDS if kind.is_linear)
            + ", logistic",
            got="; ".join(reasons),
            action="set bundle.ensemble to an ensemble of models that can",
        )


def _unpackable(model: Model) -> str:
    """Why a model can be written neither as weights nor as coefficients; empty where it can."""
    if model.is_network:
        return ""
    if not (model.is_linear or isinstance(model, LogisticModel)):
        return "is neither a network nor linear"
    if model.needs.deep:
        return "reads deep features of cross-fitted networks"
    if model.needs.contour != "manual":
        return f"takes features of the contour {model.needs.contour!r}"
    if isinstance(model, FeatureSelecting) and model.harmonise != "none":
        return "harmonises centres, and a new patient's centre is unknown to it"
    return ""


def pack_member(folds: MemberFolds, out: Path) -> Member:
    """A member for the manifest; a network's weights go to `out/weights/` as safetensors."""
    if folds.settings.is_network:
        return _pack_network(folds, out)
    if isinstance(folds.settings, LogisticModel):
        fitted_folds = tuple(_logistic_fold(_fitted(folder)) for folder in folds.folders)
        return LogisticMember(label=folds.settings.label, folds=fitted_folds)
    parts = []
    for folder, scale in zip(folds.folders, folds.scales, strict=True):
        fitted = _fitted(folder)
        baseline = fitted["baseline"]
        clinical = ClinicalEncoder.from_state(fitted["design"]["clinical"])
        hazard_keys = ("times_days", "cumulative_hazard", "centre", "last_days", "slope")
        parts.append(
            LinearFold(
                # A fitted model leaves out what has no part in its risk.
                coefficients=dict.fromkeys(clinical.names(), 0.0) | fitted["coefficients"],
                features=_scaled_features(fitted),
                clinical=clinical,
                scale=_scale(scale),
                hazard=BaselineHazard(**{key: baseline[key] for key in hazard_keys}),
            )
        )
    log = isinstance(folds.settings, FeatureModel) and folds.settings.log
    return LinearMember(kind=folds.settings.kind, log=log, folds=tuple(parts))


def _fitted(folder: Path) -> dict[str, Any]:
    """Content of a fold's `model.json`, which must say how columns are scaled."""
    fitted: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if "design" not in fitted:
        raise BundleError(
            "a fitted model does not say how its columns are scaled",
            where=str(folder / "model.json"),
            action="run the rule survival again: this version writes it, unless no column varied in a fold",
        )
    return fitted


def _scaled_features(fitted: Mapping[str, Any]) -> tuple[ScaledFeature, ...]:
    return tuple(
        ScaledFeature(name=name, median=median, mean=mean, sd=sd)
        for name, median, mean, sd in fitted["design"]["features"]
    )


def _logistic_fold(fitted: Mapping[str, Any]) -> LogisticFold:
    clinical, features = ClinicalEncoder.from_state(fitted["design"]["clinical"]), _scaled_features(fitted)
    # A fitted model leaves out what has no part in a class.
    nothing = dict.fromkeys([*clinical.names(), *(feature.name for feature in features)], 0.0)
    return LogisticFold(
        intercepts=fitted["intercepts"],
        log_odds_ratios={k: nothing | of_class for k, of_class in fitted["log_odds_ratios"].items()},
        features=features,
        clinical=clinical,
    )


def _pack_network(folds: MemberFolds, out: Path) -> NetworkMember:
    from safetensors.torch import save

    parts = []
    scales: list[ZScale | None] = [_scale(scale) for scale in folds.scales]
    scales = scales or [None] * len(folds.folders)
    for number, (folder, scale) in enumerate(zip(folds.folders, scales, strict=True)):
        content = unpack(folder / "checkpoint.pt")
        description = json.loads(content["about"])
        name = f"weights/{folds.name}_fold{number}.safetensors"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        # `save_file` makes files that only their owner can read, whatever the umask.
        (out / name).write_bytes(save(content["net"]))
        parts.append(
            NetworkFold(
                weights=name,
                description=NetworkDescription(
                    **{key: description[key] for key in NetworkDescription.model_fields}
                ),
                precision=description["device"]["precision"],
                scale=scale,
                hazard=_hazard(description["baseline"]) if "baseline" in description else None,
            )
        )
    return NetworkMember(kind=folds.settings.kind, folds=tuple(parts))


def _hazard(baseline: Mapping[str, Any]) -> BaselineHazard:
    return BaselineHazard(
        times_days=baseline["times"],
        cumulative_hazard=baseline["hazard"],
        centre=baseline["centre"],
        last_days=baseline["last"],
        slope=baseline["slope"],
    )


def _scale(values: Mapping[str, Any]) -> ZScale:
    return ZScale(mean=values["mean"], sd=values["sd"])
