"""Scores of a set whose patients are met one batch at a time: those of all patients together, and no image is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.losses.combined import combined_loss
from pipeline.settings.losses import LossSettings
from pipeline.training.batches import Batch, Tensors
from pipeline.training.context import FoldJob
from pipeline.training.validation import PatientNumbers, make_predictor, patients_at_once, score_patients
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]
EVERY_TERM = {
    "cross_entropy": 0.5, "focal": 0.3, "ranking": 0.2, "reconstruction": 0.7, "labels": ("label_a", "label_b"),
}  # fmt: skip
SHAPE = (4, 6, 5)


def outputs_and_targets(patients: int) -> tuple[Tensors, Tensors]:
    """Outputs and targets of every term but the boxes'; the third patient has no contour, a label is unknown."""
    torch.manual_seed(0)
    image = torch.randn(patients, 2, *SHAPE)
    mask = (torch.rand(patients, *SHAPE) > 0.7).float()
    mask[2] = 0
    known = torch.ones(patients, dtype=torch.bool)
    known[2] = False
    outputs = {
        "log_hazard": torch.randn(patients),
        "interval_logits": torch.randn(patients, 6),
        "mask": torch.rand(patients, *SHAPE),
        "reconstruction": image + torch.randn_like(image),
        "labels": torch.randn(patients, 2),
        "activation_coronal": torch.rand(patients, SHAPE[0], SHAPE[2]),
        "activation_sagittal": torch.rand(patients, SHAPE[0], SHAPE[1]),
        "log_variances": torch.linspace(-1, 1, 10).expand(patients, -1),
        "deep_features": torch.randn(patients, 7),
    }
    targets = {
        "time": torch.randint(1, 2000, (patients,)).float(),
        "event": (torch.arange(patients) % 2).float(),
        "centre": torch.arange(patients) % 2,
        "label_a": (torch.arange(patients) % 3 == 0).float(),
        "label_b": torch.tensor([float("nan"), *[1.0] * (patients - 1)]),
        "mask": mask,
        "mask_known": known,
        "image": image,
    }
    return outputs, targets


def added(outputs: Tensors, targets: Tensors, losses: LossSettings, at_once: int) -> PatientNumbers:
    """The numbers kept of patients that come `at_once` at a time."""
    patients = len(targets["event"])
    everyone = Batch(
        tuple(map(str, range(patients))), torch.arange(patients), targets["image"], None, targets
    )
    numbers = PatientNumbers(losses)
    for start in range(0, patients, at_once):
        rows = slice(start, start + at_once)
        numbers.add(everyone.part(start, start + at_once), {n: v[rows] for n, v in outputs.items()})
    return numbers


@pytest.mark.parametrize("weighting", ["fixed", "geometric", "uncertainty"])
@pytest.mark.parametrize("at_once", [1, 3, 11])
def test_scores_are_those_of_all_patients_at_once(weighting: str, at_once: int) -> None:
    """Against the loss of the whole set in one piece, which is how the loss is defined."""
    outputs, targets = outputs_and_targets(11)
    losses = LossSettings.model_validate({**EVERY_TERM, "weighting": weighting, "stratify": True})
    loss, terms = combined_loss(outputs, targets, losses)
    scores = added(outputs, targets, losses, at_once).scores()
    assert list(scores.terms) == list(terms) and len(terms) == 9
    for name, value in terms.items():
        assert scores.terms[name] == pytest.approx(float(value), rel=2e-6, abs=1e-7), name
    assert scores.loss == pytest.approx(float(loss), rel=2e-6)
    # Overlap counted by hand.
    predicted, manual = outputs["mask"] > 0.5, targets["mask"] > 0.5
    both, sizes = (
        (predicted & manual).flatten(1).sum(1),
        (predicted.flatten(1).sum(1) + manual.flatten(1).sum(1)),
    )
    dice = (2 * both / sizes)[targets["mask_known"]].mean()
    assert scores.dice == pytest.approx(float(dice), rel=1e-6)


def test_of_a_patient_a_few_numbers_are_kept() -> None:
    """45 bytes a voxel were kept before: 24 GB for 1,100 patients of HECKTOR's size."""
    outputs, targets = outputs_and_targets(11)
    numbers = added(outputs, targets, LossSettings.model_validate(EVERY_TERM), 2)
    kept = [*numbers.dice, *(v for values in numbers.terms.values() for v in values)]
    kept += [v for batch in (*numbers.outputs, *numbers.targets) for v in batch.values()]
    # `part` and slices share the storage of the set; a network's outputs are of one batch.
    assert all(value.dim() <= 2 and value.numel() <= 2 * 10 for value in kept)
    assert {"mask", "reconstruction", "deep_features", "activation_coronal"}.isdisjoint(numbers.outputs[0])
    assert {"mask", "image"}.isdisjoint(numbers.targets[0])


def test_a_run_scores_as_one_piece_does(job: Job) -> None:
    context = context_of(job(precision="fp32"))
    rows = list(range(len(context.cohort.ids)))
    context.net.eval()
    batches = list(make_predictor(context).predict(context.cohort, rows))
    outputs = {name: torch.cat([o[name] for _, o in batches]) for name in batches[0][1]}
    targets = {name: torch.cat([b.targets[name] for b, _ in batches]) for name in batches[0][0].targets}
    loss, terms = combined_loss(outputs, targets, context.losses)
    scores = score_patients(context, rows)
    assert context.net.training
    assert scores.loss == pytest.approx(float(loss), rel=1e-7)
    assert scores.terms == pytest.approx({name: float(value) for name, value in terms.items()}, rel=1e-7)


@pytest.mark.parametrize(
    ("shape", "batch", "expected"),
    [((32, 40, 40), 4, 4), ((112, 128, 128), 8, 1), ((64, 64, 64), 16, 8), ((204, 204, 204), 8, 1)],
)
def test_large_crops_are_predicted_one_at_a_time(
    shape: tuple[int, int, int], batch: int, expected: int
) -> None:
    assert patients_at_once(shape, batch) == expected


def test_memory_that_runs_out_while_scoring_names_what_helps_there(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(job())

    def too_large(*given: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("pipeline.training.predict.run_network", too_large)
    assert make_predictor(context).batch == 4
    with pytest.raises(TrainingError, match="scoring 3 patients.*precision: bf16, make the crop") as raised:
        score_patients(context, [0, 1, 2])
    assert "lower training.batch" not in str(raised.value)
