rule contours:
    input:
        index=f"{R}/index/{{patient}}" if SOURCE == "dicom" else [],
        convert=f"{R}/convert/{{patient}}",
        suv=f"{R}/suv/{{patient}}",
        masks=masks_of,
    output:
        directory(f"{R}/contours/{{patient}}"),
    log:
        f"{R}/logs/contours/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/contours/{{patient}}.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        folder=lambda wildcards: image_folder(wildcards.patient),
        roi=lambda wildcards: cohort[wildcards.patient].roi,
        settings=section("contours"),
        policy=POLICY,
        code=code_digest("pipeline.dicom.contours.contours"),
    message:
        "Contours {wildcards.patient}: regions of interest to masks"
    script:
        "../workflow_scripts/contours.py"
