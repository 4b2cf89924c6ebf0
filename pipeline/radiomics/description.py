"""How features were computed, in sentences for a methods section."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.settings.radiomics import Discretisation, FeatureSet, Merging, Modality, RadiomicsSettings

_UNITS: dict[Modality, str] = {"pet": "g/mL", "ct": "HU"}
_MERGING: dict[Merging, str] = {
    "3D_avg": "averaged over 13 directions",
    "3D_comb": "merged over 13 directions",
    "2D_avg": "averaged over directions and slices",
    "2D_comb": "merged over directions within slices, then averaged",
    "2_5D_avg": "merged over slices, averaged over directions",
    "2_5D_comb": "merged over slices and directions",
}


def describe_features(feature_set: FeatureSet, settings: RadiomicsSettings) -> str:
    """Images, intensities, resampling, discretisation and merging of a feature set, as a paper tells them.

    Args:
        feature_set: The feature set.
        settings: The study's radiomics section.
    """
    return " ".join(f"{sentence}." for sentence in _sentences(feature_set, settings))


def _sentences(feature_set: FeatureSet, settings: RadiomicsSettings) -> Iterator[str]:
    by = (
        "the Image Biomarker Standardisation Initiative's definitions"
        if feature_set.standard
        else "PyRadiomics"
    )
    yield f"Features: {feature_set.title}, by {by}"
    images = "crops" if settings.images == "crop" else "native volumes"
    zscored = ", standardised per patient" if settings.intensities == "zscored" else ""
    yield f"They were taken from the {images}{zscored}; SUVmax, SUVpeak and metabolic volume from native PET voxels"
    if settings.pet_fwhm_mm:
        widths = ", ".join(f"{name} {width:g} mm" for name, width in settings.pet_fwhm_mm.items())
        yield f"PET was smoothed first by a Gaussian of full width at half maximum: {widths}"
    yield from _processing(feature_set)
    if feature_set.wavelet:
        yield f"Wavelet images: undecimated, filter {feature_set.wavelet}"
    for modality in feature_set.modalities:
        levels = [_levels(d, modality, settings) for d in feature_set.discretisations[modality]]
        yield f"Grey levels of {modality.upper()}: {'; '.join(levels)}"
    yield f"Lesions under {settings.min_voxels} voxels have no texture features"


def _processing(feature_set: FeatureSet) -> Iterator[str]:
    """Resampling, resegmentation and merging."""
    standard = feature_set.standard
    if standard is None:
        if feature_set.resample_mm:
            yield f"Images were resampled to {feature_set.resample_mm:g} mm isotropic"
        return
    if standard.spacing_mm:
        plane = " within slices" if standard.by_slice else ""
        yield f"Images were resampled to {standard.spacing_mm:g} mm{plane} ({standard.interpolation})"
    for modality, (low, high) in standard.ranges.items():
        yield f"{modality.upper()} voxels outside of {low:g} to {high:g} {_UNITS[modality]} were left out"
    if standard.outlier_sd:
        yield f"Voxels beyond {standard.outlier_sd:g} standard deviations were left out"
    yield f"Texture matrices: {'; '.join(_MERGING[how] for how in standard.merging)}"


def _levels(discretisation: Discretisation, modality: Modality, settings: RadiomicsSettings) -> str:
    """One discretisation."""
    if discretisation.bins is not None:
        return f"fixed bin number, {discretisation.bins} bins between the lesion's extremes"
    if settings.intensities == "zscored":
        return f"fixed bin width of {settings.zscored_bin_width_sd:g} standard deviations"
    width = f"fixed bin size of {discretisation.bin_width:g} {_UNITS[modality]}"
    bound = discretisation.fixed_bound(modality)
    if bound is None:
        return f"{width} from each lesion's own minimum"
    return f"{width} from {bound:g} {_UNITS[modality]}"
