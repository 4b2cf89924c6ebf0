"""What submission to SLURM costs a patient: jobs alone, in the profile's groups, and in one group of all seven rules.

`python -m benchmarks.cluster` starts a SLURM of one node on the loopback (Debian's packages slurmctld, slurmd,
slurm-client and munge; root) and runs the embedded cohort's first patients from DICOM to features, one
job at a time. Work is what the rules' own scripts took (`benchmarks/` of the study), overhead the rest of the jobs'
run time on the node: starting Python and Snakemake, and reading the workflow, twice a job.
"""

from __future__ import annotations

import re
import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

TESTS = Path(__file__).parents[1] / "tests" / "workflow"
sys.path.insert(0, str(TESTS))
from slurm_cluster import SlurmCluster, why_not  # noqa: E402
from study_runner import Study, copy_house, tiny_config, tiny_rows  # noqa: E402

RULES = ("index", "convert", "suv", "contours", "register", "crop", "radiomics_patient")
PATIENTS = 2
ALONE = [f"{rule}=own_{rule}" for rule in RULES]
TOGETHER = [f"{rule}=patient" for rule in RULES]


def main() -> None:
    """Print a line for each way to group the jobs."""
    if problem := why_not():
        sys.exit(f"no SLURM here: {problem}")
    # Whatever ends this process, the cluster's configuration goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    # A group asks for the sum of its rules' minutes: the test cluster's own limit refuses the group of all seven.
    with tempfile.TemporaryDirectory() as folder, SlurmCluster(Path(folder) / "slurm", 300) as cluster:
        print("study              groups          jobs/patient  work s  overhead s  overhead/work")
        for template in (True, False):
            ways: dict[str, list[str]] = {"alone": ALONE, "of the profile": []}
            if not template:
                ways["all seven"] = TOGETHER
            for name, groups in ways.items():
                house = Path(folder) / f"{template}_{name}".replace(" ", "_")
                row = measure(house, cluster, groups, template=template)
                study = "with template" if template else "without template"
                print(
                    f"{study:18} {name:15} {row['jobs']:>12.1f} {row['work']:>7.1f} {row['overhead']:>11.1f} "
                    f"{row['overhead'] / row['work']:>14.1f}",
                    flush=True,
                )


def measure(house: Path, cluster: SlurmCluster, groups: list[str], *, template: bool) -> dict[str, float]:
    """Jobs, seconds of work and seconds of overhead, each per patient."""
    config: dict[str, Any] = tiny_config()
    config["training"]["device"] = "cpu"
    if not template:
        config["registration"] = {"method": "none"}
        config["crop"]["position"] = "lesion"
    study = Study(copy_house(house), config)
    rows = tiny_rows()[: PATIENTS + 1]
    (study.house / "cohort.csv").write_text("\n".join(rows) + "\n")
    patients = [row.split(",")[0] for row in rows[1:]]
    study.snakemake(*(f"results/tiny/phantom/{patient}" for patient in patients))
    before = set(run_times(cluster))
    targets = [f"results/tiny/radiomics/{patient}.parquet" for patient in patients]
    study.snakemake(
        *targets, "--profile", "config/profiles/slurm", "--jobs", "1", "--cores", "1",
        "--slurm-init-seconds-before-status-checks", "1",
        *(("--groups", *groups) if groups else ()),
        "--default-resources", "slurm_account=none", "slurm_partition=short", "mem_mb=1000", "runtime=30",
    )  # fmt: skip
    times = {job: seconds for job, seconds in run_times(cluster).items() if job not in before}
    work = sum(
        float(pd.read_csv(path, sep="\t")["s"].iloc[0])
        for rule in RULES
        for path in sorted((study.results / "benchmarks" / rule).glob("*.tsv"))
    )
    shared = ("template", "crop_position")
    elsewhere = sum(times[job] for job in times if any(rule in job for rule in shared))
    total = sum(times.values()) - elsewhere
    jobs = len([job for job in times if not any(rule in job for rule in shared)])
    return {"jobs": jobs / PATIENTS, "work": work / PATIENTS, "overhead": (total - work) / PATIENTS}


def run_times(cluster: SlurmCluster) -> dict[str, float]:
    """Seconds that each ended job ran on the node, by job id and comment."""
    times = {}
    for line in cluster.command("scontrol", "--oneliner", "show", "job").splitlines():
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        if "JobId" in fields and fields.get("JobState") == "COMPLETED":
            start, end = (datetime.fromisoformat(fields[name]) for name in ("StartTime", "EndTime"))
            times[f"{fields['JobId']} {fields.get('Comment', '')}"] = (end - start).total_seconds()
    return times


if __name__ == "__main__":
    main()
