# What jobs ask a scheduler for, and the image they run in.
from snakemake.io import apply_wildcards

from pipeline.attempts import MEMORY, TIME
from pipeline.workflow.resources import fold_memory_mb, fold_minutes, grown

# What the cluster grants a rule at most, (minutes, MiB), where rules/cluster.smk has asked it.
MOST = {}

if settings.resources.container:

    container: settings.resources.container


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


def gpus(model):
    """A network asks for one accelerator unless it trains on the CPU; a scheduler grants it."""
    return 0 if settings.training_of(model).device == "cpu" else 1
