rule register:
    input:
        convert=f"{R}/convert/{{patient}}",
        template=f"{R}/template" if settings.registration.method == "template" else [],
    output:
        directory(f"{R}/registration/{{patient}}"),
    log:
        f"{R}/logs/register/{{patient}}.log",
    benchmark:
        f"{R}/benchmarks/register/{{patient}}.tsv"
    conda:
        "../envs/imaging.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 60),
    params:
        settings=section("registration"),
        policy=POLICY,
        code=code_digest("pipeline.registration.register"),
    message:
        "Register {wildcards.patient}: rigid alignment to the template"
    script:
        "../workflow_scripts/register.py"
