"""What jobs inherit from the machine: environment variables and accelerators."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_environment(root: Path) -> None:
    """Set what every job of a workflow needs in its environment.

    Jobs import `pipeline` from this checkout, whatever is installed elsewhere; bytes of
    results must not depend on how Python orders sets of strings; and ITK takes one thread,
    where it would take all cores whatever a rule states.

    Args:
        root: The checkout.
    """
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([inherited] if inherited else [])])
    os.environ.setdefault("PYTHONHASHSEED", "0")
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")


def accelerators() -> int:
    """Accelerators of this machine that jobs may see (NVIDIA device files; no driver is loaded)."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([entry for entry in visible.split(",") if entry.strip() not in ("", "-1")])
    return len([entry for entry in Path("/dev").glob("nvidia*") if entry.name[6:].isdigit()])
