# SUVival: FDG-PET/CT DICOM in, survival report out.
#
#   snakemake --cores all                                   the embedded phantom study
#   snakemake --cores all --configfile my_study.yaml        yours
#   snakemake --cores all preprocess | radiomics | train    parts of it
import os

from snakemake.utils import min_version

min_version("9.0")

# A study file stands for itself: the embedded default is run only where none is given.
if not workflow.overwrite_configfiles:

    configfile: os.path.join(workflow.basedir, "config/config.yaml")


include: "rules/common.smk"
include: "rules/resources.smk"
include: "rules/phantom.smk"
include: "rules/index.smk"
include: "rules/convert.smk"
include: "rules/suv.smk"
include: "rules/contours.smk"
include: "rules/template.smk"
include: "rules/register.smk"
include: "rules/crop.smk"
include: "rules/radiomics.smk"
include: "rules/plan.smk"
include: "rules/train.smk"
include: "rules/cross_splits.smk"
include: "rules/survival.smk"
include: "rules/ensemble.smk"
include: "rules/evaluate.smk"
include: "rules/explain.smk"
include: "rules/bundle.smk"
include: "rules/report.smk"
include: "rules/cluster.smk"


localrules:
    all,
    preprocess,
    radiomics,
    train,
    explain,


rule all:
    default_target: True
    input:
        paths.report,
        paths.radiomics_tables(),
        # Asked for by themselves: a failed --forcerun removes them, and the report alone would not miss them.
        paths.metrics,
        paths.folds(*settings.models),


rule preprocess:
    input:
        paths.crops(),


# Snakemake records values without the names of their parameters.
for each in workflow.rules:
    if each.script:
        each.set_params(by_name=by_name(each.params.items()))


onstart:
    record_absent(paths)
    plan_jobs_elsewhere()
    announce(start_lines(paths))


onsuccess:
    announce(end_lines(paths))


onerror:
    announce(failure_lines(paths, STARTED))
