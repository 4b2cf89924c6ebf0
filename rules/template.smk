# Decisions for the whole cohort. The list of patients they are made from is frozen by the
# first run: who joins later takes no part. What these patients' files say is an ordinary
# input, so that a change of any of them reaches every crop in the same run.
POSITION_FROM = paths.position_candidates()


rule template:
    input:
        candidates=paths.template_candidates(),
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
        files=named_files(paths.named_template()),
        seed=settings.study.seed,
        frozen=paths.frozen("template"),
    message:
        "Template: chosen by seed, blind to outcome"
    script:
        "../workflow_scripts/template.py"


rule crop_position:
    input:
        contours=[paths.stage("contours", patient) for patient in POSITION_FROM],
        registrations=[
            paths.stage("registration", patient) for patient in POSITION_FROM
        ],
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
        frozen=paths.frozen("crop_position"),
        mask_from=settings.contours.crop_mask,
    message:
        "Crop position: from development lesions"
    script:
        "../workflow_scripts/crop_position.py"
