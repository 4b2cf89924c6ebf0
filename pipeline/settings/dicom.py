"""Choosing series, converting them, SUV and contours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import FreeText, Section
from pipeline.settings.mask_classes import MaskClassSettings


class IndexSettings(Section):
    """Which series of a patient is the CT and which the PET."""

    prefer_pet: tuple[str, ...] = Field(
        (),
        description="Patterns of the PET's series description, the preferred one first (`*` stands for any "
        "text; upper and lower case are the same).",
    )
    prefer_ct: tuple[str, ...] = Field(
        (), description="Patterns of the CT's series description, the preferred one first."
    )
    modalities: tuple[Literal["pet", "ct"], ...] = Field(
        ("pet", "ct"), min_length=1, description="Modalities that every patient must have."
    )
    min_slices: int = Field(
        8, ge=1, description="Least number of slices; a series with fewer is not taken for a volume."
    )
    several_studies: Literal["refuse", "first", "last"] = Field(
        "refuse",
        description="What happens to a patient with several studies, or dates within a study, that hold PET and CT: "
        "refuse, or take the `first` or `last` one.",
    )
    different_dates: Literal["refuse", "accept"] = Field(
        "refuse",
        description="What happens to a PET and a CT whose dates are more than a day apart: refuse, or `accept` them "
        "with a warning, as where de-identification shifted the dates of each.",
    )
    different_frames: Literal["refuse", "accept", "register"] = Field(
        "refuse",
        description="What happens to PET and CT that do not share a frame of reference: refuse, `accept` them as "
        "aligned, or `register` the PET to the CT.",
    )
    repeated_frames: Literal["refuse", "first", "last"] = Field(
        "refuse",
        description="What happens to a dynamic or gated series, which has several images at each position: refuse, "
        "or use its first or last frame (phase), which is noted in `series.json`.",
    )
    several_acquisitions: Literal["refuse", "first", "last"] = Field(
        "refuse",
        description="What happens to a series that holds several acquisitions, more than `acquisition_gap_minutes` "
        "apart: refuse, or use the first or last one, which is noted in `series.json`.",
    )
    acquisition_gap_minutes: float = Field(
        20.0,
        gt=0,
        description="Longest time between slices of one acquisition; slices that are further apart are of two.",
    )
    uptake_minutes: tuple[float, float] = Field(
        (45.0, 90.0),
        description="Usual uptake times, shortest and longest: of several PETs at different times after injection the "
        "one within is taken, and all are named in a warning.",
    )
    expected_tracer: Literal["fdg", "any"] = Field(
        "fdg",
        description="Tracer of the PET that is taken where there are several; another tracer is named in a warning.",
    )
    min_pet_coverage: float = Field(
        0.67,
        ge=0,
        le=1,
        description="Least share of the length of the CT that the PET covers; less is named in a warning.",
    )
    free_text: FreeText = Field(
        "show",
        description="How warnings call the tracer: as the file does, `hash`, or `drop` what is no known word; the last "
        "two as in `convert.free_text`.",
    )
    max_unpacked_mib: int = Field(
        8192, ge=1, description="Largest size of a patient's unpacked ZIP archives; larger ones are refused."
    )
    max_deflated_mib: int = Field(
        512,
        ge=1,
        description="Largest size of an unpacked deflated DICOM file; a larger one is skipped with a warning.",
    )


class ConvertSettings(Section):
    """Slices to volumes."""

    spacing_tolerance_mm: float = Field(
        0.1, gt=0, description="Largest difference between slice distances; more means a missing slice."
    )
    incomplete: Literal["refuse", "warn"] = Field(
        "refuse",
        description="What happens to a series with fewer slices than (0054,0081) *Number of Slices* says: refuse, "
        "or use it with a warning.",
    )
    alternating_slices: Literal["refuse", "warn"] = Field(
        "refuse",
        description="What happens to a PET or CT whose neighbouring slices differ more than every second one, as those "
        "of two scans or reconstructions in one series do: refuse, or use it with a warning.",
    )
    gantry_tilt: Literal["refuse", "resample"] = Field(
        "refuse",
        description="What happens to slices that shift sideways evenly: refuse, or move each slice back by linear "
        "interpolation within its plane, with a warning.",
    )
    max_frame_mib: int = Field(
        64, ge=1, description="Largest size of an image's unpacked pixels; a larger one is refused."
    )
    max_series_mib: int = Field(
        3072,
        ge=1,
        description="Largest size of a series in memory, four bytes a voxel and beside them a file as it is read; a "
        "larger one is refused. As it stands it takes 3,071 slices of 512 × 512, 2 m at 0.7 mm.",
    )
    compression_level: int = Field(
        1, ge=0, le=9, description="Compression level of the NIfTI files written; 0: none."
    )
    keep_dates: bool = Field(
        False,
        description="Keep the dates and times of day of PET headers in `pet.json`, `suv.json` and messages; otherwise "
        "they are moved, so that the scan is at noon, the earliest date is 1 January 2000, and what lies between "
        "them stays.",
    )
    free_text: FreeText = Field(
        "show",
        description="What happens to texts of headers (scanner, tracer, kernel, contrast agent), which may hold a "
        "name: `show`, or keep only words that are known and identify nobody, and `hash` (8 digits of SHA-256) "
        "or `drop` the rest.",
    )


class SuvSettings(Section):
    """From stored PET values to standardised uptake values (g/mL)."""

    normalisation: Literal["bw", "lbm_james", "lbm_janmahasatian", "bsa", "ibw"] = Field(
        "bw",
        description="What uptake is normalised by: body weight (`bw`), lean body mass (`lbm_james`, "
        "`lbm_janmahasatian`), body surface area (`bsa`) or ideal body weight (`ibw`). Files and channels are "
        "named after it.",
    )
    date_shift: Literal["refuse", "use_times"] = Field(
        "refuse",
        description="What happens where de-identification put injection and scan on different days: refuse, or use "
        "the times of day, which is noted in `suv.json`.",
    )
    dose_in_mbq: Literal["refuse", "convert"] = Field(
        "refuse",
        description="What happens to a dose that is in MBq where Bq belongs, which is one that as MBq makes 0.5 to 30 "
        "MBq per kg and as mCi or µCi does not: refuse, or convert it, which is noted in `suv.json`.",
    )
    stored_lbm: Literal["refuse", "james_120", "james_128", "janmahasatian"] = Field(
        "refuse",
        description="Formula of lean body mass of a stored SUV whose (0054,1006) *SUV Type* is `LBM`, which does not "
        "name it.",
    )
    max_uptake_minutes: float = Field(
        240.0,
        gt=0,
        description="Longest time from injection to scan; a longer one is refused. Long-lived radionuclides need "
        "more.",
    )
    reference_time: Literal["refuse", "header", "frames"] = Field(
        "refuse",
        description="What happens where the frames' times, by (0054,1300), (0054,1321) or their acquisition, "
        "contradict the reference time of the headers by more than `reference_time_percent`: refuse, or use that of "
        "the `header` or of the `frames`, which is noted in `suv.json`.",
    )
    reference_time_percent: float = Field(
        5.0,
        gt=0,
        description="Largest contradiction between frames and reference time, in percent of SUV; above 0.5 it is "
        "flagged.",
    )
    uptake_minutes: tuple[float, float] = Field(
        (45.0, 90.0),
        description="Usual uptake times, shortest and longest; others are flagged in the report.",
    )
    body_suv: tuple[float, float] = Field(
        (0.2, 2.0),
        description="Usual median SUV of the body, lowest and highest; others are flagged (g/mL; for `bsa` a "
        "quarter of these, in cm²/mL).",
    )
    possible_body_suv: tuple[float, float] = Field(
        (0.02, 20.0),
        description="Possible median SUV of the body, lowest and highest; others are refused, since units, dose or "
        "weight are wrong by a factor of ten or more.",
    )
    implausible_suvmax: float = Field(
        150.0, gt=0, description="Highest usual SUVmax; a higher one is flagged."
    )

    @model_validator(mode="after")
    def _ranges_ascend(self) -> SuvSettings:
        for name in ("uptake_minutes", "body_suv", "possible_body_suv"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} must be [low, high], got [{low:g}, {high:g}]")
        return self


class ContourSettings(MaskClassSettings):
    """Where masks come from."""

    required: bool = Field(
        True,
        description="Whether every patient must have a contour; one without is then refused by the study's policy.",
    )
    roi: tuple[str, ...] = Field(
        ("GTV*",),
        description="Patterns of the names of ROIs that hold the lesion (`*` stands for any text; upper and lower "
        "case are the same), used where the cohort table's `roi` is blank. All ROIs that match are united.",
    )
    same_roi: Literal["refuse", "newest"] = Field(
        "refuse",
        description="What happens where several files draw an ROI of the same name differently: refuse, or take the "
        "one of the latest date and time, with a warning.",
    )
    other_image: Literal["leave_out", "place"] = Field(
        "leave_out",
        description="What happens to contours drawn on a series that is not in use, such as an MR or another CT: leave "
        "them out, or place them by their coordinates where no contour was drawn on the images in use; the two "
        "are never united.",
    )
    reference_roi: tuple[str, ...] = Field(
        (),
        description="Patterns of the name of a reference region's ROI, e.g. `Liver*`; its mean SUV is written to "
        "contours.json and to the report.",
    )
    crop_mask: Literal["ct", "pet"] = Field(
        "ct",
        description="Image whose contour fills the crop's mask; where only the other one has a contour, that is "
        "taken, with a warning.",
    )
    auto_segment: Literal["none", "threshold_40", "threshold_41", "fixed_2.5", "fixed_4.0"] = Field(
        "none",
        description="Threshold by which the software segments the lesion where no contour was drawn: a percentage "
        "of SUVmax, or a fixed SUV (g/mL). Such contours are marked.",
    )
    auto_segment_within: Literal["sphere", "image"] = Field(
        "sphere",
        description="Where `auto_segment` looks for the lesion: in the sphere that the cohort table's `roi` gives as "
        "`sphere(x, y, z, radius)` in LPS mm, or in the whole image, which is right only for images cut to the "
        "lesion.",
    )
    supersampling: int = Field(
        15,
        ge=1,
        le=63,
        description="Number of lines per voxel edge by which contours are rasterised; odd numbers have no ties at "
        "one half.",
    )
    max_file_mib: int = Field(
        128, ge=1, description="Largest size of an RTSTRUCT file; a larger one is refused."
    )
    max_contours: int = Field(
        20_000, ge=1, description="Largest number of contours of an ROI; more are refused."
    )
    max_points: int = Field(
        5_000_000, ge=3, description="Largest number of points of all contours of an ROI; more are refused."
    )
    max_contours_per_plane: int = Field(
        200, ge=1, description="Largest number of contours of an ROI in one axial plane; more are refused."
    )
    max_comparisons: int = Field(
        40_000_000,
        ge=1,
        description="Largest number of comparisons of an ROI's contours, which is that of points in a plane times that "
        "of contours in it, added up over planes with several; more are refused (40 million take some 12 s).",
    )
    max_outside_percent: float = Field(
        5.0,
        ge=0,
        le=100,
        description="Largest share of a contour's volume outside the image, in percent; more is refused.",
    )
    free_text: FreeText = Field(
        "show",
        description="How messages and results call ROIs, segments and mask files, whose names may hold a patient's: "
        "by their name, its `hash` (the first 8 digits of SHA-256), or `drop` it for a number.",
    )
    keep_rois: bool = Field(
        False,
        description="Also write the mask of every single ROI (`roi_{ct,pet}_{n}.nii.gz`, named in contours.json).",
    )
    partial_volume: bool = Field(
        False,
        description="Also write the share of each voxel that lies inside the contours, or that the occupancies of a "
        "DICOM SEG fill (`gtv_{ct,pet}_share.nii.gz`), by which volume, SUVmean, MTV and TLG of what was drawn on the "
        "PET are then measured; not with margins.",
    )
    margin_mm: float = Field(
        0.0, ge=-50, le=100, description="Margin by which masks are grown; a negative one shrinks them."
    )
    shell_mm: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Thickness of the shell around the lesion (peritumoral) that becomes the mask; 0: the mask is the "
        "lesion.",
    )

    @model_validator(mode="after")
    def _shares_are_of_the_contours(self) -> ContourSettings:
        if self.partial_volume and (self.margin_mm or self.shell_mm):
            raise ValueError("partial_volume goes without margin_mm and shell_mm, which act on whole voxels")
        return self

    @model_validator(mode="after")
    def _classes_are_drawn(self) -> ContourSettings:
        acting = {"auto_segment": self.auto_segment != "none", "partial_volume": self.partial_volume}
        acting |= {"margin_mm": self.margin_mm != 0, "shell_mm": self.shell_mm != 0}
        for name, is_set in acting.items():
            if self.classes and is_set:
                raise ValueError(f"classes go without {name}, which knows only lesion or not")
        return self
