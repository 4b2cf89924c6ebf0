"""Whether a SLURM cluster can ever start the jobs of a study, asked before any is submitted.

SLURM takes a job that exceeds its partition's limits, and leaves it pending without a word.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.workflow.requests import Request

SINFO = ("sinfo", "--noheader", "--exact", "--format", "%P|%a|%l|%m|%c|%G")
"""Partition, availability, time limit, MiB of a node, its processors, and its generic resources."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of one partition that are alike.

    Attributes:
        partition: Name of the partition.
        is_default: Whether jobs that name no partition go there.
        is_up: Whether the partition starts jobs.
        minutes: Time limit; None: there is none.
        mem_mb: Memory of a node, MiB.
        cpus: Processors of a node.
        gpus: Accelerators of a node.
    """

    partition: str
    is_default: bool
    is_up: bool
    minutes: int | None
    mem_mb: int
    cpus: int
    gpus: int


def ask_sinfo() -> list[NodeKind] | None:
    """The cluster's nodes; None where SLURM's commands are missing or its controller does not answer."""
    if shutil.which(SINFO[0]) is None:
        return None
    try:
        done = subprocess.run(SINFO, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_sinfo(done.stdout)


def jobs_still_there(folder: Path) -> list[str]:
    """Ids of this user's SLURM jobs, running or waiting, that were submitted from a folder."""
    if shutil.which("squeue") is None:
        return []
    command = ("squeue", "--noheader", "--me", "--format", "%i|%Z")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    fields = [line.split("|", 1) for line in done.stdout.splitlines() if "|" in line]
    return [job for job, place in fields if Path(place) == folder]


def earlier_jobs_warning(jobs: Sequence[str]) -> list[str]:
    """What is told where an earlier run, e.g. one that was killed, has left its jobs on the cluster."""
    if not jobs:
        return []
    return [
        f"warning: jobs submitted from this folder are on the cluster still: {' '.join(jobs)}; unless they are "
        f"of another study that runs now, stop this run and cancel them, as they write the same files: "
        f"scancel {' '.join(jobs)}"
    ]


def parse_sinfo(text: str) -> list[NodeKind]:
    """Nodes from the output of `SINFO`; lines of another form are skipped."""
    kinds = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 6:
            name, available, limit, memory, cpus, gres = fields
            kinds.append(
                NodeKind(
                    partition=name.removesuffix("*"),
                    is_default=name.endswith("*"),
                    is_up=available == "up",
                    minutes=limit_minutes(limit),
                    mem_mb=_first_number(memory),
                    cpus=_first_number(cpus),
                    gpus=gpus_in(gres),
                )
            )
    return kinds


def limit_minutes(text: str) -> int | None:
    """Minutes of SLURM's `days-hours:minutes:seconds`, `hours:minutes:seconds` or `minutes:seconds`."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


def gpus_in(gres: str) -> int:
    """Accelerators among a node's generic resources, e.g. `gpu:a100:4(S:0-1),shard:8`."""
    return sum(int(count) for count in re.findall(r"\bgpu(?::[^:,()]+)?:(\d+)", gres))


def _first_number(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match.group()) if match else 0


def never_started(requests: Iterable[Request], kinds: Sequence[NodeKind]) -> list[str]:
    """What this cluster can never start: a line for each request, with the option that mends it.

    Args:
        requests: What jobs ask for.
        kinds: Nodes of the cluster.
    """
    return [problem for request in requests if (problem := _problem(request, kinds))]


def _problem(request: Request, kinds: Sequence[NodeKind]) -> str:
    names = sorted({kind.partition for kind in kinds})
    there = nodes_of(request.partition, kinds)
    if not there:
        if not request.partition:
            return ""  # The cluster has no default partition, and SLURM says so itself when the job is submitted.
        return f"{request.name} is sent to partition {request.partition!r}; there are: {', '.join(names)}"
    if any(_fits(request, kind) for kind in there):
        return ""
    name, best = there[0].partition, _roomiest(there)
    shortages = {
        "runtime": _time_shortage(request, best),
        "mem_mb": _shortage(request.mem_mb, best.mem_mb, "{} MB of memory", "its nodes have {}"),
        "threads": _shortage(request.cpus, best.cpus, "{} processors", "its nodes have {}"),
        "gpu": _shortage(request.gpus, best.gpus, "{} GPU", "its nodes have {}"),
    }
    told = [text for text in shortages.values() if text] or ["more at once than any single node has"]
    others = sorted({kind.partition for kind in kinds if kind.is_up and _fits(request, kind)})
    remedies = _remedies(request, best, [key for key, text in shortages.items() if text], others)
    return f"{request.name} can never start in partition {name}: it asks for {'; '.join(told)}; {remedies}"


def nodes_of(partition: str, kinds: Sequence[NodeKind]) -> list[NodeKind]:
    """Nodes that a job sent to these partitions (several with commas; empty: the default) may run on."""
    wanted = {name.strip() for name in partition.split(",")} - {""}
    return [kind for kind in kinds if (kind.partition in wanted if wanted else kind.is_default)]


def _fits(request: Request, kind: NodeKind) -> bool:
    return (
        (kind.minutes is None or request.minutes <= kind.minutes)
        and request.mem_mb <= kind.mem_mb
        and request.cpus <= kind.cpus
        and request.gpus <= kind.gpus
    )


def _roomiest(kinds: Sequence[NodeKind]) -> NodeKind:
    """The most that a partition offers of each resource, as one node."""
    limits = [kind.minutes for kind in kinds]
    return NodeKind(
        partition=kinds[0].partition,
        is_default=kinds[0].is_default,
        is_up=any(kind.is_up for kind in kinds),
        minutes=None if None in limits else max(limit for limit in limits if limit is not None),
        mem_mb=max(kind.mem_mb for kind in kinds),
        cpus=max(kind.cpus for kind in kinds),
        gpus=max(kind.gpus for kind in kinds),
    )


def _time_shortage(request: Request, best: NodeKind) -> str:
    if best.minutes is None:
        return ""
    return _shortage(request.minutes, best.minutes, "{} minutes", "its limit is {}")


def _shortage(asked: int, offered: int, what: str, limit: str) -> str:
    return "" if asked <= offered else f"{what.format(asked)}, {limit.format(offered)}"


def _remedies(request: Request, best: NodeKind, short: Sequence[str], others: Sequence[str]) -> str:
    """Options that mend it, the one that changes least first."""
    if request.members:
        return f"what to do: fewer rules in the group ({', '.join(request.members)}), or no group (--groups)"
    rule, remedies = request.rule, []
    if others:
        remedies.append(f"--set-resources {rule}:slurm_partition={others[0]}")
    if "gpu" in short:
        remedies.append("training.device: cpu in the study")
    if "runtime" in short and request.resumes:
        stops = -(-request.minutes // max(best.minutes or 1, 1)) - 1
        remedies.append(
            f"--set-resources {rule}:runtime={best.minutes} --retries {stops} (a fold goes on where the limit "
            "stopped it; resources.seconds_per_step states the time of a step)"
        )
    elif "runtime" in short:
        remedies.append(f"--set-resources {rule}:runtime={best.minutes}, if that suffices")
    if "mem_mb" in short:
        remedies.append(f"--set-resources {rule}:mem_mb={best.mem_mb}, if that suffices")
    if "threads" in short:
        remedies.append(f"--set-threads {rule}={best.cpus}, or a lower number under `threads` in the study")
    return "what to do: " + ", or ".join(remedies or ["another partition"])


def most_granted(request: Request, kinds: Sequence[NodeKind]) -> tuple[int | None, int | None]:
    """Minutes and MiB that the request's partition grants at most; None: as much as is asked for, or not known."""
    there = nodes_of(request.partition, kinds)
    if not there:
        return None, None
    best = _roomiest(there)
    return best.minutes, best.mem_mb
