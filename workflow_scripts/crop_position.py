from pathlib import Path

from pipeline.console import job
from pipeline.crops.crop_position import AlignedContours, crop_position
from pipeline.settings.geometry import CropSettings

with job(snakemake):
    pairs = zip(snakemake.input.contours, snakemake.input.registrations, strict=True)
    crop_position(
        [AlignedContours(Path(contours), Path(registration)) for contours, registration in pairs],
        Path(snakemake.output[0]),
        CropSettings.model_validate(snakemake.params.settings),
        frozen=Path(snakemake.params.frozen),
        mask_from=snakemake.params.mask_from,
    )
