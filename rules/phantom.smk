rule phantom:
    output:
        directory(paths.stage("phantom")),
    log:
        paths.log("phantom/{patient}"),
    benchmark:
        paths.benchmark("phantom/{patient}")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        **depends.on("phantom"),
    message:
        "Phantom {wildcards.patient}: DICOM and truth"
    script:
        "../workflow_scripts/phantom.py"
