"""Handcrafted features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section

Modality = Literal["pet", "ct"]
Contour = Literal["manual", "threshold", "peritumoral"]
"""What of the drawn contour features are taken from."""
TextureClass = Literal["glcm", "glrlm", "glszm", "gldm", "ngtdm"]


class RadiomicsSettings(Section):
    """What is extracted, from which images."""

    enabled: bool = Field(True, description="Extract features.")
    feature_set: str = Field(
        "deepmts", description="A file of `config/radiomics/` without its ending, or a path."
    )
    images: Literal["crop", "native"] = Field("crop", description="From the crops or from native volumes.")
    intensities: Literal["native", "zscored"] = Field(
        "native", description="HU and SUV, or standardised per patient as one paper does."
    )
    zscored_bin_width_sd: float = Field(
        0.25, gt=0, description="Bin width in standard deviations where intensities are `zscored`."
    )
    contours: tuple[Literal["threshold", "peritumoral"], ...] = Field(
        (),
        description="Feature tables made beside that of the manual contour: of its part above a share of "
        "SUVmax, of the shell around it. Those that a model's `contour` names are made in any case. "
        "`pet_index_*` are of the manual contour in all of them.",
    )
    threshold_share: float = Field(0.41, gt=0, lt=1, description="`threshold`: share of SUVmax.")
    rim_mm: float = Field(8.0, gt=0, le=50, description="`peritumoral`: thickness of the shell.")
    min_voxels: int = Field(8, ge=1, description="Smaller lesions give no texture features (told).")
    stability: bool = Field(
        False,
        description="Also extract under perturbed contours, for the report; done in any case where a model "
        "asks for `min_icc`.",
    )
    perturb_mm: float = Field(
        2.0,
        gt=0,
        le=20,
        description="Stability: how far contours are moved, grown and shrunk (at least a voxel).",
    )


class Discretisation(Section):
    """How intensities become grey levels: a fixed width, or a fixed number of bins."""

    suffix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9.]*$",
        description="Stands behind the image's name in columns, e.g. `original-64bins`; empty: nothing.",
    )
    bin_width: float | None = Field(
        None, gt=0, description="Width in the image's units (g/mL or HU), edges at multiples of it."
    )
    bins: int | None = Field(
        None, ge=2, le=4096, description="Number of bins between the lesion's minimum and maximum."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Discretisation:
        if (self.bin_width is None) == (self.bins is None):
            raise ValueError("give either bin_width or bins")
        return self


class FeatureSet(Section):
    """A file of `config/radiomics/`: which features of which images."""

    title: str = Field(description="Whose set this is.")
    source: str = Field("", description="Where it was published.")
    modalities: tuple[Modality, ...] = Field(("pet", "ct"), min_length=1, description="Images used.")
    resample_mm: float | None = Field(
        None, gt=0, description="Isotropic voxel the images are resampled to first; none: as they are."
    )
    original: bool = Field(True, description="Take the image itself.")
    wavelet: str = Field("", description="PyWavelets name of the undecimated wavelet's filter; empty: none.")
    shape: tuple[str, ...] = Field((), description="PyRadiomics shape features, once per mask.")
    firstorder: tuple[str, ...] = Field((), description="PyRadiomics first-order features.")
    texture: dict[TextureClass, tuple[str, ...]] = Field(
        default_factory=dict, description="PyRadiomics texture features by class."
    )
    discretisations: dict[Modality, tuple[Discretisation, ...]] = Field(
        description="By modality; texture is computed for each, first-order entropy and "
        "uniformity for the first."
    )

    @model_validator(mode="after")
    def _whole(self) -> FeatureSet:
        for modality in self.modalities:
            suffixes = [d.suffix for d in self.discretisations.get(modality, ())]
            if not suffixes:
                raise ValueError(f"discretisations lack {modality!r}")
            if len(set(suffixes)) < len(suffixes):
                raise ValueError(f"discretisations of {modality!r} need different suffixes")
        if not self.original and not self.wavelet:
            raise ValueError("neither the original image nor a wavelet is asked for")
        named: list[tuple[str, tuple[str, ...]]] = [("shape", self.shape), ("firstorder", self.firstorder)]
        for name, features in [*named, *self.texture.items()]:
            if len(set(features)) < len(features):
                raise ValueError(f"{name} names a feature twice")
        return self
