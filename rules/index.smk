rule index:
    input:
        images=lambda wildcards: paths.images_of(wildcards.patient),
    output:
        directory(paths.stage("index")),
    log:
        paths.log("index/{patient}"),
    benchmark:
        paths.benchmark("index/{patient}")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 30),
    params:
        **depends.on("index"),
        folder=lambda wildcards: paths.image_folder(wildcards.patient),
        images=lambda wildcards: paths.files_of(wildcards.patient),
        absent=paths.absent,
    message:
        "Index {wildcards.patient}: which series is the PET, which the CT"
    script:
        "../workflow_scripts/index.py"
