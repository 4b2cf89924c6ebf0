# Decisions for the whole cohort, made once from pinned development patients. Their files
# are `ancient`: one patient's new data must not move every other patient's crop. Code and
# settings that would change the files of all patients are named under `upstream`.
POSITION_FROM = paths.position_candidates()


rule template:
    input:
        candidates=ancient(paths.template_candidates()),
        named=paths.named_template(),
    output:
        directory(paths.template),
    log:
        paths.log("template"),
    benchmark:
        paths.benchmark("template")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        **depends.on("template"),
        seed=settings.study.seed,
        pin=paths.template_pin,
        upstream=lambda wildcards: depends.upstream("template"),
    message:
        "Template: chosen by seed, blind to outcome"
    script:
        "../workflow_scripts/template.py"


rule crop_position:
    input:
        contours=ancient(
            [paths.stage("contours", patient) for patient in POSITION_FROM]
        ),
        registrations=ancient(
            [paths.stage("registration", patient) for patient in POSITION_FROM]
        ),
        template=paths.template_of(),
    output:
        paths.crop_position,
    log:
        paths.log("crop_position"),
    benchmark:
        paths.benchmark("crop_position")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 30),
    params:
        **depends.on("crop_position"),
        pin=paths.position_pin,
        mask_from=settings.contours.crop_mask,
        upstream=lambda wildcards: depends.upstream("crop_position"),
    message:
        "Crop position: from development lesions"
    script:
        "../workflow_scripts/crop_position.py"
