"""A SLURM cluster of one node on the loopback, without systemd, for tests that submit for real.

Debian's packages slurmctld, slurmd, slurm-client and munge serve; the configuration has to lie in
/etc/slurm (Snakemake's executor knows no other place) and is removed at the end: a configuration
without a controller makes every later call of a SLURM command wait for ten seconds.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CONFIG = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol", "scancel")
SLURM_CONF = """\
ClusterName=suvival
# process {process}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
KillWait=30
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={work}/state
SlurmdSpoolDir={work}/spool
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd.pid
SlurmctldLogFile={work}/slurmctld.log
SlurmdLogFile={work}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime={max_minutes} State=UP
"""


def why_not() -> str:
    """Why no cluster can be started here; empty where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "starting a SLURM controller needs root"
    _remove_stale()
    if (CONFIG / "slurm.conf").exists():
        return f"{CONFIG / 'slurm.conf'} is there already: this machine belongs to a cluster"
    return ""


def _remove_stale() -> None:
    """Remove the configuration of a cluster of ours that was killed: every SLURM command would wait for it."""
    path = CONFIG / "slurm.conf"
    text = path.read_text() if path.exists() else ""
    ours = re.search(r"ClusterName=suvival\n# process (\d+)\n", text)
    if ours is not None and not Path("/proc", ours.group(1)).exists():
        path.unlink()


class SlurmCluster:
    """One controller and one node, started on entry and gone on exit.

    Args:
        work: Empty folder for the daemons' state and logs.
        max_minutes: Time limit of the only partition, `short`.
    """

    def __init__(self, work: Path, max_minutes: int = 120) -> None:
        self.work = work
        self.max_minutes = max_minutes
        self.host = socket.gethostname()
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmCluster:
        for folder in ("state", "spool"):
            (self.work / folder).mkdir(parents=True)
        CONFIG.mkdir(exist_ok=True)
        values = {
            "host": self.host,
            "work": self.work,
            "cpus": os.cpu_count(),
            "memory_mb": _memory_mb(),
            "process": os.getpid(),
        }
        (CONFIG / "slurm.conf").write_text(SLURM_CONF.format(**values, max_minutes=self.max_minutes))
        try:
            self._start_munge()
            self._start("slurmctld", "-D", "-i")
            self._start("slurmd", "-D", "-N", self.host)
            self.wait_until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end_jobs()
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        (CONFIG / "slurm.conf").unlink(missing_ok=True)

    def _end_jobs(self, seconds: float = 45) -> None:
        """Cancel what still runs: jobs outlive the daemons."""
        with contextlib.suppress(OSError, subprocess.SubprocessError, TimeoutError):
            self.command("scancel", "--me")
            _wait(lambda: not self.jobs(), seconds, "jobs were cancelled and still run")

    def _start(self, *command: str) -> None:
        with (self.work / f"{command[0]}.out").open("wb") as out:
            self._daemons.append(subprocess.Popen(command, stdout=out, stderr=out))

    def _start_munge(self) -> None:
        munge = pwd.getpwnam("munge")
        run = Path("/run/munge")
        run.mkdir(exist_ok=True)
        os.chown(run, munge.pw_uid, munge.pw_gid)
        command = ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"]
        with (self.work / "munged.out").open("wb") as out:
            self._daemons.append(subprocess.Popen(command, stdout=out, stderr=out))
        _wait(lambda: (run / "munge.socket.2").exists(), 10, "munged opened no socket")

    def command(self, *words: str) -> str:
        """Run one of SLURM's commands; its standard output."""
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def state(self) -> str:
        """State of the node: idle, mixed, allocated, drained …"""
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def wait_until_idle(self, seconds: float = 30) -> None:
        """Wait until the node takes jobs."""
        _wait(lambda: self.state() == "idle", seconds, f"the node is {self.state() or 'not known'}")

    def jobs(self, *options: str) -> dict[str, str]:
        """Job id → comment (the executor writes rule and wildcards there) of jobs that run or wait."""
        lines = self.command("squeue", "-h", "-o", "%i|%k", *options).splitlines()
        return dict(line.split("|", 1) for line in lines)

    def demand(self, job: str) -> Demand:
        """What a job asked for."""
        line = self.command("scontrol", "--oneliner", "show", "job", job)
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        hours, minutes, _ = fields["TimeLimit"].rsplit("-", 1)[-1].split(":")
        memory = re.search(r"mem=(\d+)([MG])", line)
        assert memory is not None, line
        mem_mb = int(memory.group(1)) * (1024 if memory.group(2) == "G" else 1)
        return Demand(int(hours) * 60 + int(minutes), mem_mb)

    def set_node(self, state: str) -> None:
        """Drain the node, or resume it."""
        self.command("scontrol", "update", f"nodename={self.host}", f"state={state}", "reason=test")

    def running(self) -> dict[str, str]:
        """Job id → comment of what runs now."""
        return self.jobs("-t", "RUNNING")


@dataclass(frozen=True)
class Demand:
    """What a job asked for: minutes and MiB."""

    minutes: int
    mem_mb: int


def _memory_mb() -> int:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(pages / 1024**2 * 0.9)


def _wait(done: Callable[[], bool], seconds: float, problem: str) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(problem)
        time.sleep(0.2)
