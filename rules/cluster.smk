# What a cluster can start, asked before any job is submitted; and how many folds share this machine's cards.
import re
from contextlib import redirect_stderr
from io import StringIO

from snakemake.cli import parse_args
from snakemake.iocontainers import InputFiles, Wildcards

from pipeline.errors import ClusterError
from pipeline.workflow.requests import (
    Request,
    grouped,
    rules_behind,
    rules_without_jobs,
)
from pipeline.workflow.slurm import (
    ask_sinfo,
    earlier_jobs_warning,
    jobs_still_there,
    most_granted,
    never_started,
)


def command_line():
    """Arguments of the command with its profiles, which the workflow is not told before it has been read."""
    named = [word for word in sys.argv[1:] if re.match(r"-e|--exec|.*profile", word)]
    by_default = "SNAKEMAKE_PROFILE" in os.environ or Path("profiles/default").exists()
    if not workflow.is_main_process or not (named or by_default):
        return None
    with redirect_stderr(StringIO()):
        return parse_args(sys.argv[1:])[1]


def models_of(rule):
    """Models that a rule runs for; one without a name where it does not run by model."""
    if "model" not in rule.wildcard_names:
        return [""]
    names = rule.wildcard_constraints["model"]
    return [name for name in settings.models if re.fullmatch(names, name)]


def request_of(asking, model):
    """What a rule's first attempt asks for."""
    values = {
        name: model if name == "model" else "any" for name in asking.wildcard_names
    }
    asked = asking.expand_resources(Wildcards(fromdict=values), InputFiles(), attempt=1)
    return Request(
        asking.name,
        model,
        partition=str(asked.get("slurm_partition", "")),
        minutes=int(asked.get("runtime", 0)),
        mem_mb=int(asked.get("mem_mb", 0)),
        cpus=int(asked["_cores"]),
        gpus=int(asked.get("gpu", 0)),
        resumes=asking.name in ("train_fold", "train_cross"),
    )


def targets_of(command):
    """Rules that the command asks for; names of files are those of the rules that make them."""
    targets = [*command.targets, *command.until] or ["report"]
    named = {each.name for each in workflow.rules}
    for target in targets:
        if target in named:
            yield "report" if target == "all" else target
        else:
            yield from (
                Path(each.script).stem
                for each in workflow.rules
                if each.script and each.is_producer(target)
            )


def check_cluster(command):
    """Stop where SLURM would leave a job pending for ever; note what it grants at most."""
    nodes = ask_sinfo()
    if nodes is None:
        return
    needed = rules_behind(targets_of(command))
    skipped = rules_without_jobs(study) - set(command.targets)
    requests = [
        request_of(asking, model)
        for asking in workflow.rules
        if asking.script and asking.name not in skipped
        # A rule that inherits runs its parent's script, and has its place in the graph.
        and Path(asking.script).stem in needed
        for model in models_of(asking)
    ]
    for request in requests:
        MOST[request.rule] = most_granted(request, nodes)
    groups = grouped(requests, command.groups, command.group_components)
    if problems := never_started([*groups, *requests], nodes):
        refuse(ClusterError("\n".join(problems)))


def plan_jobs_elsewhere():
    """Have jobs that read settings and table anew, where they start, compare them with what this run planned."""
    if workflow.non_local_exec:
        jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.script]
        file = write_planned_jobs(
            Path(".snakemake/planned_jobs"), jobs, settings.study.on_bad_patient
        )
        os.environ[PLANNED_JOBS] = str(file)


if workflow.is_main_process:
    os.environ[PLANNED_JOBS] = ""


envvars:
    PLANNED_JOBS,


COMMAND = command_line()
if COMMAND is not None and COMMAND.executor == "slurm":
    check_cluster(COMMAND)
    announce(earlier_jobs_warning(jobs_still_there(Path.cwd())))
elif (
    (COMMAND is None or COMMAND.executor == "local")
    and accelerators()
    and "gpu" not in workflow.global_resources
):
    # Here each fold has a card of its own; --resources gpu=1 takes one at a time.
    workflow.register_resource("gpu", accelerators())
