"""Choosing series, converting them, SUV and contours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section


class IndexSettings(Section):
    """Which series of a patient is the CT, which the PET."""

    prefer_pet: tuple[str, ...] = Field(
        (), description="Patterns (case-insensitive, `*`) of the PET's series description, best first."
    )
    prefer_ct: tuple[str, ...] = Field((), description="Patterns of the CT's series description, best first.")
    modalities: tuple[Literal["pet", "ct"], ...] = Field(
        ("pet", "ct"), min_length=1, description="What a patient must have."
    )
    min_slices: int = Field(8, ge=1, description="Series with fewer slices are not volumes.")
    several_studies: Literal["refuse", "first", "last"] = Field(
        "refuse", description="A patient with several studies that hold PET and CT."
    )
    different_frames: Literal["refuse", "accept", "register"] = Field(
        "refuse",
        description="PET and CT that do not share a frame of reference: refuse, take them as aligned, "
        "or register the PET to the CT.",
    )
    repeated_frames: Literal["refuse", "first", "last"] = Field(
        "refuse",
        description="A dynamic or gated series, several images at each position: refuse, or use its "
        "first or last frame (phase), told in `series.json`.",
    )
    several_acquisitions: Literal["refuse", "first", "last"] = Field(
        "refuse",
        description="A series that holds several acquisitions, parted by more than `acquisition_gap_minutes`: "
        "refuse, or use the first or the last one, told in `series.json`.",
    )
    acquisition_gap_minutes: float = Field(
        20.0,
        gt=0,
        description="Slices of one series whose acquisitions are further apart are two acquisitions.",
    )
    uptake_minutes: tuple[float, float] = Field(
        (45.0, 90.0),
        description="Of several PETs at different times after injection the one within is taken, and all are told.",
    )
    expected_tracer: Literal["fdg", "any"] = Field(
        "fdg", description="Of several PETs one of this tracer is taken; another one is told."
    )
    min_pet_coverage: float = Field(
        0.67,
        ge=0,
        le=1,
        description="A PET that covers less of the length of the CT than this share is told.",
    )
    max_unpacked_mib: int = Field(
        8192, ge=1, description="ZIP archives of one patient that unpack to more MiB of DICOM are refused."
    )
    max_deflated_mib: int = Field(
        512, ge=1, description="A deflated DICOM file that unpacks to more MiB is passed over, and told."
    )


class ConvertSettings(Section):
    """Slices to volumes."""

    spacing_tolerance_mm: float = Field(
        0.1, gt=0, description="Slice distances may differ by this much; more is a missing slice."
    )
    incomplete: Literal["refuse", "warn"] = Field(
        "refuse", description="A series with fewer slices than (0054,0081) Number of Slices says."
    )
    gantry_tilt: Literal["refuse", "resample"] = Field(
        "refuse",
        description="Slices that shift sideways evenly: refuse, or move each slice back by linear "
        "interpolation within its plane, told in the status.",
    )
    max_frame_mib: int = Field(
        64, ge=1, description="An image whose pixels take more MiB than this unpacked is refused."
    )
    max_series_mib: int = Field(
        4096,
        ge=1,
        description="A series, or one multi-frame object, that takes more MiB unpacked is refused.",
    )
    keep_dates: bool = Field(
        False,
        description="Keep the dates of PET headers in `pet.json` and `suv.json`; otherwise they are moved, so "
        "that the earliest is 1 January 2000 and the days between them stay.",
    )
    compression_level: int = Field(1, ge=0, le=9, description="Of the NIfTI files written.")


class SuvSettings(Section):
    """From stored PET values to standardised uptake values (g/mL)."""

    normalisation: Literal["bw", "lbm_james", "lbm_janmahasatian", "bsa", "ibw"] = Field(
        "bw",
        description="By body weight; lean body mass; body surface; ideal body weight. Files "
        "and channels keep the name of the one chosen.",
    )
    date_shift: Literal["refuse", "use_times"] = Field(
        "refuse",
        description="Injection and scan on different days after de-identification: refuse, "
        "or use the times of day, told in `suv.json`.",
    )
    dose_in_mbq: Literal["refuse", "convert"] = Field(
        "refuse",
        description="A dose that as MBq makes 0.5 to 30 MBq per kg, and as mCi or µCi does not, is MBq where "
        "Bq belongs: refuse, or convert, told in `suv.json`.",
    )
    stored_lbm: Literal["refuse", "james_120", "james_128", "janmahasatian"] = Field(
        "refuse",
        description="The formula of a stored SUV whose type, (0054,1006), is `LBM`, which does not name it.",
    )
    max_uptake_minutes: float = Field(
        240.0,
        gt=0,
        description="A longer time from injection to scan is refused; raise it for long-lived nuclides.",
    )
    reference_time: Literal["refuse", "header", "frames"] = Field(
        "refuse",
        description="The frames, by (0054,1300) or (0054,1321), speak for another reference time than the "
        "headers by more than `reference_time_percent`: refuse, believe the headers, or believe the frames, "
        "told in `suv.json`.",
    )
    reference_time_percent: float = Field(
        5.0,
        gt=0,
        description="By how many percent of SUV the frames may contradict the reference time; above 0.5 they "
        "are flagged.",
    )
    uptake_minutes: tuple[float, float] = Field(
        (45.0, 90.0), description="Uptake times outside are flagged in the audit."
    )
    body_suv: tuple[float, float] = Field(
        (0.2, 2.0),
        description="A median SUV of the body outside is flagged (g/mL; for `bsa` a quarter, in cm²/mL).",
    )
    possible_body_suv: tuple[float, float] = Field(
        (0.02, 20.0),
        description="A median SUV of the body outside is refused: units, dose or weight are wrong by a "
        "factor of ten or more.",
    )
    implausible_suvmax: float = Field(150.0, gt=0, description="A higher maximum is flagged.")

    @model_validator(mode="after")
    def _ranges_ascend(self) -> SuvSettings:
        for name in ("uptake_minutes", "body_suv", "possible_body_suv"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} must be [low, high], got [{low:g}, {high:g}]")
        return self


class ContourSettings(Section):
    """Where masks come from."""

    required: bool = Field(True, description="A patient without contour is bad data (see the policy).")
    roi: tuple[str, ...] = Field(
        ("GTV*",),
        description="Patterns of ROI names (case-insensitive, `*`), used where the cohort "
        "table's `roi` is blank. All that match are united.",
    )
    same_roi: Literal["refuse", "newest"] = Field(
        "refuse",
        description="Several files that draw an ROI of one name differently: refuse, or take the one of "
        "the latest date and time (where these tell), told in the status.",
    )
    other_image: Literal["leave_out", "place"] = Field(
        "leave_out",
        description="Contours drawn on a series that is not in use, such as an MR or another CT: leave them "
        "out, or place them by their coordinates where no contour was drawn on the images in use; the two "
        "are never united.",
    )
    reference_roi: tuple[str, ...] = Field(
        (),
        description="Patterns of the ROI of a reference region, e.g. `Liver*`: its mean SUV is written to "
        "contours.json and to the audit.",
    )
    crop_mask: Literal["ct", "pet"] = Field(
        "ct",
        description="The contour drawn on which image fills the crop's mask; the other one "
        "where only that exists (told in the status).",
    )
    auto_segment: Literal["none", "threshold_40", "threshold_41", "fixed_2.5", "fixed_4.0"] = Field(
        "none", description="Contour drawn by the software where none was drawn, marked as such."
    )
    auto_segment_within: Literal["sphere", "image"] = Field(
        "sphere",
        description="Where `auto_segment` looks: in the cohort table's `roi`, written `sphere(x, y, z, radius)` "
        "in LPS mm; or in the whole PET, right only for images cut to the lesion.",
    )
    supersampling: int = Field(
        15,
        ge=1,
        le=63,
        description="Sub-voxel rasterisation: lines per voxel edge; odd numbers have no ties at one half.",
    )
    max_file_mib: int = Field(128, ge=1, description="A larger RTSTRUCT file is refused.")
    max_contours: int = Field(20_000, ge=1, description="An ROI with more contours is refused.")
    max_points: int = Field(
        5_000_000, ge=3, description="An ROI with more points, all contours together, is refused."
    )
    max_contours_per_plane: int = Field(
        200, ge=1, description="An ROI with more contours in one axial plane is refused."
    )
    max_outside_percent: float = Field(
        5.0, ge=0, le=100, description="A contour with more of its volume outside the image is refused."
    )
    keep_rois: bool = Field(
        False,
        description="Also write every ROI's own mask (`roi_{ct,pet}_{n}.nii.gz`), named in contours.json.",
    )
    margin_mm: float = Field(
        0.0, ge=-50, le=100, description="Masks are grown by this margin; negative shrinks them."
    )
    shell_mm: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Above 0 the mask is the shell of this thickness around the lesion (peritumoral).",
    )
