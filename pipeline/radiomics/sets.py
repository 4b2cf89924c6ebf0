"""Feature sets: the YAML files of `config/radiomics/`, their columns and their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.provenance import versions
from pipeline.radiomics.standard_features import standard_columns
from pipeline.settings.radiomics import (
    PERTURBATION_KEYS,
    Discretisation,
    FeatureSet,
    Modality,
    RadiomicsSettings,
)
from pipeline.settings.shipped import shipped

FOLDER = shipped("radiomics")
# Decompositions of a 3D wavelet, low (L) or high (H) pass along x, y and z, in PyRadiomics' order.
DECOMPOSITIONS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")


def feature_set_path(settings: RadiomicsSettings) -> Path:
    """The file of a study's feature set, an input of the rules of radiomics.

    A bare name means a file of this package's `config/radiomics/`; what has a slash or the
    ending `.yaml` is a path from the working directory.
    """
    name = settings.feature_set
    if "/" in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    return FOLDER / f"{name}.yaml"


def load_feature_set(settings: RadiomicsSettings) -> FeatureSet:
    """Read and validate a study's feature set.

    Of its modalities those are left that `radiomics.modalities` names, if it names any.
    Where intensities are `zscored`, all fixed widths are replaced by the width in standard
    deviations, from each lesion's own minimum: 0 g/mL and -1000 HU lie elsewhere in each patient.

    Raises:
        SettingsError: The file is absent, is not valid YAML, or has wrong keys or values.
    """
    import yaml

    path = feature_set_path(settings)
    known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
    if not path.is_file():
        raise SettingsError(
            f"there is no radiomics feature set {settings.feature_set!r}",
            where=str(path),
            expected=f"one of {known}, or a path",
        )
    try:
        feature_set = FeatureSet.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise SettingsError("a radiomics feature set is wrong", where=str(path), got=str(error)) from None
    feature_set = _of_modalities(feature_set, settings)
    if settings.intensities == "zscored" and feature_set.standard is not None:
        raise SettingsError(
            "the standard's features are defined on HU and SUV, not on standardised intensities",
            where=f"radiomics.feature_set: {settings.feature_set}, radiomics.intensities: zscored",
            action="set radiomics.intensities: native",
        )
    if settings.intensities == "zscored":
        return _in_deviations(feature_set, settings.zscored_bin_width_sd)
    return feature_set


def _of_modalities(feature_set: FeatureSet, settings: RadiomicsSettings) -> FeatureSet:
    """The set with the modalities alone that the study names, in the set's order."""
    wanted = settings.modalities or feature_set.modalities
    if lacking := sorted(set(wanted) - set(feature_set.modalities)):
        raise SettingsError(
            f"the feature set has no features of the {lacking[0].upper()}",
            where=f"radiomics.modalities, radiomics.feature_set: {settings.feature_set}",
            expected=", ".join(feature_set.modalities),
            got=", ".join(wanted),
            action="name modalities of the set, or another set",
        )
    return feature_set.model_copy(
        update={"modalities": tuple(m for m in feature_set.modalities if m in wanted)}
    )


def _in_deviations(feature_set: FeatureSet, width: float) -> FeatureSet:
    def in_deviations(rule: Discretisation) -> Discretisation:
        if rule.bin_width is None:
            return rule
        return rule.model_copy(update={"bin_width": width, "lower_bound": "lesion"})

    rules = {
        m: tuple(in_deviations(rule) for rule in many) for m, many in feature_set.discretisations.items()
    }
    return feature_set.model_copy(update={"discretisations": rules})


def image_names(feature_set: FeatureSet) -> tuple[str, ...]:
    """Names of the images a set takes features from: `original`, `wavelet-LLH`, …"""
    original = ("original",) if feature_set.original else ()
    wavelets = tuple(f"wavelet-{d}" for d in DECOMPOSITIONS) if feature_set.wavelet else ()
    return original + wavelets


def shape_prefix(feature_set: FeatureSet) -> str:
    """Prefix of the columns of shape features.

    One mask serves both modalities, so shape features stand once: under CT (whose contour
    usually fills the mask), or under PET where a set has no CT.
    """
    return f"{'ct' if 'ct' in feature_set.modalities else 'pet'}_original_shape"


def texture_prefix(modality: Modality, image: str, discretisation: Discretisation) -> str:
    """Prefix of the columns of texture features, e.g. `ct_original` or `ct_original-64bins`."""
    suffix = f"-{discretisation.suffix}" if discretisation.suffix else ""
    return f"{modality}_{image}{suffix}"


def feature_columns(feature_set: FeatureSet) -> tuple[str, ...]:
    """All columns of a set, in order, `{modality}_{image}_{class}_{feature}`."""
    return tuple(standard_columns(feature_set) if feature_set.standard else _columns(feature_set))


def _columns(feature_set: FeatureSet) -> Iterator[str]:
    yield from (f"{shape_prefix(feature_set)}_{name}" for name in feature_set.shape)
    for modality in feature_set.modalities:
        for image in image_names(feature_set):
            yield from (f"{modality}_{image}_firstorder_{name}" for name in feature_set.firstorder)
            for discretisation in feature_set.discretisations[modality]:
                prefix = texture_prefix(modality, image, discretisation)
                for kind, names in feature_set.texture.items():
                    yield from (f"{prefix}_{kind}_{name}" for name in names)


# Settings that decide which tables are made, but not their values.
NOT_OF_VALUES = {"enabled", "feature_set", "contours", "stability"} | PERTURBATION_KEYS


def settings_hash(settings: RadiomicsSettings, feature_set: FeatureSet, contour: str = "manual") -> str:
    """Hash of everything that determines a patient's values: settings, feature set, contour, libraries."""
    content = {
        "settings": settings.model_dump(exclude=NOT_OF_VALUES),
        "set": feature_set.model_dump(exclude={"title", "source"}),
        "contour": contour,
        "versions": versions("pyradiomics", "PyWavelets"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
