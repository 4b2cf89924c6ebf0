"""What the results were made from: settings, code, seed, versions."""

from __future__ import annotations

import hashlib
import json

import pipeline
from pipeline.provenance import code_digest, module_path, versions
from pipeline.report.job import ReportJob
from pipeline.settings.root import Settings

LIBRARIES = (
    "numpy", "pandas", "matplotlib", "torch", "snakemake", "antspyx", "pyradiomics", "pydicom", "SimpleITK",
    "zarr", "scikit-survival", "lifelines",
)  # fmt: skip
STAGES = (
    "pipeline.dicom.series.index", "pipeline.dicom.volume.convert", "pipeline.dicom.volume.convert_nifti",
    "pipeline.dicom.pet.suv",
    "pipeline.dicom.contours.contours", "pipeline.registration.template", "pipeline.registration.register",
    "pipeline.crops.crop_position", "pipeline.crops.crop", "pipeline.crops.ingest",
    "pipeline.radiomics.radiomics_patient",
    "pipeline.planning.plan", "pipeline.training.train_fold", "pipeline.survival.survival",
    "pipeline.ensemble.ensemble",
    "pipeline.metrics.evaluate", "pipeline.report.report",
)  # fmt: skip
"""Modules whose functions the rules call."""


def settings_hash(settings: Settings) -> str:
    """First 16 hexadecimal digits of the SHA-256 of all settings as sorted JSON."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def provenance(job: ReportJob) -> list[tuple[str, str]]:
    """(what, value) pairs; two reports that agree in them were made from the same study and code."""
    installed = ", ".join(f"{name} {version}" for name, version in versions(*LIBRARIES).items())
    return [
        ("SUVival", pipeline.__version__),
        ("Seed", str(job.settings.study.seed)),
        ("Settings", settings_hash(job.settings)),
        ("Code of all stages", code_digest(*(name for name in STAGES if module_path(name)))),
        ("Installed where the report was made", installed),
    ]
