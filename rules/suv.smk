rule suv:
    input:
        convert=f"{R}/convert/{{patient}}",
    output:
        directory(f"{R}/suv/{{patient}}"),
    log:
        f"{R}/logs/suv/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/suv/{{patient}}.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 15),
    params:
        settings=section("suv"),
        policy=POLICY,
        code=code_digest("pipeline.dicom.pet.suv"),
    message:
        "SUV {wildcards.patient}: stored PET values to g/mL"
    script:
        "../workflow_scripts/suv.py"
