from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.radiomics.radiomics_predicted import FoldContours, radiomics_predicted
from pipeline.settings.radiomics import RadiomicsSettings

with job(snakemake):
    source = FoldContours(
        network=snakemake.wildcards.network,
        fold=int(snakemake.wildcards.fold),
        folder=Path(snakemake.input.network),
        results=Path(snakemake.params.results),
        splits=Path(snakemake.input.splits),
    )
    settings = RadiomicsSettings.model_validate(
        {**snakemake.params.settings, "feature_set": snakemake.input.feature_set}
    )
    radiomics_predicted(source, Path(snakemake.output[0]), settings, on_bad_patient())
