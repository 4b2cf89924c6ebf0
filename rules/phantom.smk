rule phantom:
    output:
        directory(f"{R}/phantom/{{patient}}"),
    log:
        f"{R}/logs/phantom/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/phantom/{{patient}}.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        settings=section("phantom"),
        code=code_digest("pipeline.phantoms.phantom"),
    message:
        "Phantom {wildcards.patient}: writing DICOM and truth"
    script:
        "../workflow_scripts/phantom.py"
