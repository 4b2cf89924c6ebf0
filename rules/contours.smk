rule contours:
    input:
        index=paths.stage("index") if settings.cohort.source == "dicom" else [],
        convert=paths.stage("convert"),
        suv=paths.stage("suv"),
        masks=lambda wildcards: paths.masks_of(wildcards.patient),
    output:
        directory(paths.stage("contours")),
    log:
        paths.log("contours/{patient}"),
    benchmark:
        paths.benchmark("contours/{patient}")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        **depends.on("contours"),
        files=lambda wildcards: named_files(paths.masks_of(wildcards.patient)),
        images=lambda wildcards: paths.files_of(wildcards.patient),
        folder=lambda wildcards: paths.image_folder(wildcards.patient),
        roi=lambda wildcards: cohort[wildcards.patient].roi,
    message:
        "Contours {wildcards.patient}: regions of interest to masks"
    script:
        "../workflow_scripts/contours.py"
