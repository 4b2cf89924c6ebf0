FEATURE_SET = feature_set_path(settings.radiomics.feature_set)
NATIVE = settings.radiomics.images == "native"
# Features come from the crop, or from the folders of the native volumes.
IMAGES = (
    [f"{R}/{stage}/{{patient}}" for stage in ("convert", "suv", "contours")]
    if NATIVE
    else [f"{R}/crops/{{patient}}.zarr"]
)


rule radiomics_patient:
    input:
        images=IMAGES,
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
        contour=region_of,
        settings=values_section(),
        policy=POLICY,
        code=code_digest("pipeline.radiomics.radiomics_patient"),
    message:
        "Radiomics {wildcards.patient}: features inside the contour"
    script:
        "../workflow_scripts/radiomics_patient.py"


use rule radiomics_patient as radiomics_region with:
    output:
        f"{R}/radiomics/{{region}}/{{patient}}.parquet",
    log:
        f"{R}/logs/radiomics_region/{{region}}_{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/radiomics_region/{{region}}_{{patient}}.tsv"
    message:
        "Radiomics {wildcards.patient}: features of the region {wildcards.region}"


rule radiomics_table:
    input:
        patients=patients_of_table,
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
        code=code_digest("pipeline.radiomics.radiomics_table"),
    message:
        "Radiomics: one table of all patients"
    script:
        "../workflow_scripts/radiomics_table.py"


use rule radiomics_table as radiomics_region_table with:
    output:
        f"{R}/radiomics/features_{{region}}.parquet",
    log:
        f"{R}/logs/radiomics_{{region}}.log",
    benchmark:
        f"{R}/benchmarks/radiomics_{{region}}.tsv"
    message:
        "Radiomics: one table of all patients, region {wildcards.region}"


rule radiomics_predicted:
    input:
        network=f"{R}/models/{{network}}/fold{{fold}}",
        crops=crops_of(cohort.ids()),
        splits=f"{R}/splits.json",
        feature_set=FEATURE_SET,
    output:
        f"{R}/radiomics/predicted/{{network}}/fold{{fold}}.parquet",
    log:
        f"{R}/logs/radiomics_predicted/{{network}}_{{fold}}.log",
    benchmark:
        f"{R}/benchmarks/radiomics_predicted/{{network}}_{{fold}}.tsv"
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(3000, 120),
    params:
        settings=values_section(),
        policy=POLICY,
        code=code_digest("pipeline.radiomics.radiomics_predicted"),
    message:
        "Radiomics: contours of {wildcards.network}, patients that fold {wildcards.fold} did not see"
    script:
        "../workflow_scripts/radiomics_predicted.py"


rule stability_patient:
    input:
        images=IMAGES,
        feature_set=FEATURE_SET,
    output:
        f"{R}/radiomics/stability/{{patient}}.parquet",
    log:
        f"{R}/logs/stability_patient/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/stability_patient/{{patient}}.tsv"
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(3000, 120),
    params:
        settings=values_section("perturb_mm"),
        policy=POLICY,
        code=code_digest("pipeline.radiomics.stability_patient"),
    message:
        "Stability {wildcards.patient}: features under perturbed contours"
    script:
        "../workflow_scripts/stability_patient.py"


rule stability:
    input:
        patients=of_patients("radiomics/stability", cohort.ids(), ".parquet"),
    output:
        values=f"{R}/radiomics/stability.parquet",
        summary=f"{R}/radiomics/stability.csv",
    log:
        f"{R}/logs/stability.log",
    benchmark:
        f"{R}/benchmarks/stability.tsv"
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        development=cohort.ids("development"),
        code=code_digest("pipeline.metrics.stability"),
    message:
        "Stability: agreement of features over perturbed contours"
    script:
        "../workflow_scripts/stability.py"


rule radiomics:
    input:
        f"{R}/radiomics/features.parquet",
        [f"{R}/radiomics/features_{region}.parquet" for region in REGIONS],
        f"{R}/radiomics/stability.parquet" if STABILITY else [],
