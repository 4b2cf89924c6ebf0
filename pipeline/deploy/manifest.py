"""The manifest of a bundle: everything it says of itself, as typed values."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.deploy.manifest_members import LinearMember, LogisticMember, Member, NetworkMember
from pipeline.deploy.manifest_values import (
    Channels,
    Finite,
    Names,
    Shape,
    Spacing,
    require_ascending,
    require_sorted_levels,
)
from pipeline.errors import PipelineError
from pipeline.settings.base import Section
from pipeline.settings.cohort import NiftiSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.radiomics import RadiomicsSettings

FORMAT = 5
"""2: a network that does not predict survival has neither Z-score nor hazard, and no part in a risk;
3: settings under their names of today, covariates; 4: the template's folder proves itself; 5: sizes of
files, identity, the study's unit of time."""
TEMPLATE, FEATURE_SET, MODEL_CARD = "template", "feature_set.yaml", "MODEL_CARD.md"
MANIFEST, IDENTITY = "manifest.json", "ID"
FILE_PART, LONGEST_NAME = re.compile(r"[A-Za-z0-9_.-]+"), 255
"""Characters of a file's or folder's name, and length of a whole path in a bundle."""
LIBRARIES = ("torch", "numpy", "SimpleITK", "antspyx", "pyradiomics", "pydicom")
"""Libraries whose versions a bundle and a prediction state."""
PERCENTILES = tuple(range(0, 101, 5))
"""Percentages of the development patients' risks that `risk_percentiles` gives."""
TimeUnit = Literal["days", "months", "none"]
"""As `cohort.time_unit` of a study; with `none` times are bare numbers."""


class BundleError(PipelineError):
    """A bundle cannot be made, or cannot be trusted."""


class StageSettings(Section):
    """Settings of the per-patient stages, without paths and ids of the study.

    `nifti` says how a NIfTI patient's files are named; the rest are the study's own sections.
    """

    nifti: NiftiSettings
    index: IndexSettings
    convert: ConvertSettings
    suv: SuvSettings
    contours: ContourSettings
    registration: RegistrationSettings
    crop: CropSettings
    radiomics: RadiomicsSettings


class CovariateRange(Finite):
    """Between which values patients like the development patients lie (see `plausible_range.py`)."""

    low: float
    high: float
    patients: int = Field(ge=1)

    @model_validator(mode="after")
    def _rises(self) -> CovariateRange:
        if self.high < self.low:
            raise ValueError("high must not be below low")
        return self


class CohortFacts(Finite):
    """The development patients in numbers that identify nobody.

    Attributes:
        covariates: Range by covariate (see `covariate_shift.py`).
        scanners: Manufacturer and model of the PET scanners.
        levels: Levels by clinical column of text.
        risk_percentiles: Risk of test patients (Z) at 0, 5, … 100 %; empty where nothing predicts survival.
        patients: Number of patients.
        events: Number of them with an event; None in a study without outcomes.
    """

    covariates: dict[str, CovariateRange]
    scanners: Names
    levels: dict[str, tuple[str, ...]]
    risk_percentiles: tuple[float, ...]
    patients: int = Field(ge=1)
    events: int | None = Field(ge=0)

    @model_validator(mode="after")
    def _counts_and_percentiles(self) -> CohortFacts:
        if self.events is not None and self.events > self.patients:
            raise ValueError("events must not be more than patients")
        if any(known.patients > self.patients for known in self.covariates.values()):
            raise ValueError("a covariate must not have more patients than there are")
        if self.risk_percentiles and len(self.risk_percentiles) != len(PERCENTILES):
            raise ValueError(f"risk_percentiles must be {len(PERCENTILES)} values, or none")
        require_ascending(self.risk_percentiles, "risk_percentiles", equal_allowed=True)
        for name, levels in self.levels.items():
            require_sorted_levels(levels, name)
        return self


class StudyFacts(Section):
    """The study that a bundle was made from; `time_unit` is its unit of survival times."""

    name: str = Field(min_length=1)
    title: str
    note: str
    endpoint_name: str
    time_unit: TimeUnit


class Software(Section):
    """What made the bundle: version, digest of the code that predicts, versions of libraries."""

    version: str = Field(min_length=1)
    code: str = Field(pattern=r"^[0-9a-f]{16}$")
    libraries: dict[str, str]


class FileFacts(Section):
    """A file of the bundle: its size in bytes, and its SHA-256."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def require_file_name(name: str) -> str:
    """Refuse a name that is not one of a file within the bundle's folder.

    Raises:
        ValueError: It is absolute, holds `..` or `.`, or a character beside letters, digits, `_`, `.` and `-`;
            or it is that of the manifest or the identity.
    """
    parts = name.split("/")
    if len(name) > LONGEST_NAME or any(not FILE_PART.fullmatch(p) or p in (".", "..") for p in parts):
        raise ValueError(f"a file's name must lead nowhere out of the bundle, got {name[:80]!r}")
    if name in (MANIFEST, IDENTITY):
        raise ValueError(f"{name} must not be among the files")
    return name


class Manifest(Finite):
    """`manifest.json` of a bundle.

    Attributes:
        format: Version of the format.
        software: What made the bundle.
        study: The study it was made from.
        model: The model or ensemble that is packed.
        source: What a patient's images are.
        stages: Settings of the per-patient stages.
        members: Models that are averaged, by name.
        channels: Channels of the crop, in order.
        shape: Shape of the crop without its margin (z, y, x).
        spacing_mm: Voxel size of the crop (z, y, x).
        clinical: Clinical columns that must be given.
        needs_contour: Why a contour must be given; empty: none is needed.
        uses_radiomics: Whether a member reads features.
        horizons_days: Times of survival probabilities, ascending.
        risk_cuts: Cuts of the risk groups, ascending, means over folds; empty where nothing
            predicts survival.
        threshold: Tumour probability from which a voxel belongs to the mask.
        cohort: The development patients.
        privacy: What the bundle holds of patients.
        files: Size and SHA-256 of every file but this one and `ID`, by path within the bundle.
    """

    format: Literal[5]
    software: Software
    study: StudyFacts
    model: str = Field(min_length=1)
    source: Literal["dicom", "nifti"]
    stages: StageSettings
    members: dict[str, Member] = Field(min_length=1)
    channels: Channels
    shape: Shape
    spacing_mm: Spacing
    clinical: Names
    needs_contour: str
    uses_radiomics: bool
    horizons_days: tuple[Annotated[float, Field(gt=0)], ...]
    risk_cuts: tuple[float, ...]
    threshold: float = Field(gt=0, lt=1)
    cohort: CohortFacts
    privacy: tuple[str, ...]
    files: dict[Annotated[str, AfterValidator(require_file_name)], FileFacts]

    @model_validator(mode="after")
    def _numbers_fit(self) -> Manifest:
        require_ascending(self.horizons_days, "horizons_days")
        require_ascending(self.risk_cuts, "risk_cuts")
        survival = any(member.predicts_survival() for member in self.members.values())
        if survival != bool(self.risk_cuts) or survival != bool(self.cohort.risk_percentiles):
            raise ValueError("risk_cuts and risk_percentiles must be there where a member predicts survival")
        if len({len(member.folds) for member in self.members.values()}) != 1:
            raise ValueError("every member must have the same number of folds")
        return self

    @model_validator(mode="after")
    def _columns_fit(self) -> Manifest:
        encoders = [encoder for member in self.members.values() for encoder in member.encoders()]
        if {name for encoder in encoders for name in encoder.order} != set(self.clinical):
            raise ValueError("clinical must be the columns that the members encode")
        numbers = {name for encoder in encoders for name in encoder.numbers}
        texts = {name for encoder in encoders for name in encoder.levels}
        if numbers & texts or set(self.cohort.levels) != texts:
            raise ValueError("a clinical column must be a number or a text with levels in all folds")
        return self

    @model_validator(mode="after")
    def _images_fit(self) -> Manifest:
        crop = (self.channels, self.shape, self.spacing_mm)
        if (self.stages.crop.shape, self.stages.crop.spacing_mm) != crop[1:]:
            raise ValueError("shape and spacing_mm must be those of stages.crop")
        for member in self.networks().values():
            for fold in member.folds:
                about = fold.description
                if (about.channels, about.shape, about.spacing_mm) != crop:
                    raise ValueError("a network must take the channels, shape and spacing_mm of the crop")
        if self.stages.crop.channels != self.channels:
            raise ValueError("channels must be those of stages.crop")
        return self

    @model_validator(mode="after")
    def _files_fit(self) -> Manifest:
        weights = [fold.weights for member in self.networks().values() for fold in member.folds]
        needed = {MODEL_CARD, *weights} | ({FEATURE_SET} if self.uses_radiomics else set())
        if self.stages.registration.method == "template":
            needed |= {f"{TEMPLATE}/template.json", f"{TEMPLATE}/template.nii.gz"}
        if missing := sorted(needed - set(self.files)):
            raise ValueError(f"files must name {missing[0]}")
        if len(set(weights)) != len(weights):
            raise ValueError("two folds must not share a file of weights")
        return self

    def networks(self) -> dict[str, NetworkMember]:
        """Members that are networks."""
        return {name: m for name, m in self.members.items() if isinstance(m, NetworkMember)}

    def linear_models(self) -> dict[str, LinearMember]:
        """Members that are linear."""
        return {name: m for name, m in self.members.items() if isinstance(m, LinearMember)}

    def survival_members(self) -> dict[str, Member]:
        """Members that predict survival, and so have a part in the risk."""
        return {name: member for name, member in self.members.items() if member.predicts_survival()}

    def logistic_models(self) -> dict[str, LogisticMember]:
        """Members that are logistic regressions of a class outcome."""
        return {name: m for name, m in self.members.items() if isinstance(m, LogisticMember)}

    def needs_box(self) -> bool:
        """Whether a new patient must bring the box that the crop is cut at."""
        return self.stages.crop.position == "box"

    def folds(self) -> int:
        """How many folds every member has."""
        return len(next(iter(self.members.values())).folds)

    def number_columns(self) -> set[str]:
        """Clinical columns that are numbers; the others are text."""
        encoders = [encoder for member in self.members.values() for encoder in member.encoders()]
        return {name for encoder in encoders for name in encoder.numbers}
