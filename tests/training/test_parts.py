"""Parts of the engine: optimizer, schedule, memory, accumulation, prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pipeline.losses.cox import cox_loss
from pipeline.settings.networks.deepmts import MtHs
from pipeline.settings.training import ScheduleSettings, TrainingSettings
from pipeline.tables.splits import read_splits
from pipeline.training import train_fold as folds
from pipeline.training.batches import Batch, plain_batch, training_batch
from pipeline.training.cpu.conv3d_bf16 import guard
from pipeline.training.device import choose_machine, reproducible
from pipeline.training.job import FoldJob
from pipeline.training.optimizer import Optimizer
from pipeline.training.predict import Predictor, dice_of, risk_of
from pipeline.training.risk_bank import RiskMemory
from pipeline.training.schedule import learning_rate
from pipeline.training.step import TrainContext, loss_and_gradients

Job = Callable[..., FoldJob]


@pytest.mark.parametrize("decay", [None, 0.0, 0.1])
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_optimizer_equals_torch(kind: str, decay: float | None) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = Optimizer(ours, TrainingSettings(optimizer=kind, weight_decay=decay))
    given = {} if decay is None else {"weight_decay": decay}
    rates = (0.01, 0.01, 0.003, 0.001)
    reference: torch.optim.Optimizer
    if kind == "sgd":
        reference = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9, **given)
    else:
        made = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        reference = made(theirs.parameters(), lr=0.01, **given)
    for number, rate in enumerate(rates):
        x = torch.randn(7, 5)
        mine.rate = reference.param_groups[0]["lr"] = rate
        for net, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
        if number == 1:  # state survives the way through a checkpoint
            kept = mine.state()
            mine = Optimizer(ours, TrainingSettings(optimizer=kind, weight_decay=decay))
            mine.restore(kept)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_schedules() -> None:
    """DeepMTS: 1e-4, then 5e-5, 1e-5, 1e-6 from 2,500, 5,000, 10,000; half-way a cosine is half."""
    steps = ScheduleSettings()
    rates = [learning_rate(steps, i, 15000) for i in (0, 2499, 2500, 4999, 5000, 9999, 10000, 14999)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 1e-5, 1e-5, 1e-6, 1e-6]
    cosine = ScheduleSettings(kind="cosine", learning_rate=1e-3)
    assert learning_rate(cosine, 0, 100) == 1e-3
    assert learning_rate(cosine, 50, 100) == pytest.approx(5e-4)
    assert learning_rate(cosine, 99, 100) == pytest.approx(0.5e-3 * (1 + math.cos(0.99 * math.pi)))


def _bench(job: FoldJob) -> TrainContext:
    splits = read_splits(job.splits)
    machine = choose_machine(job.training)
    cohort, _ = folds.load_fold(job, splits, machine)
    return folds.make_bench(job, cohort, machine, cohort.rows(splits.folds[0].train))


def _gradients(
    bench: TrainContext, batch: Batch, memory: RiskMemory
) -> tuple[float, dict[str, torch.Tensor]]:
    for parameter in bench.net.parameters():
        parameter.grad = None
    loss, _ = loss_and_gradients(bench, batch, memory)
    return float(loss), {n: p.grad.clone() for n, p in bench.net.named_parameters() if p.grad is not None}


def test_accumulation_keeps_cox_exact(job: Job) -> None:
    """Batch norm in evaluation mode and no dropout: then a batch in parts must be the batch."""
    network = MtHs(width=0.25, dropout_head=0.0)
    whole = _bench(job(batch=8, precision="fp32", network=network))
    parts = replace(whole, training=whole.training.model_copy(update={"gradient_accumulation": 3}))
    whole.net.eval()
    with torch.no_grad():  # without batch statistics the log-hazards are in the hundreds
        whole.net.head.last.weight.mul_(0.01)  # type: ignore[union-attr]
    batch = training_batch(whole.cohort, whole.sampler.batch_at(0), whole.training.augment, 1)
    cpu = torch.device("cpu")
    loss_a, a = _gradients(whole, batch, RiskMemory(0, cpu))
    loss_b, b = _gradients(parts, batch, RiskMemory(0, cpu))
    assert loss_a == pytest.approx(loss_b, rel=1e-6) and set(a) == set(b)
    for name, value in a.items():
        assert (value - b[name]).norm() <= 1e-4 * value.norm() + 1e-6, name
    # What part losses alone would give: each part's Cox sees its own risk sets only.
    total = sum(
        float(loss_and_gradients(whole, batch.part(i, i + 3), RiskMemory(0, cpu))[0]) * min(3, 8 - i)
        for i in (0, 3, 6)
    )
    assert abs(total / 8 - loss_a) > 1e-3


def test_accumulation_updates_running_statistics_once(job: Job) -> None:
    bench = _bench(job(batch=8, gradient_accumulation=2))
    bench.net.train()
    batch = training_batch(bench.cohort, bench.sampler.batch_at(0), bench.training.augment, 1)
    loss_and_gradients(bench, batch, RiskMemory(0, torch.device("cpu")))
    counts = {int(v) for k, v in bench.net.state_dict().items() if k.endswith("num_batches_tracked")}
    assert counts == {2}  # one for each part, not for each pass


def _fake_batch(rows: list[int], time: list[float], event: list[float]) -> Batch:
    targets = {
        "time": torch.tensor(time),
        "event": torch.tensor(event),
        "centre": torch.zeros(len(rows)).long(),
    }
    ids = tuple(map(str, rows))
    return Batch(ids, torch.tensor(rows), torch.zeros(len(rows), 1, 1, 1, 1), None, targets)


def test_log_hazards_in_the_hundreds_keep_gradients_finite() -> None:
    """A censored patient tied with nobody, far below the others: his unused row must not overflow."""
    hazard = torch.tensor([117.0, -67, -95, -361, 313, -189, 171, 162], requires_grad=True)
    time = torch.tensor([5.0, 3, 2, 1, 1, 3, 4, 2])
    cox_loss(hazard, time, torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0])).backward()
    assert hazard.grad is not None and torch.isfinite(hazard.grad).all()


def test_remembered_patients_join_the_risk_sets() -> None:
    """By hand: event at t=1 against itself, the batch's t=2 and the remembered t=5; not t=0.5."""
    memory = RiskMemory(3, torch.device("cpu"))
    memory.add(torch.tensor([7, 8, 1]), torch.tensor([0.3, -1.0, 9.0]))
    everyone = {"time": torch.zeros(9), "centre": torch.zeros(9).long()}
    everyone["time"][7], everyone["time"][8] = 5.0, 0.5
    batch = _fake_batch([1, 2], [1.0, 2.0], [1.0, 0.0])
    hazard = torch.tensor([0.2, 0.4], requires_grad=True)
    outputs, targets = memory.join({"log_hazard": hazard}, batch, everyone)
    loss = cox_loss(outputs["log_hazard"], targets["time"], targets["event"])
    by_hand = math.log(math.exp(0.2) + math.exp(0.4) + math.exp(0.3)) - 0.2
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-6)
    loss.backward()
    assert hazard.grad is not None and hazard.grad.abs().min() > 0


def test_memory_forgets_the_oldest_and_keeps_one_of_each() -> None:
    memory = RiskMemory(3, torch.device("cpu"))
    memory.add(torch.tensor([1, 2]), torch.tensor([0.1, 0.2]))
    memory.add(torch.tensor([3, 1, 3]), torch.tensor([0.3, 0.5, 0.9]))
    assert memory.rows.tolist() == [3, 1, 2] and memory.hazard.tolist() == pytest.approx([0.3, 0.5, 0.2])
    memory.add(torch.tensor([4]), torch.tensor([0.4]))
    assert memory.rows.tolist() == [4, 3, 1]


def test_batches_repeat_and_have_their_own_air(job: Job) -> None:
    bench = _bench(job())
    rows = bench.sampler.batch_at(0)
    far = bench.training.augment.model_copy(update={"translation_voxels": 12.0})
    first, again = (training_batch(bench.cohort, rows, far, 5) for _ in range(2))
    assert torch.equal(first.image, again.image) and torch.equal(first.targets["mask"], again.targets["mask"])
    other = training_batch(bench.cohort, rows, far, 6)
    assert not torch.equal(first.image, other.image)
    air = bench.cohort.air[first.rows]
    lowest = first.image[:, 1].flatten(1).min(1).values  # CT: nothing is darker than air
    assert torch.allclose(lowest, air[:, 1], atol=1e-4)


def test_batches_are_bent_and_masks_with_them(job: Job) -> None:
    """Elastic deformation alone: image and mask are read from elsewhere, and again from the same place."""
    bench = _bench(job())
    rows = bench.sampler.batch_at(0)
    still = {"translation_voxels": 0.0, "rotation_deg": 0.0, "flip_sagittal": False}
    unbent = bench.training.augment.model_copy(update=still)
    bent = unbent.model_copy(update={"elastic_voxels": 3.0, "elastic_spacing_voxels": 8.0})
    first, again = (training_batch(bench.cohort, rows, bent, 5) for _ in range(2))
    plain = training_batch(bench.cohort, rows, unbent, 5)
    for value, same, other in (
        (first.image, again.image, plain.image),
        (first.targets["mask"], again.targets["mask"], plain.targets["mask"]),
    ):
        assert torch.equal(value, same) and not torch.equal(value, other)


def test_flipped_prediction_is_the_mean_of_both(job: Job) -> None:
    bench = _bench(job(precision="fp32"))
    bench.net.eval()
    rows = [0, 1, 2]
    plain = Predictor(bench.net, bench.machine, bench.losses, 4)
    both = replace(plain, flip=True)
    (batch, one), (_, mean) = (
        next(iter(plain.over(bench.cohort, rows))),
        next(iter(both.over(bench.cohort, rows))),
    )
    with torch.no_grad():
        turned = bench.net(batch.image.flip(-1), batch.clinical, None)
    assert torch.allclose(mean["log_hazard"], (one["log_hazard"] + turned["log_hazard"]) / 2, atol=1e-5)
    assert torch.allclose(mean["mask"], (one["mask"] + turned["mask"].flip(-1)) / 2, atol=1e-5)


def test_a_cohort_is_predicted_in_one_pass(job: Job) -> None:
    """Everybody once, in the order asked for, `batch` at a time and no more forward passes than that."""
    bench = _bench(job())
    bench.net.eval()
    sizes: list[int] = []

    def counted(image: torch.Tensor, *rest: torch.Tensor | None) -> dict[str, torch.Tensor]:
        sizes.append(len(image))
        found: dict[str, torch.Tensor] = bench.net(image, *rest)
        return found

    rows = [*range(11, -1, -1), 15, 13]
    plain = Predictor(counted, bench.machine, bench.losses, 4)
    ids = [patient_id for batch, _ in plain.over(bench.cohort, rows) for patient_id in batch.ids]
    assert sizes == [4, 4, 4, 2] and ids == [bench.cohort.ids[row] for row in rows]


def test_dice_and_risk_by_hand() -> None:
    truth = torch.zeros(3, 1, 2, 2)
    truth[0, 0, 0] = truth[1, 0, 0] = 1
    found = torch.zeros(3, 1, 2, 2)
    found[:, 0, :, 0] = 0.9
    targets = {"mask": truth, "mask_known": torch.tensor([True, True, False])}
    dice = dice_of({"mask": found}, targets)
    assert dice[:2].tolist() == pytest.approx([0.5, 0.5]) and torch.isnan(dice[2])
    losses = MtHs().losses
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])  # half survive each interval: 3 in 36 months
    assert float(risk_of({"interval_logits": logits}, losses)) == pytest.approx(1 - 0.5**3, abs=1e-3)
    assert risk_of({"mask": found}, losses) is None


def test_plain_batches_are_the_stored_image(job: Job) -> None:
    bench = _bench(job())
    batch = plain_batch(bench.cohort, [3, 1])
    assert torch.equal(batch.image, bench.cohort.images[[3, 1]])
    assert batch.ids == (bench.cohort.ids[3], bench.cohort.ids[1])


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 4, 4), (1, 6, 6), (4, 5, 5)])
def test_bf16_gradients_of_thin_images_are_right(shape: tuple[int, int, int]) -> None:
    """Unguarded, oneDNN's weight gradient at z = 2 is unwritten memory (see narrow.py)."""
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(16, 16, 3, padding=1)
    guard(conv)
    image = torch.randn(4, 16, *shape)
    upper = torch.randn(4, 16, *shape)
    conv(image).backward(upper)
    assert conv.weight.grad is not None
    want = conv.weight.grad.clone()
    for _ in range(5):
        conv.weight.grad = None
        trash = [torch.full((1 << n,), torch.nan) for n in range(10, 19)]
        del trash
        with torch.autocast("cpu", torch.bfloat16):
            found = conv(image)
        assert found.dtype == torch.bfloat16
        found.backward(upper.bfloat16())
        assert (conv.weight.grad - want).norm() < 0.02 * want.norm()


def test_the_frame_is_put_back(job: Job) -> None:
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with reproducible(choose_machine(job().training), 1, False):
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before
