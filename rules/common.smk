# What all rules share: the study, its paths, and what each rule depends on. No stage lives here.
import os
import sys
import time
from pathlib import Path

ROOT = Path(workflow.basedir).resolve()
STARTED = time.time()
sys.path.insert(0, str(ROOT))
from snakemake.persistence.file import FilePersistence

from pipeline.as_planned import PLANNED_JOBS, named_files, write_planned_jobs
from pipeline.check.beforehand import require_possible
from pipeline.console import ON_BAD_PATIENT, accelerators, prepare_environment
from pipeline.errors import PipelineError
from pipeline.spread import CLUSTER
from pipeline.workflow.announcements import (
    announce,
    end_lines,
    failure_lines,
    refuse,
    start_lines,
)
from pipeline.workflow.dependencies import Dependencies, by_name
from pipeline.workflow.guards import (
    machine_failures_told,
    record_absent,
    require_present,
    stops_at_exclusions,
)
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.records import correct_future_times, mark_results_without_record
from pipeline.workflow.study import load_study
from pipeline.workflow.terminal import gather_messages

prepare_environment(ROOT)

try:
    with machine_failures_told():
        study = load_study(config, workflow.configfiles)
        paths = StudyPaths(study)
        if workflow.is_main_process:
            gather_messages(workflow.output_settings)
            require_possible(study)
            require_present(paths, sys.argv[1:], ROOT)
except PipelineError as error:
    refuse(error)

settings, cohort = study.settings, study.cohort
depends = Dependencies(study)
# In the environment, not in parameters: these change no result of a job that ended, and rerun none.
os.environ[CLUSTER] = settings.resources.cluster
os.environ[ON_BAD_PATIENT] = settings.study.on_bad_patient

# Snakemake reads --touch after this file; it records results as they are.
if workflow.is_main_process and not {"--touch", "-t"} & set(sys.argv):
    try:
        announce(correct_future_times(paths, STARTED))
        announce(mark_results_without_record(paths, FilePersistence()))
    except PipelineError as error:
        refuse(error)


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


# A dry run starts nothing, so `onstart` is silent; what is wrong is asked for there first.
if workflow.output_settings.dryrun and workflow.is_main_process:
    announce(start_lines(paths))
