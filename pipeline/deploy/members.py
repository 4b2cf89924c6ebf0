"""Members of an ensemble as a bundle holds them, from a study's folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.deploy.manifest import (
    BundleError,
    Hazard,
    LinearFold,
    LinearMember,
    Member,
    NetworkFold,
    NetworkMember,
    ZScale,
)
from pipeline.training.checkpoint import unpack

LINEAR = ("clinical_cox", "feature", "lasso_cox", "univariate", "hecktor_cox", "signed_bagging")
"""Kinds whose risk is linear in what they are given; all others would need code from the file."""
WITHOUT_FEATURES = ("clinical_cox",)
KEPT = ("network", "training", "channels", "shape", "spacing_mm", "margin", "clinical", "selection")
"""What a bundle takes of a checkpoint's description; the fingerprint of the cohort stays behind."""


@dataclass(frozen=True)
class Folds:
    """A member's folds in a study.

    Attributes:
        name: Of the model.
        settings: Its section as plain values.
        folders: Of its folds, in fold order.
        scales: mean and sd by fold, of the ensemble's JSON; none of a network without survival.
    """

    name: str
    settings: Mapping[str, Any]
    folders: tuple[Path, ...]
    scales: Sequence[Mapping[str, Any]]


def is_network(settings: Mapping[str, Any]) -> bool:
    """Whether a model's section is a network's: those alone have a loss."""
    return "losses" in settings


def require_packable(models: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse models that cannot be written as weights or coefficients.

    Raises:
        BundleError: Naming each of them and why.
    """
    reasons = []
    for name, settings in models.items():
        kind = str(settings["kind"])
        if is_network(settings):
            continue
        if kind not in LINEAR:
            reasons.append(f"{name} ({kind}) is no network and not linear")
        elif settings.get("deep"):
            reasons.append(f"{name} ({kind}) reads deep features of cross-fitted networks")
        elif settings.get("contour", "manual") != "manual":
            reasons.append(f"{name} ({kind}) takes features of the contour {settings['contour']!r}")
        elif settings.get("harmonise", "none") != "none":
            reasons.append(f"{name} ({kind}) harmonises centres, and a new patient's centre is unknown to it")
    if reasons:
        raise BundleError(
            "members of the ensemble cannot be bundled",
            where="bundle.ensemble",
            expected="networks, and, of the drawn contour's radiomics and without harmonisation, "
            + ", ".join(LINEAR),
            got="; ".join(reasons),
            action="set bundle.ensemble to an ensemble of models that can",
        )


def pack_member(folds: Folds, out: Path) -> Member:
    """A member for the manifest; a network's weights go to `out/weights/` as safetensors."""
    if is_network(folds.settings):
        return _network(folds, out)
    parts = []
    for folder, scale in zip(folds.folders, folds.scales, strict=True):
        report = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if "design" not in report:
            raise BundleError(
                "a fitted model does not say how its columns are scaled",
                where=str(folder / "model.json"),
                action="run the rule survival again: this version writes it",
            )
        base = report["baseline"]
        hazard = {key: base[key] for key in ("times_days", "cumulative_hazard", "centre", "last_days")}
        parts.append(
            LinearFold(
                coefficients=report["coefficients"],
                features=tuple(tuple(row) for row in report["design"]["features"]),
                clinical=report["design"]["clinical"],
                scale=_scale(scale),
                hazard=Hazard(**hazard, slope=base["slope"]),
            )
        )
    return LinearMember(
        kind=folds.settings["kind"], log=bool(folds.settings.get("log", False)), folds=tuple(parts)
    )


def _network(folds: Folds, out: Path) -> NetworkMember:
    from safetensors.torch import save_file

    parts = []
    scales: list[ZScale | None] = [_scale(scale) for scale in folds.scales]
    scales = scales or [None] * len(folds.folders)
    for number, (folder, scale) in enumerate(zip(folds.folders, scales, strict=True)):
        content = unpack(folder / "checkpoint.pt")
        about = json.loads(content["about"])
        name = f"weights/{folds.name}_fold{number}.safetensors"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(content["net"], out / name)
        parts.append(
            NetworkFold(
                weights=name,
                about={key: about[key] for key in KEPT},
                precision=about["device"]["precision"],
                scale=scale,
                hazard=_hazard(about["baseline"]) if "baseline" in about else None,
            )
        )
    return NetworkMember(kind=folds.settings["kind"], folds=tuple(parts))


def _hazard(base: Mapping[str, Any]) -> Hazard:
    return Hazard(
        times_days=base["times"],
        cumulative_hazard=base["hazard"],
        centre=base["centre"],
        last_days=base["last"],
    )


def _scale(values: Mapping[str, Any]) -> ZScale:
    return ZScale(mean=values["mean"], sd=values["sd"])
