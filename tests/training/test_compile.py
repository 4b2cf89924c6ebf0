"""Compiling: never unasked on a CPU, tried without a trace, and the same training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.training.batches import plain_batch
from pipeline.training.context import FoldJob
from pipeline.training.device import DeviceConfig
from pipeline.training.train_fold import train_fold
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]


def test_no_job_imports_what_it_does_not_need(job: Job, tmp_path: Path) -> None:
    """Registration takes seconds to import, in every fold's process, and so does Inductor, the compiler."""
    import pickle
    import subprocess
    import sys

    saved = tmp_path / "job.pickle"
    saved.write_bytes(pickle.dumps(job(iterations=1, validate_every=1)))
    code = (
        "import pickle, sys; from pathlib import Path; from pipeline.training.train_fold import train_fold\n"
        "train_fold(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))\n"
        "assert not {'torch._inductor.compile_fx', 'ants'} & set(sys.modules), 'too much imported'"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(saved), str(tmp_path / "out")], cwd=root, check=True)


def test_the_compile_trial_takes_the_faster_and_touches_nothing(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.training import compile as compiling

    context = context_of(job(batch=2))
    batch = plain_batch(context.cohort, [0, 1])
    weights = {k: v.clone() for k, v in context.net.state_dict().items()}
    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "compile", lambda net, options: net)
    monkeypatch.setattr(compiling, "WORTHWHILE", 1e9)
    decision = compiling.trial(context.net, context.device_config, batch)
    assert decision["compile"] and decision["difference"] == 0
    monkeypatch.setattr(torch, "compile", lambda net, options: lambda *given: _half(net(*given)))
    assert not compiling.trial(context.net, context.device_config, batch)["compile"]  # fast, but wrong
    monkeypatch.setattr(torch, "compile", lambda net, options: net)
    monkeypatch.setattr(compiling, "WORTHWHILE", 0.0)
    assert not compiling.trial(context.net, context.device_config, batch)["compile"]
    torch.set_rng_state(before)
    assert all(torch.equal(v, context.net.state_dict()[k]) for k, v in weights.items())
    file = tmp_path / "net_compile.json"
    assert compiling.maybe_compile(context.net, "auto", context.device_config, batch, file) is context.net
    assert not file.exists()


def test_one_trial_serves_all_folds(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for an accelerator; another kind of it, or another torch, has a trial of its own."""
    import json

    from pipeline.training import compile as compiling

    class Card(DeviceConfig):
        name = "H"

        def describe(self) -> dict[str, str]:
            return {"name": self.name, "precision": "bf16", "torch": "2.11"}

    trials = []

    def trial(*given: object) -> dict[str, object]:
        trials.append(given)
        return {"compile": False, "plain_ms": 3.0, "trial_seconds": 95.0}

    monkeypatch.setattr(compiling, "trial", trial)
    monkeypatch.setattr(compiling, "random_states", lambda device: {})
    monkeypatch.setattr(compiling, "restore_random_states", lambda states, device: None)
    net, card = torch.nn.Linear(1, 1), Card(torch.device("cuda"), True, True)
    context = context_of(job(batch=2))
    batch = plain_batch(context.cohort, [0, 1])
    file = tmp_path / "checkpoints" / "net_compile.json"
    for _ in range(3):
        assert compiling.maybe_compile(net, "auto", card, batch, file) is net
    assert len(trials) == 1
    monkeypatch.setattr(Card, "name", "T")
    compiling.maybe_compile(net, "auto", card, batch, file)
    known = json.loads(file.read_text())
    assert len(trials) == 2 and [key.rpartition(",")[0] for key in known] == [
        "H, bf16, torch 2.11",
        "T, bf16, torch 2.11",
    ]
    assert next(iter(known.values()))["trial_seconds"] == 95.0
    # Another network has a trial of its own, and one that fails is not written down.
    compiling.maybe_compile(torch.nn.Linear(2, 1), "auto", card, batch, file)
    assert len(trials) == 3 and len(json.loads(file.read_text())) == 3
    monkeypatch.setattr(compiling, "trial", lambda *_: {"compile": False, "error": "OutOfMemoryError"})
    compiling.maybe_compile(torch.nn.Linear(3, 1), "auto", card, batch, file)
    assert len(json.loads(file.read_text())) == 3


def _half(outputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * 0.5 for name, value in outputs.items()}


class Small(torch.nn.Module):
    """What a network is made of, small enough to compile in seconds: a block, dropout, an output."""

    def __init__(self) -> None:
        super().__init__()
        self.block = torch.nn.Sequential(
            torch.nn.Conv3d(2, 4, 3, padding=1, bias=False), torch.nn.BatchNorm3d(4), torch.nn.ReLU()
        )
        self.dropout, self.last = torch.nn.Dropout(0.5), torch.nn.Linear(4, 1)

    def forward(self, image: torch.Tensor, clinical: None, mask: None) -> dict[str, torch.Tensor]:
        features = self.block(image)
        pooled = self.dropout(features.mean((2, 3, 4)))
        return {"mask": torch.sigmoid(features.mean(1)), "log_hazard": self.last(pooled).squeeze(1)}


@pytest.mark.nightly
def test_a_compiled_step_is_the_plain_step() -> None:
    """Outputs, weights, running statistics and evaluation after three steps, dropout included.

    With random numbers of its own, which is the compiler's default, the log-hazards of the first
    step differ already.
    """
    from pipeline.training.compile import compiled

    torch.manual_seed(0)
    plain = Small()
    other = Small()
    other.load_state_dict(plain.state_dict())
    image = torch.randn(6, 2, 6, 6, 6)
    for net, call in ((plain, plain), (other, compiled(other))):
        device_config = DeviceConfig(torch.device("cpu"), bf16=False, channels_last=True)
        device_config.to_device(net, compiled=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        torch.manual_seed(1)
        for _ in range(3):
            outputs = call(device_config.to_memory_format(image), None, None)
            optimizer.zero_grad()
            (outputs["log_hazard"].square().sum() + outputs["mask"].mean()).backward()
            optimizer.step()
    for name, value in plain.state_dict().items():
        assert torch.allclose(value.double(), other.state_dict()[name].double(), atol=1e-5), name
    assert int(other.block[1].num_batches_tracked) == 3
    plain.eval()
    other.eval()
    with torch.no_grad():
        for name, value in plain(image, None, None).items():
            assert torch.allclose(value, other(image, None, None)[name], atol=1e-5), name


@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_compiled_training_goes_the_same_way(job: Job, tmp_path: Path) -> None:
    """Dropout included: with random numbers of its own the compiled run differs by tens of percent.

    Exactly the same it cannot be: biases before a batch norm have no gradient but rounding, which
    Adam blows up to steps of the full learning rate, in any direction.
    """
    import pandas as pd

    histories = []
    for name in ("never", "always"):
        fast = job(compile=name, precision="fp32", iterations=4, work=tmp_path / f"w{name}")
        train_fold(fast, tmp_path / name)
        histories.append(pd.read_csv(tmp_path / name / "history.csv"))
    plain, compiled = histories
    for column in ("loss_dice", "loss_cox"):
        assert np.allclose(plain[column], compiled[column], rtol=0.05, atol=5e-3), column
