rule register:
    input:
        convert=paths.stage("convert"),
        template=paths.template_of(),
    output:
        directory(paths.stage("registration")),
    log:
        paths.log("register/{patient}"),
    benchmark:
        paths.benchmark("register/{patient}")
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 60),
    params:
        **depends.on("register"),
    message:
        "Register {wildcards.patient}: rigid alignment to the template"
    script:
        "../workflow_scripts/register.py"
