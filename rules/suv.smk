rule suv:
    input:
        convert=paths.stage("convert"),
    output:
        directory(paths.stage("suv")),
    log:
        paths.log("suv/{patient}"),
    benchmark:
        paths.benchmark("suv/{patient}")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 15),
    params:
        **depends.on("suv"),
        needed="pet" in settings.crop.channels,
    message:
        "SUV {wildcards.patient}: stored PET values to g/mL"
    script:
        "../workflow_scripts/suv.py"
