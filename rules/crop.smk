if study.from_scanner:

    rule crop:
        input:
            convert=paths.stage("convert"),
            suv=paths.stage("suv"),
            contours=paths.stage("contours"),
            registration=paths.stage("registration"),
            position=paths.position_of(),
            boxes=paths.boxes(),
        output:
            directory(paths.crop()),
        log:
            paths.log("crop/{patient}"),
        benchmark:
            paths.benchmark("crop/{patient}")
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(4000, 30),
        params:
            **depends.on("crop"),
            files=named_files(paths.boxes()),
            mask_from=settings.contours.crop_mask,
        message:
            "Crop {wildcards.patient}: one interpolation onto the study's grid"
        script:
            "../workflow_scripts/crop.py"

elif settings.cohort.source == "slices":

    rule ingest:
        input:
            images=lambda wildcards: paths.images_of(wildcards.patient),
            mask=lambda wildcards: paths.slice_mask(wildcards.patient),
        output:
            directory(paths.crop()),
        log:
            paths.log("ingest/{patient}"),
        benchmark:
            paths.benchmark("ingest/{patient}")
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(1000, 10),
        params:
            **depends.on("ingest"),
            folder=lambda wildcards: paths.image_folder(wildcards.patient),
            images=lambda wildcards: paths.files_of(wildcards.patient),
            files=lambda wildcards: named_files(paths.slice_mask(wildcards.patient)),
            absent=paths.absent,
            shape=settings.crop.shape,
            spacing_mm=settings.crop.spacing_mm,
            classes=settings.contours.class_values(),
            roi=lambda wildcards: cohort[wildcards.patient].roi,
        message:
            "Ingest {wildcards.patient}: image and mask into the store"
        script:
            "../workflow_scripts/ingest.py"

elif settings.chest_slices is not None:

    rule chest_slices:
        output:
            [directory(path) for path in paths.crops()],
        log:
            paths.log("chest_slices"),
        benchmark:
            paths.benchmark("chest_slices")
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(1000, 30),
        params:
            **depends.on("chest_slices"),
            patients=cohort.ids(),
            classes=list(settings.contours.class_values()),
        message:
            "Chest slices: generated images and masks, into the store"
        script:
            "../workflow_scripts/chest_slices.py"

else:

    # One job for all: starting a process per image takes ten times as long as making it.
    rule disks:
        output:
            [directory(path) for path in paths.crops()],
        log:
            paths.log("disks"),
        benchmark:
            paths.benchmark("disks")
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(1000, 30),
        params:
            **depends.on("disks"),
            patients=[(p.patient_id, p.time_days) for p in cohort.patients],
        message:
            "Disks: noisy images, into the store"
        script:
            "../workflow_scripts/disks.py"
