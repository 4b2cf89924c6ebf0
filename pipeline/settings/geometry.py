"""Registration and crop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section

Count = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]


class RegistrationSettings(Section):
    """Rigid alignment to a template patient."""

    method: Literal["template", "none"] = Field(
        "template", description="Align rigidly to a template patient's CT, or leave as scanned."
    )
    template: str = Field(
        "auto",
        description="A patient_id, a NIfTI file, or `auto`: chosen by seed among development "
        "patients, blind to outcome.",
    )
    moving: Literal["ct", "pet"] = Field("ct", description="The image that is registered.")
    working_mm: float = Field(4.0, gt=0.5, le=10, description="Voxel of the grid registered on.")
    starts: int = Field(
        3, ge=1, le=20, description="Starting positions tried where one fails or others look as good."
    )
    max_rotation_deg: float = Field(30.0, gt=0, le=180, description="A larger turn is a failure.")
    max_translation_mm: float = Field(
        400.0, gt=0, description="A larger shift of the body's centre after initial alignment is a failure."
    )
    min_overlap: float = Field(0.6, ge=0, le=1, description="Dice of the two bodies below which it failed.")
    # Heads of the tests at 4 mm: aligned 0.85 to 0.91, of 5 to 8 % other size 0.34 to 0.54, 10 mm off
    # 0.03 to 0.28, further off below 0. Unregistered CTs of other sarcoma patients: -0.16 to 0.26.
    min_similarity: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Correlation of the two images, within either body, below which it failed.",
    )
    # The same heads: aligned 0.30 to 0.36, 40 mm off 0.05 to 0.12. PET and CT of 15 sarcoma patients
    # as scanned, where the bodies overlap: 0.09 to 0.19, median 0.15; PET of another patient: up to 0.09.
    min_information: float = Field(
        0.1,
        ge=0,
        le=1,
        description="PET to CT: mutual information of the two images over the mean of their entropies, "
        "below which it failed.",
    )


class CropSettings(Section):
    """Which part of the aligned images is stored, on which grid."""

    position: Literal["fixed", "lesion", "box", "brain_anchored"] = Field(
        "fixed",
        description="`fixed`: one place in template space; `lesion`: the contour's centroid "
        "(needs a contour); `box`: a table of boxes; `brain_anchored`: below the brain, no contour needed.",
    )
    centre_mm: tuple[float, float, float] | None = Field(
        None,
        description="`fixed`: crop centre in template space (z, y, x; LPS mm); none: the mean "
        "position of development lesions.",
    )
    boxes: str = Field("", description="`box`: CSV with patient_id, x1, x2, y1, y2, z1, z2 in mm.")
    uptake_threshold_gml: float = Field(
        3.0,
        gt=0,
        description="`brain_anchored`: smoothed SUV above which the largest region on top is the brain.",
    )
    shape: tuple[Count, Count, Count] = Field((112, 128, 128), description="Voxels (z, y, x).")
    spacing_mm: tuple[Length, Length, Length] = Field((1.0, 1.0, 1.0), description="Voxel size (z, y, x).")
    margin: int = Field(
        0,
        ge=0,
        le=64,
        description="Voxels stored beyond the crop on each side, for networks that shift before they cut.",
    )
    interpolation: Literal["linear", "bspline"] = Field("linear", description="Of the images.")
    mask_interpolation: Literal["nearest", "linear"] = Field(
        "linear", description="Of the mask; linear is thresholded near one half, where the volume is kept."
    )
    on_cut_lesion: Literal["warn", "exclude", "stop"] = Field(
        "warn", description="A lesion that the crop cuts off."
    )
    min_coverage: float = Field(0.95, ge=0, le=1, description="Share of the lesion that must lie inside.")

    @model_validator(mode="after")
    def _boxes_named(self) -> CropSettings:
        if self.position == "box" and not self.boxes:
            raise ValueError("position: box needs boxes, the table of them")
        return self
