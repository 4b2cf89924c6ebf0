"""A recorded step is the step: a processor stands in for the accelerator, replaying in Python.

What a real card does is shown by `python -m benchmarks.determinism`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.deepmts import MtHs
from pipeline.training import graph as graphs
from pipeline.training.batches import Batch, Tensors
from pipeline.training.context import FoldJob, TrainContext
from pipeline.training.graph import NotRecordable, RecordedStep, StepGraph, step_graph
from pipeline.training.train_fold import timing_of
from pipeline.training.trainer import TrainState, flush_losses, start_run, train_step
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]


def record_in_python(step: graphs.Step, batch: Batch) -> RecordedStep:
    """As `graph._record`: warms up on fixed tensors, then gives what runs on them again."""
    static = graphs._map_tensors(batch, lambda tensor: tensor.detach().clone())
    names = tuple(step(static))
    step(static)
    values = torch.zeros(len(names))

    def replay() -> None:
        values.copy_(torch.stack(list(step(static).values())))

    return RecordedStep(static, names, values, replay)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_record", record_in_python)


def _run(job: Job, work: Path, steps: int, graph: StepGraph) -> TrainState:
    network = MtHs(width=0.125, dropout_head=0.5, losses=LossSettings(l2=0.1))
    context = context_of(job(network=network, precision="fp32", work=work, batch=4))
    run = start_run(context, {}, {}, work)
    run.graph = graph
    context.net.train()
    for iteration in range(steps):
        train_step(run, iteration)
    flush_losses(run)
    return run


@pytest.mark.usefixtures("recording")
def test_replayed_steps_are_the_steps_bit_for_bit(job: Job, tmp_path: Path) -> None:
    """Weights, running statistics, moments, losses; with dropout, other batches and other learning rates."""
    plain = _run(job, tmp_path / "a", 4, StepGraph("switched off"))
    replayed = _run(job, tmp_path / "b", 4, StepGraph(""))
    assert replayed.graph.recorded is not None and replayed.graph.launches() == "one CUDA graph"
    assert plain.progress.recent == replayed.progress.recent
    assert all(torch.equal(a, b) for a, b in zip(plain.changing(), replayed.changing(), strict=True))


@pytest.mark.usefixtures("recording")
def test_another_shape_is_not_replayed(job: Job, tmp_path: Path) -> None:
    run = _run(job, tmp_path, 1, StepGraph(""))
    assert run.graph.recorded is not None
    batch = run.graph.recorded.batch
    assert run.graph.recorded.fits(batch) and not run.graph.recorded.fits(batch.part(0, 2))


def test_what_cannot_be_recorded_changes_nothing_and_is_said_once(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(step: graphs.Step, batch: Batch) -> RecordedStep:
        record_in_python(step, batch)
        raise NotRecordable("a layer asks")

    monkeypatch.setattr(graphs, "_record", failing)
    plain = _run(job, tmp_path / "a", 3, StepGraph("switched off"))
    with caplog.at_level(logging.WARNING, "pipeline.training.graph"):
        tried = _run(job, tmp_path / "b", 3, StepGraph(""))
    assert [r.getMessage() for r in caplog.records if r.name == "pipeline.training.graph"] == [
        "no CUDA graph, kernels are launched one by one: a layer asks"
    ]
    assert timing_of(tried, 1.0)["launches"] == "one by one (a layer asks)"
    assert all(torch.equal(a, b) for a, b in zip(plain.changing(), tried.changing(), strict=True))


def test_settings_that_rule_a_graph_out(job: Job) -> None:
    context = context_of(job())
    assert step_graph(context).refusal == "no accelerator"
    on_card = replace(context, device_config=replace(context.device_config, device=torch.device("cuda")))

    def refusal(**changes: object) -> str:
        return step_graph(_changed(on_card, **changes)).refusal

    assert refusal() == ""
    assert refusal(cuda_graph="never") == "training.cuda_graph: never"
    assert "gradient_accumulation" in refusal(gradient_accumulation=2)
    assert "risk_bank_size" in refusal(risk_bank_size=5)


def _changed(context: TrainContext, **changes: object) -> TrainContext:
    return replace(context, training=context.training.model_copy(update=changes))


LOSSES = {
    "the papers' sum, strata": LossSettings(stratify=True, ties="efron"),
    "ranking, geometric": LossSettings(ranking=0.5, weighting="geometric", cross_entropy=1.0, focal=0.5),
    "discrete time": LossSettings(discrete=1.0, ranking=0.5, cox=0.0),
    "labels": LossSettings(cox=0.0, labels=("label_a", "label_b"), weighting="uncertainty"),
}


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_losses_never_look_at_results(losses: LossSettings) -> None:
    """Tensors without values: whatever asks for one, or makes shapes from values, raises an error."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        loss, _ = combined(losses)
        loss.backward()


def combined(losses: LossSettings) -> tuple[torch.Tensor, Tensors]:
    from pipeline.losses.combined import combined_loss
    from pipeline.settings.losses import TERMS

    outputs = {
        "mask": torch.rand(4, 3, 3, 3, requires_grad=True),
        "log_variances": torch.rand(4, len(TERMS), requires_grad=True),
    }
    if losses.labels:
        outputs["labels"] = torch.rand(4, 2, requires_grad=True)
    if losses.weighting != "uncertainty":
        del outputs["log_variances"]
    if losses.discrete:
        outputs["interval_logits"] = torch.rand(4, len(losses.interval_edges_days), requires_grad=True)
    else:
        outputs["log_hazard"] = torch.rand(4, requires_grad=True)
    targets = {name: torch.rand(4) for name in ("time", "event", "label_a", "label_b", "mask_known")}
    targets.update(mask=torch.rand(4, 3, 3, 3), centre=torch.zeros(4, dtype=torch.int64))
    return combined_loss(outputs, targets, losses)
