"""Kernels run on an accelerator where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the kernels run."""
    pytest.importorskip("triton", reason="Triton is not installed: the kernels cannot run here")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
