FEATURE_SET = feature_set_path(settings.radiomics.feature_set)


rule radiomics_patient:
    input:
        crop=f"{R}/crops/{{patient}}.zarr",
        feature_set=FEATURE_SET,
    output:
        f"{R}/radiomics/{{patient}}.parquet",
    log:
        f"{R}/logs/radiomics_patient/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/radiomics_patient/{{patient}}.tsv"
    conda:
        "../envs/radiomics.yaml"
    threads: settings.threads.radiomics
    resources:
        **stage_resources(3000, 60),
    params:
        settings=section("radiomics"),
        policy=POLICY,
        code=code_digest("pipeline.radiomics.extract"),
    message:
        "Radiomics {wildcards.patient}: features inside the contour"
    script:
        "../workflow_scripts/radiomics_patient.py"


rule radiomics:
    input:
        patients=of_patients("radiomics", cohort.ids(), ".parquet"),
    output:
        f"{R}/radiomics/features.parquet",
    log:
        f"{R}/logs/radiomics.log",
    benchmark:
        f"{R}/benchmarks/radiomics.tsv"
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        code=code_digest("pipeline.radiomics.gather"),
    message:
        "Radiomics: one table of all patients"
    script:
        "../workflow_scripts/radiomics.py"
