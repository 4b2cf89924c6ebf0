rule problems:
    input:
        [path for patient in cohort.ids() for path in stages_of(patient)],
    output:
        f"{R}/problems.csv",
    log:
        f"{R}/logs/problems.log",
    benchmark:
        f"{R}/benchmarks/problems.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        stages={patient: stages_of(patient) for patient in cohort.ids()},
        table=dict(cohort.problems),
        policy=POLICY,
        code=code_digest("pipeline.planning.exclusions"),
    message:
        "Problems: what every stage said of every patient"
    script:
        "../workflow_scripts/problems.py"


rule plan:
    input:
        problems=f"{R}/problems.csv",
    output:
        splits=f"{R}/splits.json",
        cohort=f"{R}/cohort.parquet",
    log:
        f"{R}/logs/plan.log",
    benchmark:
        f"{R}/benchmarks/plan.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 10),
    params:
        patients=[vars(patient) for patient in cohort.patients],
        # Parts within folds are dealt later: they move no fold.
        settings={k: v for k, v in section("plan").items() if k != "cross_parts"},
        seed=settings.study.seed,
        code=code_digest("pipeline.planning.plan"),
    message:
        "Plan: folds by patient"
    script:
        "../workflow_scripts/plan.py"


rule resolve:
    input:
        splits=f"{R}/splits.json",
        cohort=f"{R}/cohort.parquet",
        problems=f"{R}/problems.csv",
    output:
        f"{R}/plan.json",
    log:
        f"{R}/logs/resolve.log",
    benchmark:
        f"{R}/benchmarks/resolve.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        settings=section("plan"),
        kinds={name: settings.models[name].kind for name in NETWORKS},
        training={
            name: settings.training_of(name).model_dump(mode="json")
            for name in NETWORKS
        },
        code=code_digest("pipeline.planning.training_plan"),
    message:
        "Resolve: what training will do"
    script:
        "../workflow_scripts/resolve.py"
