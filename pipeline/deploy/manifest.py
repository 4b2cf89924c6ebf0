"""The manifest of a bundle: everything it says of itself, as typed values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.errors import PipelineError
from pipeline.settings.base import Section
from pipeline.settings.cohort import NiftiSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder

FORMAT = 4
"""2: a network that does not predict survival has neither Z-score nor hazard, and no part in a risk;
3: settings under their names of today, covariates; 4: the template's folder proves itself."""
TEMPLATE, FEATURE_SET = "template", "feature_set.yaml"


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


class ZScale(Section):
    """Frozen Z-score of a member in a fold: Z = (risk − mean) / sd; 0 where sd is 0."""

    mean: float
    sd: float


class BaselineHazard(Section):
    """Breslow's cumulative baseline hazard, of log-hazard = slope · risk."""

    times_days: tuple[float, ...]
    cumulative_hazard: tuple[float, ...]
    centre: float
    last_days: float
    slope: float = 1.0


class NetworkDescription(Section):
    """How a network is built and fed, from its checkpoint.

    Attributes:
        network: Settings of the network; only the class of its kind reads them.
        training: Settings it was trained with.
        channels: Channels of its images, in order.
        shape: Shape of its images (z, y, x).
        spacing_mm: Voxel size of its images (z, y, x).
        margin: Voxels stored beyond its images on each side.
        clinical: Encoder of the clinical columns.
        selection: Which iteration's weights these are.
    """

    network: dict[str, Any]
    training: TrainingSettings
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    margin: int
    clinical: ClinicalEncoder
    selection: dict[str, Any]


class NetworkFold(Section):
    """A network of one fold: its weights' file, and all that is needed to build and run it.

    Attributes:
        weights: File of the bundle.
        description: How the network is built and fed.
        precision: Numbers it was trained in.
        scale: Its Z-score; None of a network that does not predict survival.
        hazard: Its baseline hazard; None of a network that does not predict survival or has no need of one.
    """

    weights: str
    description: NetworkDescription
    precision: Literal["bf16", "fp32"]
    scale: ZScale | None = None
    hazard: BaselineHazard | None = None


class ScaledFeature(Section):
    """A feature of a linear model: it enters as (x − mean) / sd, a missing value as the median."""

    name: str
    median: float
    mean: float
    sd: float


class LinearFold(Section):
    """A linear risk of one fold, Σ β·(x − mean)/SD.

    Attributes:
        coefficients: β by column.
        features: Features with their scaling.
        clinical: Encoder of the clinical columns.
        scale: Its Z-score.
        hazard: Its baseline hazard.
    """

    coefficients: dict[str, float]
    features: tuple[ScaledFeature, ...]
    clinical: ClinicalEncoder
    scale: ZScale
    hazard: BaselineHazard


class NetworkMember(Section):
    """A network, fold by fold."""

    type: Literal["network"] = "network"
    kind: str
    folds: tuple[NetworkFold, ...]


class LinearMember(Section):
    """A linear classical model, fold by fold; with `log` its feature enters as its logarithm."""

    type: Literal["linear"] = "linear"
    kind: str
    log: bool = False
    folds: tuple[LinearFold, ...]


Member = Annotated[NetworkMember | LinearMember, Field(discriminator="type")]


class PercentileRange(Section):
    """The 1st and 99th percentile of a covariate among the development patients that have it."""

    low: float
    high: float
    patients: int


class CohortFacts(Section):
    """The development patients in numbers that identify nobody.

    Attributes:
        covariates: Range by covariate (see `covariate_shift.py`).
        scanners: Manufacturer and model of the PET scanners.
        levels: Levels by clinical column of text.
        risk_percentiles: Risk of test patients (Z) at 0, 5, … 100 %; empty where nothing predicts survival.
        patients: Number of patients.
        events: Number of them with an event; None in a study without outcomes.
    """

    covariates: dict[str, PercentileRange]
    scanners: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    risk_percentiles: tuple[float, ...]
    patients: int
    events: int | None


class StudyFacts(Section):
    """The study that a bundle was made from."""

    name: str
    title: str
    note: str
    endpoint_name: str


class Software(Section):
    """What made the bundle: version, digest of the code that predicts, versions of libraries."""

    version: str
    code: str
    libraries: dict[str, str]


class Manifest(Section):
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
        horizons_days: Times of survival probabilities.
        risk_cuts: Cuts of the risk groups, ascending, means over folds; empty where nothing
            predicts survival.
        threshold: Tumour probability from which a voxel belongs to the mask.
        cohort: The development patients.
        privacy: What the bundle holds of patients.
        files: SHA-256 of every file but this one, by path within the bundle.
    """

    format: Literal[4]
    software: Software
    study: StudyFacts
    model: str
    source: Literal["dicom", "nifti"]
    stages: StageSettings
    members: dict[str, Member]
    channels: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    clinical: tuple[str, ...]
    needs_contour: str
    uses_radiomics: bool
    horizons_days: tuple[float, ...]
    risk_cuts: tuple[float, ...]
    threshold: float
    cohort: CohortFacts
    privacy: tuple[str, ...]
    files: dict[str, str]

    def networks(self) -> dict[str, NetworkMember]:
        """Members that are networks."""
        return {name: m for name, m in self.members.items() if isinstance(m, NetworkMember)}

    def linear_models(self) -> dict[str, LinearMember]:
        """Members that are linear."""
        return {name: m for name, m in self.members.items() if isinstance(m, LinearMember)}

    def folds(self) -> int:
        """How many folds every member has."""
        return len(next(iter(self.members.values())).folds)

    def number_columns(self) -> set[str]:
        """Clinical columns that are numbers; the others are text."""
        encoders = [fold.description.clinical for m in self.networks().values() for fold in m.folds]
        encoders += [fold.clinical for m in self.linear_models().values() for fold in m.folds]
        return {name for encoder in encoders for name in encoder.numbers}
