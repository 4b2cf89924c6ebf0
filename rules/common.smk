# What all rules share: the study, its paths, and what each rule depends on. No stage lives here.
import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir).resolve()
sys.path.insert(0, str(ROOT))
from snakemake.exceptions import WorkflowError
from snakemake.io import apply_wildcards

from pipeline.attempts import MEMORY, TIME
from pipeline.console import accelerators, prepare_environment
from pipeline.errors import PipelineError
from pipeline.workflow.announcements import (
    announce,
    end_lines,
    failure_lines,
    start_lines,
)
from pipeline.workflow.dependencies import Dependencies
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.resources import fold_memory_mb, fold_minutes, grown
from pipeline.workflow.study import load_study

prepare_environment(ROOT)

try:
    study = load_study(config, workflow.configfiles)
except PipelineError as error:
    raise WorkflowError(str(error)) from None

settings, cohort = study.settings, study.cohort
paths = StudyPaths(study)
depends = Dependencies(study)
POLICY = settings.study.on_bad_patient

# A fold asks for one accelerator unless the study trains on the CPU; a scheduler grants it.
GPUS_PER_FOLD = 0 if settings.training.device == "cpu" else 1


def any_of(names):
    """Regular expression of a wildcard that takes these values only."""
    return "|".join(names) or "none"


wildcard_constraints:
    patient=any_of(cohort.ids()),
    model=any_of(settings.models),
    ensemble=any_of(study.ensembles),
    fold=r"\d+",
    region=any_of(study.regions),
    network=any_of(settings.contour_networks()),


# What the cluster grants a rule at most, (minutes, MiB), where rules/cluster.smk has asked it.
MOST = {}


def stage_resources(mem_mb, minutes):
    """Memory and run time, numbers or functions of the wildcards; what a failed attempt lacked grows."""

    def amount(base, shortage, most):
        def ask(wildcards, attempt, rulename):
            log = Path(apply_wildcards(workflow.get_rule(rulename).log[0], wildcards))
            first = base(wildcards) if callable(base) else base
            return grown(
                first, shortage, log, attempt, MOST.get(rulename, (None, None))[most]
            )

        return ask

    return dict(mem_mb=amount(mem_mb, MEMORY, 1), runtime=amount(minutes, TIME, 0))


# A dry run starts nothing, so `onstart` is silent; what is wrong is asked for there first.
if workflow.output_settings.dryrun and workflow.is_main_process:
    announce(start_lines(paths))
