from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.crops.crop import CropSources, crop_patient
from pipeline.settings.geometry import CropSettings

with job(snakemake):
    stages = {name: Path(snakemake.input[name]) for name in ("convert", "suv", "contours", "registration")}
    position = Path(snakemake.input.position) if snakemake.input.position else None
    sources = CropSources(patient_id=snakemake.wildcards.patient, position=position, **stages)
    settings = CropSettings.model_validate(snakemake.params.settings)
    crop_patient(sources, Path(snakemake.output[0]), settings, on_bad_patient(), snakemake.params.mask_from)
