"""A synthetic manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.deploy.bundle_files import SNAKEMAKE_TIMESTAMP, files_in, write_manifest
from pipeline.deploy.manifest import (
    FEATURE_SET,
    FORMAT,
    MODEL_CARD,
    TEMPLATE,
    CohortFacts,
    CovariateRange,
    FileFacts,
    Manifest,
    Software,
    StageSettings,
    StudyFacts,
)
from pipeline.deploy.manifest_members import (
    BaselineHazard,
    LinearFold,
    LinearMember,
    NetworkDescription,
    NetworkFold,
    NetworkMember,
    ScaledFeature,
    ZScale,
)
from pipeline.settings.cohort import NiftiSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder

SHAPE, SPACING = (16, 24, 32), (2.0, 2.0, 2.0)
CODE = "0123456789abcdef"
IDENTITY = "fedcba9876543210" * 4
FILES = (
    FEATURE_SET,
    MODEL_CARD,
    f"{TEMPLATE}/template.json",
    f"{TEMPLATE}/template.nii.gz",
    "weights/net_fold0.safetensors",
    "weights/net_fold1.safetensors",
)
HOSTILE = '<script>alert("taken")</script> & {{ 7 * 7 }}'
CLINICAL = ClinicalEncoder(
    numbers={"clinical_age": (60.0, 61.0, 10.0)},
    levels={"clinical_stage": ("III", "IV")},
    order=("clinical_age", "clinical_stage"),
)


def make_fold(mean: float = 0.0, sd: float = 1.0) -> LinearFold:
    """Risk = 0.5·(age − 61)/10 + 1·[stage III] + 2·(volume − 4)/2."""
    return LinearFold(
        coefficients={
            "clinical_age": 0.5,
            "clinical_stage=III": 1.0,
            "clinical_stage=IV": 0.0,
            "pet_index_volume_ml": 2.0,
        },
        features=(ScaledFeature(name="pet_index_volume_ml", median=5.0, mean=4.0, sd=2.0),),
        clinical=CLINICAL,
        scale=ZScale(mean=mean, sd=sd),
        hazard=BaselineHazard(
            times_days=(100.0, 300.0), cumulative_hazard=(0.1, 0.4), centre=0.0, last_days=800.0
        ),
    )


def make_stage_settings(crop: CropSettings | None = None) -> StageSettings:
    """The sections' defaults, but for the crop."""
    return StageSettings(
        nifti=NiftiSettings(),
        index=IndexSettings(),
        convert=ConvertSettings(),
        suv=SuvSettings(),
        contours=ContourSettings(),
        registration=RegistrationSettings(),
        crop=crop or CropSettings(),
        radiomics=RadiomicsSettings(),
    )


def make_network(kind: str = "seg_backbone", *, survival: bool = False) -> NetworkMember:
    """Two folds of a network on the crop of :func:`make_manifest`."""
    scale = ZScale(mean=0.5, sd=1.5) if survival else None
    folds = tuple(
        NetworkFold(
            weights=f"weights/net_fold{number}.safetensors",
            description=NetworkDescription(
                network={"kind": kind},
                training=TrainingSettings(),
                channels=("pet", "ct"),
                shape=SHAPE,
                spacing_mm=SPACING,
                margin=2,
                clinical=ClinicalEncoder({}, {}, ()),
                selection={"iteration": 10},
            ),
            precision="fp32",
            scale=scale,
            hazard=make_fold().hazard if survival else None,
        )
        for number in (0, 1)
    )
    return NetworkMember(kind=kind, folds=folds)


def make_manifest(**changes: Any) -> Manifest:
    """Two folds of one linear member; further fields by name."""
    shape, spacing = changes.get("shape", SHAPE), changes.get("spacing_mm", SPACING)
    values: dict[str, Any] = {
        "format": FORMAT,
        "software": Software(version="0", code=CODE, libraries={}),
        "study": StudyFacts(
            name="synthetic", title=HOSTILE, note=HOSTILE, endpoint_name=HOSTILE, time_unit="days"
        ),
        "model": "linear",
        "source": "dicom",
        "stages": make_stage_settings(CropSettings(shape=shape, spacing_mm=spacing)),
        "members": {"linear": LinearMember(kind="feature", folds=(make_fold(), make_fold(1.0, 2.0)))},
        "channels": ("pet", "ct"),
        "shape": shape,
        "spacing_mm": spacing,
        "clinical": ("clinical_age", "clinical_stage"),
        "needs_contour": "",
        "uses_radiomics": True,
        "horizons_days": (365.25, 1000.0),
        "risk_cuts": (0.0,),
        "threshold": 0.5,
        "cohort": CohortFacts(
            covariates={"suvmax": CovariateRange(low=5.0, high=20.0, patients=40)},
            scanners=("Maker One",),
            levels={"clinical_stage": ("II", "III", "IV")},
            risk_percentiles=tuple(-2.0 + 0.2 * i for i in range(21)),
            patients=40,
            events=20,
        ),
        "privacy": ("template.nii.gz is a patient's image",),
        "files": {name: FileFacts(size=1, sha256="0" * 64) for name in FILES},
    }
    return Manifest(**{**values, **changes})


def write_bundle_folder(folder: Path) -> Path:
    """A bundle of a linear model and a network that predicts survival, as the workflow leaves it."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content of {name}".encode())
    linear = make_manifest().members["linear"]
    members = {"linear": linear, "network": make_network("deepmts", survival=True)}
    write_manifest(folder, make_manifest(members=members, files=files_in(folder)))
    (folder / SNAKEMAKE_TIMESTAMP).touch()
    return folder
