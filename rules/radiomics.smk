rule radiomics_patient:
    input:
        stages=paths.native_stages(),
        crops=paths.crops_of_features(),
        feature_set=paths.feature_set(),
    output:
        paths.radiomics(),
    log:
        paths.log("radiomics_patient/{patient}"),
    benchmark:
        paths.benchmark("radiomics_patient/{patient}")
    conda:
        "../envs/radiomics.yaml"
    threads: settings.threads.radiomics
    resources:
        **stage_resources(3000, 60),
    params:
        **depends.on("radiomics_patient"),
        files=named_files(paths.feature_set()),
        contour="manual",
    message:
        "Radiomics {wildcards.patient}: features inside the contour"
    script:
        "../workflow_scripts/radiomics_patient.py"


use rule radiomics_patient as radiomics_region with:
    output:
        paths.radiomics(region="{region}"),
    log:
        paths.log("radiomics_region/{region}_{patient}"),
    benchmark:
        paths.benchmark("radiomics_region/{region}_{patient}")
    params:
        settings=lambda wildcards: depends.settings_of_region(wildcards.region),
        contour=lambda wildcards: wildcards.region,
    message:
        "Radiomics {wildcards.patient}: features of the region {wildcards.region}"


rule radiomics_table:
    input:
        patients=paths.features_of_patients(),
    output:
        paths.feature_table(),
    log:
        paths.log("radiomics_table"),
    benchmark:
        paths.benchmark("radiomics_table")
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        **depends.on("radiomics_table"),
    message:
        "Radiomics: one table of all patients"
    script:
        "../workflow_scripts/radiomics_table.py"


use rule radiomics_table as radiomics_region_table with:
    input:
        patients=lambda wildcards: paths.features_of_patients(wildcards.region),
    output:
        paths.feature_table("{region}"),
    log:
        paths.log("radiomics_region_table/{region}"),
    benchmark:
        paths.benchmark("radiomics_region_table/{region}")
    message:
        "Radiomics: one table of all patients, region {wildcards.region}"


rule radiomics_predicted:
    input:
        network=paths.fold("{network}"),
        crops=paths.crops(),
        stages=[paths.native_stages(patient) for patient in cohort.ids()],
        splits=paths.splits,
        feature_set=paths.feature_set(),
    output:
        paths.predicted_features(),
    log:
        paths.log("radiomics_predicted/{network}_{fold}"),
    benchmark:
        paths.benchmark("radiomics_predicted/{network}_{fold}")
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(3000, 120),
    params:
        **depends.on("radiomics_predicted"),
        files=named_files(paths.feature_set()),
        results=lambda wildcards: paths.results,
    message:
        "Radiomics: contours of {wildcards.network}, patients that fold {wildcards.fold} was not trained on"
    script:
        "../workflow_scripts/radiomics_predicted.py"


rule stability_patient:
    input:
        stages=paths.native_stages(),
        crops=paths.crops_of_features(),
        feature_set=paths.feature_set(),
    output:
        paths.perturbed_features(),
    log:
        paths.log("stability_patient/{patient}"),
    benchmark:
        paths.benchmark("stability_patient/{patient}")
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(3000, 120),
    params:
        **depends.on("stability_patient"),
        files=named_files(paths.feature_set()),
    message:
        "Stability {wildcards.patient}: features under perturbed contours"
    script:
        "../workflow_scripts/stability_patient.py"


rule stability:
    input:
        patients=[paths.perturbed_features(patient) for patient in cohort.ids()],
    output:
        values=paths.stability,
        summary=paths.stability_summary,
    log:
        paths.log("stability"),
    benchmark:
        paths.benchmark("stability")
    conda:
        "../envs/radiomics.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        **depends.on("stability"),
        development=cohort.ids("development"),
    message:
        "Stability: agreement of features over perturbed contours"
    script:
        "../workflow_scripts/stability.py"


rule radiomics:
    input:
        paths.feature_table(),
        paths.radiomics_tables(),
        paths.stability if study.uses_stability else [],
