"""A synthetic manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.deploy.bundle_files import SNAKEMAKE_TIMESTAMP, write_manifest
from pipeline.deploy.manifest import (
    FORMAT,
    BaselineHazard,
    CohortFacts,
    LinearFold,
    LinearMember,
    Manifest,
    PercentileRange,
    ScaledFeature,
    Software,
    StageSettings,
    StudyFacts,
    ZScale,
)
from pipeline.provenance import file_sha256
from pipeline.settings.cohort import NiftiSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.tables.clinical import ClinicalEncoder

HOSTILE = '<script>alert("taken")</script> & {{ 7 * 7 }}'
CLINICAL = ClinicalEncoder(
    numbers={"clinical_age": (60.0, 61.0, 10.0)},
    levels={"clinical_stage": ("III", "IV")},
    order=("clinical_age", "clinical_stage"),
)


def make_fold(mean: float = 0.0, sd: float = 1.0) -> LinearFold:
    """Risk = 0.5·(age − 61)/10 + 1·[stage III] + 2·(volume − 4)/2."""
    return LinearFold(
        coefficients={"clinical_age": 0.5, "clinical_stage=III": 1.0, "pet_index_volume_ml": 2.0},
        features=(ScaledFeature(name="pet_index_volume_ml", median=5.0, mean=4.0, sd=2.0),),
        clinical=CLINICAL,
        scale=ZScale(mean=mean, sd=sd),
        hazard=BaselineHazard(
            times_days=(100.0, 300.0), cumulative_hazard=(0.1, 0.4), centre=0.0, last_days=800.0
        ),
    )


def make_stage_settings() -> StageSettings:
    """The sections' defaults."""
    return StageSettings(
        nifti=NiftiSettings(),
        index=IndexSettings(),
        convert=ConvertSettings(),
        suv=SuvSettings(),
        contours=ContourSettings(),
        registration=RegistrationSettings(),
        crop=CropSettings(),
        radiomics=RadiomicsSettings(),
    )


def make_manifest(**changes: Any) -> Manifest:
    """Two folds of one linear member; further fields by name."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "software": Software(version="0", code="abc", libraries={}),
        "study": StudyFacts(name="synthetic", title=HOSTILE, note=HOSTILE, endpoint_name=HOSTILE),
        "model": "linear",
        "source": "dicom",
        "stages": make_stage_settings(),
        "members": {"linear": LinearMember(kind="feature", folds=(make_fold(), make_fold(1.0, 2.0)))},
        "channels": ("pet", "ct"),
        "shape": (4, 6, 8),
        "spacing_mm": (2.0, 2.0, 2.0),
        "clinical": ("clinical_age", "clinical_stage"),
        "needs_contour": "",
        "uses_radiomics": True,
        "horizons_days": (365.25, 1000.0),
        "risk_cuts": (0.0,),
        "threshold": 0.5,
        "cohort": CohortFacts(
            covariates={"suvmax": PercentileRange(low=5.0, high=20.0, patients=40)},
            scanners=("Maker One",),
            levels={"clinical_stage": ("II", "III", "IV")},
            risk_percentiles=tuple(-2.0 + 0.2 * i for i in range(21)),
            patients=40,
            events=20,
        ),
        "privacy": ("template.nii.gz is a patient's image",),
        "files": {},
    }
    return Manifest(**{**values, **changes})


def write_bundle_folder(folder: Path) -> Path:
    """A bundle with a file of weights, as the workflow leaves it."""
    name = "weights/net.safetensors"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b"weights")
    write_manifest(folder, make_manifest(files={name: file_sha256(folder / name)}))
    (folder / SNAKEMAKE_TIMESTAMP).touch()
    return folder
