rule report:
    input:
        metrics=f"{R}/metrics",
        ensembles=[f"{R}/ensemble/{name}.parquet" for name in ENSEMBLES],
        models=[
            f"{R}/models/{model}/fold{fold}"
            for model in settings.models
            for fold in FOLDS
        ],
        crops=crops_of(cohort.ids()),
        explain=[f"{R}/explain/{model}" for model in EXPLAINED],
        suv=of_patients("suv", cohort.ids()) if FROM_SCANNER else [],
        stability=f"{R}/radiomics/stability.csv" if STABILITY else [],
        plan=f"{R}/plan.json",
        problems=f"{R}/problems.csv",
        cohort=f"{R}/cohort.parquet",
    output:
        report(
            directory(f"{R}/report"),
            # Single files: Snakemake's own report takes no folder into one HTML.
            patterns=["figures/{figure}.svg", "tables/{table}.csv"],
            caption="../docs/report_caption.rst",
            category="Report",
        ),
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        settings=settings.model_dump(mode="json"),
        results=lambda wildcards, input: os.path.dirname(input.plan),
        code=code_digest("pipeline.report.report"),
    message:
        "Report: figures, tables and pages"
    script:
        "../workflow_scripts/report.py"
