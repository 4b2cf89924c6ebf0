rule index:
    input:
        images=images_of,
    output:
        directory(f"{R}/index/{{patient}}"),
    log:
        f"{R}/logs/index/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/index/{{patient}}.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 30),
    params:
        folder=lambda wildcards: image_folder(wildcards.patient),
        files=files_of,
        settings=section("index"),
        policy=POLICY,
        code=code_digest("pipeline.dicom.series.index"),
    message:
        "Index {wildcards.patient}: which series is the PET, which the CT"
    script:
        "../workflow_scripts/index.py"
