if FROM_SCANNER:

    rule crop:
        input:
            convert=f"{R}/convert/{{patient}}",
            suv=f"{R}/suv/{{patient}}",
            contours=f"{R}/contours/{{patient}}",
            registration=f"{R}/registration/{{patient}}",
            position=(
                f"{R}/crop_position.json" if settings.crop.position == "fixed" else []
            ),
            boxes=(
                named_files([settings.crop.boxes])
                if settings.crop.position == "box"
                else []
            ),
        output:
            directory(f"{R}/crops/{{patient}}.zarr"),
        log:
            f"{R}/logs/crop/{{patient}}.log",
        benchmark:
            f"{R}/benchmarks/crop/{{patient}}.tsv"
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(4000, 30),
        params:
            settings=section("crop"),
            mask_from=settings.contours.crop_mask,
            policy=POLICY,
            code=code_digest("pipeline.crops.crop"),
        message:
            "Crop {wildcards.patient}: one interpolation onto the study's grid"
        script:
            "../workflow_scripts/crop.py"

elif SOURCE == "slices":

    rule ingest:
        input:
            images=images_of,
        output:
            directory(f"{R}/crops/{{patient}}.zarr"),
        log:
            f"{R}/logs/ingest/{{patient}}.log",
        benchmark:
            f"{R}/benchmarks/ingest/{{patient}}.tsv"
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(1000, 10),
        params:
            folder=lambda wildcards: image_folder(wildcards.patient),
            files=files_of,
            spacing_mm=settings.crop.spacing_mm,
            roi=lambda wildcards: cohort[wildcards.patient].roi,
            policy=POLICY,
            code=code_digest("pipeline.crops.ingest"),
        message:
            "Ingest {wildcards.patient}: image and mask into the store"
        script:
            "../workflow_scripts/ingest.py"

else:

    # One job for all: starting a process per image takes ten times as long as making it.
    rule generate:
        output:
            [directory(path) for path in crops_of(cohort.ids())],
        log:
            f"{R}/logs/generate.log",
        benchmark:
            f"{R}/benchmarks/generate.tsv"
        conda:
            "../envs/imaging.yaml"
        threads: 1
        resources:
            **stage_resources(1000, 30),
        params:
            settings=section("disks"),
            patients=[(p.patient_id, p.time_days) for p in cohort.patients],
            code=code_digest("pipeline.phantoms.disks", "pipeline.crops.ingest"),
        message:
            "Generate: disks in noise, into the store"
        script:
            "../workflow_scripts/generate.py"
