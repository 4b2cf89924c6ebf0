"""What the results were made from: settings, code, seed, versions."""

from __future__ import annotations

import hashlib
import json

import pipeline
from pipeline.provenance import versions
from pipeline.report.job import ReportJob
from pipeline.settings.root import Settings

LIBRARIES = (
    "numpy", "pandas", "matplotlib", "torch", "snakemake", "antspyx", "pyradiomics", "pydicom", "SimpleITK",
    "zarr", "scikit-survival", "lifelines",
)  # fmt: skip


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
        ("Code of all stages", job.code),
        ("Installed where the report was made", installed),
    ]
