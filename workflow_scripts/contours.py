from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.files import images_as_indexed

with job(snakemake), images_as_indexed(Path(snakemake.params.folder), snakemake.params.images):
    sources = ContourSources(
        patient_id=snakemake.wildcards.patient,
        index=Path(snakemake.input.index) if snakemake.input.index else None,
        convert=Path(snakemake.input.convert),
        suv=Path(snakemake.input.suv),
        roi=snakemake.params.roi,
        folder=Path(snakemake.params.folder),
    )
    settings = ContourSettings.model_validate(snakemake.params.settings)
    contours_patient(sources, Path(snakemake.output[0]), settings, on_bad_patient())
