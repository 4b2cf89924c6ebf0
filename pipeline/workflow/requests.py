"""Which rules of a study may have jobs, and what these ask of a cluster, alone and in groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.workflow.dependencies import RULES
from pipeline.workflow.study import Study


@dataclass(frozen=True)
class Request:
    """What a rule's job asks for at its first attempt.

    Attributes:
        rule: Name of the rule, or of a group of rules.
        model: Model that it runs for; empty: it does not run by model.
        partition: Partition it is sent to; empty: the default.
        minutes: Run time; 0: none is asked for.
        mem_mb: Memory, MiB; 0: none is asked for.
        cpus: Threads.
        gpus: Accelerators.
        resumes: Whether a job that is stopped at the time limit goes on where it stood.
        members: Rules of a group; empty: the request is of one rule.
    """

    rule: str
    model: str
    partition: str
    minutes: int
    mem_mb: int
    cpus: int
    gpus: int
    resumes: bool = False
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The job in words."""
        if self.members:
            return f"group {self.rule}"
        return f"{self.rule} ({self.model})" if self.model else self.rule


def grouped(
    requests: Sequence[Request], groups: Mapping[str, str], components: Mapping[str, int]
) -> list[Request]:
    """What jobs of rules in one group ask for together.

    The rules of a patient run one after another, so that their times add up; several patients in one job
    (`components`) run side by side, so that memory and processors do.

    Args:
        requests: What the rules ask for alone.
        groups: Rule → group.
        components: Group → number of patients in one job; 1 where a group is missing.
    """
    together = []
    for group in dict.fromkeys(groups.values()):
        members = [request for request in requests if groups.get(request.rule) == group]
        if len({request.rule for request in members}) < 2:
            continue
        patients = components.get(group, 1)
        longest = {request.rule: request.minutes for request in sorted(members, key=lambda r: r.minutes)}
        together.append(
            Request(
                rule=group,
                model="",
                partition=members[0].partition,
                minutes=sum(longest.values()),
                mem_mb=patients * max(request.mem_mb for request in members),
                cpus=patients * max(request.cpus for request in members),
                gpus=patients * max(request.gpus for request in members),
                members=tuple(longest),
            )
        )
    return together


COLLECTORS = {
    "preprocess": ("crop", "ingest", "disks", "chest_slices"),
    "radiomics": ("radiomics_table", "stability"),
    "train": ("train_fold",),
    "explain": ("explain_model",),
}
"""Targets without a script of their own, and what they collect."""


def rules_behind(targets: Iterable[str]) -> frozenset[str]:
    """Rules that may have jobs where these are the targets: they, and all that they read from.

    Args:
        targets: Names of rules.
    """
    waiting = [rule for target in targets for rule in COLLECTORS.get(target, (target,))]
    needed: set[str] = set()
    while waiting:
        rule = waiting.pop()
        if rule in RULES and rule not in needed:
            needed.add(rule)
            waiting.extend(RULES[rule].after)
    return frozenset(needed)


def rules_without_jobs(study: Study) -> frozenset[str]:
    """Rules that stand in the workflow and have no job in this study's report."""
    features = ("radiomics_patient", "radiomics_table")
    regions = ("radiomics_region", "radiomics_region_table")
    rules_of = (
        (study.is_phantom, ("phantom",)),
        (study.settings.cohort.source == "dicom", ("index",)),
        (study.from_scanner, ("convert", "suv", "contours", "register")),
        (study.uses_template, ("template",)),
        (study.uses_crop_position, ("crop_position",)),
        (study.uses_radiomics, features),
        (study.uses_radiomics and bool(study.regions), regions),
        (study.uses_radiomics and bool(study.settings.contour_networks()), ("radiomics_predicted",)),
        (study.uses_stability, ("stability_patient", "stability")),
        (bool(study.settings.deep_sources()), ("cross_splits", "train_cross")),
        # Else only whoever names it as a target packs a bundle.
        (study.settings.bundle.in_report, ("bundle",)),
    )
    return frozenset(rule for has_jobs, rules in rules_of if not has_jobs for rule in rules)
