# Decisions for the whole cohort, made once from pinned development patients. Their files
# are `ancient`: one patient's new data must not move every other patient's crop. Code and
# settings that would change the files of all patients are named under `upstream`.
CONVERTED_BY = (
    [NIFTI, code_digest("pipeline.dicom.volume.convert_nifti")]
    if SOURCE == "nifti"
    else [
        section("index"),
        section("convert"),
        code_digest("pipeline.dicom.series.index", "pipeline.dicom.volume.convert"),
    ]
    + (
        [section("phantom"), code_digest("pipeline.phantoms.phantom")]
        if IS_PHANTOM
        else []
    )
)
TEMPLATE_PIN = f"{R}/pins/template.json"
POSITION_PIN = f"{R}/pins/crop_position.json"
TEMPLATE_FROM = pinned_patients(Path(TEMPLATE_PIN), cohort.ids("development"))
POSITION_FROM = pinned_patients(Path(POSITION_PIN), cohort.ids("development"))


rule template:
    input:
        candidates=ancient(of_patients("convert", TEMPLATE_FROM)),
        named=named_files([settings.registration.template]),
    output:
        directory(f"{R}/template"),
    log:
        f"{R}/logs/template.log",
    benchmark:
        f"{R}/benchmarks/template.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        settings=section("registration"),
        seed=settings.study.seed,
        pin=TEMPLATE_PIN,
        upstream=CONVERTED_BY,
        code=code_digest("pipeline.registration.template"),
    message:
        "Template: chosen by seed, blind to outcome"
    script:
        "../workflow_scripts/template.py"


rule crop_position:
    input:
        contours=ancient(of_patients("contours", POSITION_FROM)),
        registrations=ancient(of_patients("registration", POSITION_FROM)),
        template=f"{R}/template" if settings.registration.method == "template" else [],
    output:
        f"{R}/crop_position.json",
    log:
        f"{R}/logs/crop_position.log",
    benchmark:
        f"{R}/benchmarks/crop_position.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 30),
    params:
        settings=section("crop"),
        pin=POSITION_PIN,
        mask_from=settings.contours.crop_mask,
        upstream=[
            section("suv"),
            section("contours"),
            section("registration"),
            CONVERTED_BY,
            code_digest(
                "pipeline.dicom.pet.suv",
                "pipeline.dicom.contours.contours",
                "pipeline.registration.register",
            ),
        ],
        code=code_digest("pipeline.crops.crop_position"),
    message:
        "Crop position: from development lesions"
    script:
        "../workflow_scripts/crop_position.py"
