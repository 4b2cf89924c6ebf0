"""Handcrafted features."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from pipeline.settings.base import Section

Modality = Literal["pet", "ct"]
Contour = Literal["manual", "threshold", "peritumoral"]
"""What of the drawn contour features are taken from."""
TextureClass = Literal["glcm", "glrlm", "glszm", "gldm", "ngtdm"]


PerturbationKind = Literal["volume", "shift", "contour", "rotation", "noise"]
StandardFamily = Literal["morph", "loc", "stat", "ih", "ivh", "cm", "rlm", "szm", "dzm", "ngt", "ngl"]
STANDARD_FAMILIES: tuple[StandardFamily, ...] = get_args(StandardFamily)
Merging = Literal["2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb", "3D_avg", "3D_comb"]

LOWER_BOUND: dict[Modality, float] = {"pet": 0.0, "ct": -1000.0}
"""Where the grey levels of a fixed width begin unless a set says otherwise (g/mL, HU)."""


class RadiomicsSettings(Section):
    """What is extracted, from which images."""

    enabled: bool = Field(True, description="Whether radiomics features are extracted.")
    feature_set: str = Field(
        "deepmts", description="Feature set: a file of `config/radiomics/` without its ending, or a path."
    )
    modalities: tuple[Modality, ...] = Field(
        (),
        description="Images among those of the feature set that features are taken from; empty: all of the set. "
        "A study whose `crop.channels` are not both must name its own here.",
    )
    images: Literal["crop", "native"] = Field(
        "crop", description="Images that features are taken from: the crops, or the native volumes."
    )
    intensities: Literal["native", "zscored"] = Field(
        "native", description="Intensities: HU and SUV, or standardised per patient as one paper does."
    )
    zscored_bin_width_sd: float = Field(
        0.25, gt=0, description="With `zscored` intensities: bin width in standard deviations."
    )
    contours: tuple[Literal["threshold", "peritumoral"], ...] = Field(
        (),
        description="Further feature tables beside that of the manual contour: of its part above a share of SUVmax, "
        "and of the shell around it. Those that a model's `contour` names are made in any case. "
        "`pet_index_*` are of the manual contour in all of them.",
    )
    threshold_share: float = Field(
        0.41,
        gt=0,
        lt=1,
        description="With contour `threshold`: share of SUVmax.",
    )
    rim_mm: float = Field(
        8.0,
        gt=0,
        le=50,
        description="With contour `peritumoral`: thickness of the shell.",
    )
    per_class: tuple[str, ...] = Field(
        (),
        description="Classes of `contours.classes`, all in their order, whose features are extracted beside those of "
        "the whole lesion: columns `{class}_…`, and `{class}_present`; missing in patients without the class. Empty: "
        "features of the whole lesion alone.",
    )
    min_voxels: int = Field(
        8,
        ge=1,
        description="Least number of voxels of a lesion; a smaller one gets no texture features, with a warning.",
    )
    stability: bool = Field(
        False,
        description="Whether features are also extracted under perturbations, for the report; they are in any "
        "case where a model asks for `min_icc`.",
    )
    perturbations: tuple[PerturbationKind, ...] = Field(
        ("volume", "shift"),
        min_length=1,
        description="What is perturbed where stability is measured: the contour grown and shrunk (`volume`), moved "
        "along each axis (`shift`) or displaced at random (`contour`); image and contour turned (`rotation`); the "
        "image with its own noise once more (`noise`).",
    )
    perturb_mm: float = Field(
        2.0,
        gt=0,
        le=20,
        description="How far perturbed contours are moved, grown and shrunk (at least a voxel); SD of a random "
        "displacement.",
    )
    perturb_degrees: float = Field(
        10.0, gt=0, le=45, description="With `rotation`: angle about the z axis, both ways."
    )
    perturb_repeats: int = Field(
        2, ge=1, le=20, description="With `noise` and `contour`: how often each is drawn."
    )
    pet_fwhm_mm: dict[str, float] = Field(
        default_factory=dict,
        description="Harmonisation of PET scanners: full width at half maximum of the Gaussian that the PET of each "
        "scanner (manufacturer and model, as the report's table of SUV names it; `*`: any other) is smoothed by "
        "before features and PET metrics, so that all reach one recovery (EARL); 0: not at all. Empty: none is "
        "smoothed.",
    )

    @field_validator("pet_fwhm_mm")
    @classmethod
    def _no_sharpening(cls, values: dict[str, float]) -> dict[str, float]:
        wrong = {scanner: fwhm for scanner, fwhm in values.items() if not 0 <= fwhm <= 20}
        if wrong:
            raise ValueError(f"a full width must lie between 0 and 20 mm: {wrong}")
        return values


PERTURBATION_KEYS = frozenset({"perturbations", "perturb_mm", "perturb_degrees", "perturb_repeats"})
"""Settings that change perturbed features only."""


class Discretisation(Section):
    """How intensities become grey levels: a fixed width, or a fixed number of bins."""

    suffix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9.]*$",
        description="What is added to the image's name in columns, e.g. `64bins` for `original-64bins`.",
    )
    bin_width: float | None = Field(
        None,
        gt=0,
        description="Bin width in the image's units (g/mL or HU): IBSI's fixed bin size, from a lower bound.",
    )
    lower_bound: float | Literal["lesion"] | None = Field(
        None,
        description="With `bin_width`: where level 1 begins, in the image's units. Not given: 0 g/mL for PET and "
        "-1000 HU for CT. `lesion`: the multiple of the width at or below each lesion's own minimum, as "
        "PyRadiomics does; levels of different patients then mean different intensities.",
    )
    bins: int | None = Field(
        None, ge=2, le=4096, description="Number of bins between the lesion's minimum and maximum."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Discretisation:
        if (self.bin_width is None) == (self.bins is None):
            raise ValueError("give either bin_width or bins")
        if self.lower_bound is not None and self.bin_width is None:
            raise ValueError("lower_bound goes with bin_width; bins lie between the lesion's extremes")
        return self

    def fixed_bound(self, modality: Modality) -> float | None:
        """Where level 1 begins in every patient (g/mL or HU); None where each lesion has its own."""
        if self.bin_width is None or self.lower_bound == "lesion":
            return None
        return LOWER_BOUND[modality] if self.lower_bound is None else self.lower_bound


class StandardProcessing(Section):
    """Image processing, features and merging as the Image Biomarker Standardisation Initiative defines them."""

    spacing_mm: float | None = Field(
        None,
        gt=0,
        description="Voxel size that images are resampled to on a grid with the image's centre; none: they are not.",
    )
    interpolation: Literal["linear", "bspline"] = Field(
        "linear",
        description="Interpolation of the image; the mask is interpolated linearly and cut at one half.",
    )
    round_hu: bool = Field(True, description="Whether a CT that was resampled is rounded to whole HU.")
    ranges: dict[Modality, tuple[float, float]] = Field(
        default_factory=dict,
        description="Intensities (g/mL or HU) outside of which voxels are left out of all but the shape; grey levels "
        "of a fixed width begin at the lower one.",
    )
    outlier_sd: float | None = Field(
        None,
        gt=0,
        description="Voxels farther than this many standard deviations from the mean are left out of all but the "
        "shape.",
    )
    families: tuple[StandardFamily, ...] = Field(
        STANDARD_FAMILIES, min_length=1, description="Families of features by the standard's abbreviations."
    )
    merging: tuple[Merging, ...] = Field(
        ("3D_avg",),
        min_length=1,
        description="How matrices are merged, by the standard's names: `3D_avg` averages features over 13 directions, "
        "`3D_comb` merges the directions' matrices first; `2D_…` does so in each slice and averages over slices; "
        "`2_5D_…` merges all slices first.",
    )
    histogram_bins: dict[Modality, Discretisation] = Field(
        default_factory=dict,
        description="Discretisation of the intensity-volume histogram by modality; none: intensities themselves.",
    )

    @model_validator(mode="after")
    def _one_dimension(self) -> StandardProcessing:
        if len({how.startswith("3D") for how in self.merging}) > 1:
            raise ValueError("merging by slice (2D, 2_5D) and in space (3D) need feature sets of their own")
        for modality, (low, high) in self.ranges.items():
            if low >= high:
                raise ValueError(f"the range of {modality!r} is empty: {low:g} to {high:g}")
        return self

    @property
    def by_slice(self) -> bool:
        """Whether images are resampled, and texture measured, within slices."""
        return self.merging[0].startswith("2")


class FeatureSet(Section):
    """A file of `config/radiomics/`: which features of which images."""

    title: str = Field(description="Name of the set.")
    source: str = Field("", description="Where the set was published.")
    modalities: tuple[Modality, ...] = Field(
        ("pet", "ct"), min_length=1, description="Images that features are taken from."
    )
    resample_mm: float | None = Field(
        None,
        gt=0,
        description="Side of the isotropic voxels that images are resampled to first; none: they are not.",
    )
    standard: StandardProcessing | None = Field(
        None,
        description="Processing and features by the standard's own definitions, in place of PyRadiomics'; none: "
        "PyRadiomics'.",
    )
    original: bool = Field(True, description="Whether features are taken from the image itself.")
    wavelet: str = Field(
        "",
        description="Filter of the undecimated wavelet, as PyWavelets names it; empty: no wavelet.",
    )
    shape: tuple[str, ...] = Field(
        (), description="Shape features by their PyRadiomics names, once per mask."
    )
    firstorder: tuple[str, ...] = Field((), description="First-order features by their PyRadiomics names.")
    texture: dict[TextureClass, tuple[str, ...]] = Field(
        default_factory=dict, description="Texture features of each class by their PyRadiomics names."
    )
    discretisations: dict[Modality, tuple[Discretisation, ...]] = Field(
        description="Discretisations of each modality; texture is computed for each of them, first-order entropy "
        "and uniformity for the first."
    )

    @model_validator(mode="after")
    def _whole(self) -> FeatureSet:
        for modality in self.modalities:
            suffixes = [d.suffix for d in self.discretisations.get(modality, ())]
            if not suffixes:
                raise ValueError(f"discretisations lack {modality!r}")
            if len(set(suffixes)) < len(suffixes):
                raise ValueError(f"discretisations of {modality!r} need different suffixes")
            if self.wavelet and any(
                d.fixed_bound(modality) is not None for d in self.discretisations[modality]
            ):
                raise ValueError(
                    "wavelet images have no physical zero that grey levels of a fixed width could begin at: "
                    f"give the discretisations of {modality!r} `lower_bound: lesion`, or `bins`"
                )
        if self.standard and (
            self.shape or self.firstorder or self.texture or self.wavelet or self.resample_mm
        ):
            raise ValueError(
                "a set with `standard` names its features by `standard.families`: leave out shape, firstorder, "
                "texture, wavelet and resample_mm"
            )
        if not self.original and not self.wavelet:
            raise ValueError("neither the original image nor a wavelet is asked for")
        named: list[tuple[str, tuple[str, ...]]] = [("shape", self.shape), ("firstorder", self.firstorder)]
        for name, features in [*named, *self.texture.items()]:
            if len(set(features)) < len(features):
                raise ValueError(f"{name} names a feature twice")
        return self
