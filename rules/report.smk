rule report:
    input:
        metrics=paths.metrics,
        ensembles=[paths.ensemble(name) for name in study.ensembles],
        models=paths.folds(*settings.models),
        crops=paths.crops(),
        explain=[paths.explanation(model) for model in study.explained],
        # What they tell of each patient's SUV, reference region and alignment.
        stages=[
            paths.stage(stage, patient)
            for patient in cohort.ids()
            for stage in ("suv", "contours", "registration")
            + (("convert",) if settings.report.viewer == "full" else ())
            if study.from_scanner
        ],
        features=paths.features_in_report(),
        stability=paths.stability_summary if study.uses_stability else [],
        plan=paths.training_plan,
        problems=paths.exclusions,
        cohort=paths.cohort,
        bundle=paths.bundle if settings.bundle.in_report else [],
    output:
        report(
            directory(paths.report),
            # Single files: Snakemake's own report takes no folder into one HTML.
            patterns=["figures/{figure}.svg", "tables/{table}.csv"],
            caption="../docs/report_caption.rst",
            category="Report",
        ),
    log:
        paths.log("report"),
    benchmark:
        paths.benchmark("report")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        **depends.on("report"),
        settings=settings.model_dump(mode="json"),
        results=lambda wildcards: paths.results,
        patients=cohort.ids(),
        split_given=any(
            patient.split
            for patient in cohort.patients
            if patient.set == "development"
        ),
        code_of_results=lambda wildcards: depends.code_of_results(),
    message:
        "Report: figures, tables and pages"
    script:
        "../workflow_scripts/report.py"
