if settings.cohort.source == "nifti":

    rule convert_nifti:
        input:
            images=lambda wildcards: paths.images_of(wildcards.patient),
        output:
            directory(paths.stage("convert")),
        log:
            paths.log("convert_nifti/{patient}"),
        benchmark:
            paths.benchmark("convert_nifti/{patient}")
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(4000, 30),
        params:
            **depends.on("convert_nifti"),
            folder=lambda wildcards: paths.image_folder(wildcards.patient),
            images=lambda wildcards: paths.files_of(wildcards.patient),
            absent=paths.absent,
        message:
            "Convert {wildcards.patient}: NIfTI files to volumes"
        script:
            "../workflow_scripts/convert_nifti.py"

else:

    rule convert:
        input:
            index=paths.stage("index"),
        output:
            directory(paths.stage("convert")),
        log:
            paths.log("convert/{patient}"),
        benchmark:
            paths.benchmark("convert/{patient}")
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(4000, 30),
        params:
            **depends.on("convert"),
            folder=lambda wildcards: paths.image_folder(wildcards.patient),
            images=lambda wildcards: paths.files_of(wildcards.patient),
        message:
            "Convert {wildcards.patient}: slices to volumes"
        script:
            "../workflow_scripts/convert.py"
