"""Registration and crop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.settings.base import Section

Count = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]


class RegistrationSettings(Section):
    """Rigid alignment to a template patient."""

    method: Literal["template", "none"] = Field(
        "template", description="Align images rigidly to a template patient, or leave them as scanned."
    )
    template: str = Field(
        "auto",
        description="Template: a patient_id, a NIfTI file, or `auto`, which is chosen at random among development "
        "patients, blind to outcome.",
    )
    moving: Literal["ct", "pet"] = Field("ct", description="Image that is registered to the template's.")
    working_mm: float = Field(4.0, gt=0.5, le=10, description="Voxel size of the grid that is registered on.")
    starts: int = Field(
        3,
        ge=1,
        le=20,
        description="Number of starting positions tried where one fails or others look as good.",
    )
    max_rotation_deg: float = Field(
        30.0, gt=0, le=180, description="Largest rotation; a larger one is a failure."
    )
    max_translation_mm: float = Field(
        400.0,
        gt=0,
        description="Largest shift of the body's centre after initial alignment; a larger one is a failure.",
    )
    min_overlap: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Least Dice coefficient of the two bodies; a lower one is a failure.",
    )
    # Heads of the tests at 4 mm: aligned 0.85 to 0.91, of 5 to 8 % other size 0.34 to 0.54, 10 mm off
    # 0.03 to 0.28, further off below 0. Unregistered CTs of other sarcoma patients: -0.16 to 0.26.
    min_similarity: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Least correlation of the two images within either body; a lower one is a failure.",
    )
    # The same heads: aligned 0.30 to 0.36, 40 mm off 0.05 to 0.12. PET and CT of 15 sarcoma patients
    # as scanned, where the bodies overlap: 0.09 to 0.19, median 0.15; PET of another patient: up to 0.09.
    min_information: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Of a PET registered to a CT: least mutual information of the two images, divided by the mean "
        "of their entropies; a lower one is a failure.",
    )
    # PET and CT of one session differ by 2 to 3 mm at the head and up to 10 mm at the diaphragm, by breathing.
    max_pet_shift_mm: float = Field(
        10.0,
        gt=0,
        le=24,
        description="Shift by which the PET fits its CT better (mm), tried up to 24 mm along each axis; from here on a "
        "patient is used with a warning.",
    )
    # Moved by 15 mm, phantoms gain 1.2 to 1.9, limbs of sarcoma patients 0.1 to 1.7 across the limb; as scanned the
    # phantoms gain nothing, 29 of the 30 sarcoma patients less than this or at less than 10 mm.
    min_shift_gain: float = Field(
        0.2,
        ge=0,
        description="Share by which the mutual information of PET and CT must rise by such a shift for the warning.",
    )
    # Mirroring loses 2 to 69 % in 30 sarcoma patients as scanned, and gains 2 to 224 % where they were mirrored.
    min_mirror_gain: float = Field(
        0.1,
        ge=0,
        description="Share by which the mutual information of PET and CT must be higher with the PET mirrored left to "
        "right for a warning.",
    )


class CropSettings(Section):
    """Which part of the aligned images is stored, on which grid."""

    position: Literal["fixed", "lesion", "box", "brain_anchored"] = Field(
        "fixed",
        description="Where the crop lies: `fixed`: at one place in template space; `lesion`: at the contour's "
        "centroid (every patient needs a contour); `box`: as a table of boxes says; `brain_anchored`: below the "
        "brain, without a contour.",
    )
    centre_mm: tuple[float, float, float] | None = Field(
        None,
        description="With `fixed`: centre of the crop in template space (z, y, x; LPS mm); none: the mean position of "
        "development lesions.",
    )
    boxes: str = Field(
        "",
        description="With `box`: CSV file with the columns patient_id, x1, x2, y1, y2, z1, z2 (LPS mm).",
    )
    uptake_threshold_gml: float = Field(
        3.0,
        gt=0,
        description="With `brain_anchored`: smoothed SUV above which the largest region on top is the brain.",
    )
    channels: tuple[Literal["pet", "ct"], ...] = Field(
        ("pet", "ct"),
        min_length=1,
        description="Images that crops hold and networks see: `[pet, ct]`, `[pet]` or `[ct]`. A patient "
        "without one of them is excluded; `index.modalities` must name them.",
    )
    shape: tuple[Count, Count, Count] = Field((112, 128, 128), description="Number of voxels (z, y, x).")
    spacing_mm: tuple[Length, Length, Length] = Field((1.0, 1.0, 1.0), description="Voxel size (z, y, x).")
    margin: int = Field(
        0,
        ge=0,
        le=64,
        description="Number of voxels stored beyond the crop on each side, so that images that training shifts and "
        "rotates stay filled.",
    )
    interpolation: Literal["linear", "bspline", "nearest"] = Field(
        "linear",
        description="Interpolation of the images; `nearest` takes each voxel's value as it is, without the low-pass "
        "filter that the others have where the crop is coarser than the image.",
    )
    mask_interpolation: Literal["nearest", "linear"] = Field(
        "linear",
        description="Interpolation of the mask; `linear` is thresholded near one half, where the volume is kept.",
    )
    on_cut_lesion: Literal["warn", "exclude", "stop"] = Field(
        "warn",
        description="What happens to a patient whose lesion the crop cuts off: used with a warning, excluded, or "
        "the run stops.",
    )
    min_coverage: float = Field(
        0.95,
        ge=0,
        le=1,
        description="Share of the lesion that must lie inside the crop.",
    )
    # Bone of 28 sarcoma patients ends at 1,583 HU, enamel of teeth at about 3,000; CTs of 12 bits show metal as 3,071,
    # as two of these patients' do (0.09 mL each).
    metal_hu: float = Field(
        3000.0, gt=0, description="HU from which a voxel of the CT counts as metal; bone and teeth lie below."
    )
    # Half a filling: some 17 voxels of 1 × 1 × 3 mm, more than a few bright ones at a tooth's edge.
    max_metal_ml: float = Field(
        0.05,
        ge=0,
        description="Volume of metal in the crop (mL) above which a patient is used with a warning.",
    )

    @field_validator("channels")
    @classmethod
    def _in_one_order(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        if channels not in (("pet", "ct"), ("pet",), ("ct",)):
            raise ValueError(f"[pet, ct], [pet] or [ct], in this order, got [{', '.join(channels)}]")
        return channels

    @model_validator(mode="after")
    def _brain_can_be_found(self) -> CropSettings:
        if self.position == "brain_anchored" and "pet" not in self.channels:
            raise ValueError("position: brain_anchored finds the brain in the PET, which channels leave out")
        return self
