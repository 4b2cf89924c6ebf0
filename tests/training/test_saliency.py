"""Maps against hand calculation, and the check that catches maps that show only the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.explain.randomisation_test import (
    check,
    layers_downwards,
    randomised,
    rank_correlation,
    verdicts,
)
from pipeline.explain.saliency import grad_cam, occlusion, on_image, rectified, seen_slices, target_of
from pipeline.settings.losses import LossSettings
from pipeline.training.batches import Batch


def batch(image: Tensor) -> Batch:
    n = len(image)
    mask = torch.zeros(n, *image.shape[2:])
    return Batch(tuple(str(i) for i in range(n)), torch.arange(n), image, None, {"mask": mask})


def log_hazard(outputs: dict[str, Tensor]) -> Tensor:
    return outputs["log_hazard"]


class Tiny(nn.Module):
    """Two feature maps, A₁ = 2x and A₂ = −x + 1; halved by average pooling; y = 3·mean(A₁) − mean(A₂)²."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv3d(1, 2, 1)
        self.pool = nn.AvgPool3d(2)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([2.0, -1.0]).reshape(2, 1, 1, 1, 1))
            self.features.bias.copy_(torch.tensor([0.0, 1.0]))

    def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
        means = self.pool(self.features(image)).flatten(2).mean(2)
        return {"log_hazard": 3 * means[:, 0] - means[:, 1] ** 2}


def test_grad_cam_equals_the_hand_calculation() -> None:
    """α₁ = 3/N, α₂ = −2·mean(A₂)/N, of N voxels; the map is α₁·2x + α₂·(1 − x) (Selvaraju, eqs. 1, 2)."""
    torch.manual_seed(0)
    image = torch.randn(2, 1, 4, 4, 4)
    full, pooled = grad_cam(Tiny().eval(), batch(image), log_hazard)
    assert (full.name, pooled.name) == ("features", "pool") and full.reached and pooled.reached
    for scale, x in ((full, image[:, 0]), (pooled, nn.functional.avg_pool3d(image, 2)[:, 0])):
        voxels = x[0].numel()
        mean = (1 - x).flatten(1).mean(1)[:, None, None, None]
        expected = (3 * 2 * x - 2 * mean * (1 - x)) / voxels
        assert torch.allclose(scale.map, expected, atol=1e-6)
    assert (rectified(full.map) >= 0).all() and (rectified(full.map) == full.map.clamp(min=0)).all()


def test_a_patients_map_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    image = torch.randn(3, 1, 4, 4, 4)
    together = grad_cam(Tiny().eval(), batch(image), log_hazard)[0].map
    alone = grad_cam(Tiny().eval(), batch(image[1:2]), log_hazard)[0].map
    assert torch.allclose(together[1:2], alone, atol=1e-7)


def test_parts_that_the_target_does_not_depend_on_are_told() -> None:
    class Aside(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv3d(1, 2, 1)

        def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
            return {**super().forward(image, clinical, mask), "mask": self.aside(image)[:, 0]}

    found = {s.name: s for s in grad_cam(Aside().eval(), batch(torch.randn(1, 1, 4, 4, 4)), log_hazard)}
    assert not found["aside"].reached and not found["aside"].map.any() and found["features"].reached


class Linear(nn.Module):
    """y = Σ w·x."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))

    def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
        return {"log_hazard": (image * self.weight).flatten(1).sum(1)}


@pytest.mark.parametrize("shape", [(2, 4, 6, 6), (2, 1, 6, 8)], ids=["3d", "2d"])
@pytest.mark.parametrize(("side", "stride"), [(2, 2), (3, 1), (4, 3)])
def test_occlusion_of_a_linear_model_is_analytic(shape: tuple[int, ...], side: int, stride: int) -> None:
    """A covered cube P lowers y by Σ_P w·(x − mean x); a voxel gets the mean over cubes that hold it."""
    torch.manual_seed(0)
    net, image = Linear(shape).eval(), torch.randn(2, *shape)
    found = occlusion(net, batch(image), log_hazard, side, stride)
    mean = image.flatten(2).mean(2)[:, :, None, None, None]
    part = (net.weight.detach() * (image - mean)).sum(1).numpy()
    total, count = np.zeros(part.shape), np.zeros(part.shape)
    sides = [min(side, n) for n in shape[1:]]
    steps = [
        sorted({*range(0, n - s + 1, min(stride, s)), n - s}) for n, s in zip(shape[1:], sides, strict=True)
    ]
    for z in steps[0]:
        for y in steps[1]:
            for x in steps[2]:
                cube = np.s_[:, z : z + sides[0], y : y + sides[1], x : x + sides[2]]
                total[cube] += part[cube].sum((1, 2, 3))[:, None, None, None]
                count[cube] += 1
    assert count.min() >= 1
    assert np.allclose(found.numpy(), total / count, atol=1e-4)


class OneSlice(nn.Module):
    """A 2D network that looks at slice 3 of a 3D image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
        return {"log_hazard": self.conv(image[:, :, 3]).pow(2).flatten(1).mean(1)}


def test_the_map_of_a_2d_network_goes_to_the_slice_it_looks_at() -> None:
    torch.manual_seed(0)
    net, one = OneSlice().eval(), batch(torch.randn(2, 1, 5, 8, 8))
    seen = seen_slices(net, one, log_hazard)
    assert seen.tolist() == [3, 3]
    placed = on_image(grad_cam(net, one, log_hazard)[0].map, (5, 8, 8), seen)
    assert placed[:, 3].abs().sum() > 0 and placed[:, [0, 1, 2, 4]].abs().sum() == 0


def test_targets() -> None:
    outputs = {
        "labels": torch.tensor([[1.0, 5.0, 2.0]]),
        "mask": torch.full((1, 2, 2, 2), 0.25),
        "interval_logits": torch.zeros(1, 6),
    }
    one, three = LossSettings(labels=("label_a",), classes=3), LossSettings(labels=("label_a", "label_b"))
    # Hazard one half in each of three years: S(36 months) = 1/8.
    name, risk = target_of("auto", set(outputs), one)
    assert name == "risk" and risk(outputs).item() == pytest.approx(7 / 8, abs=1e-6)
    assert target_of("label", set(outputs), one)[1](outputs).item() == 5.0
    assert target_of("label", set(outputs), three)[1](outputs).item() == 1.0
    assert target_of("mask", set(outputs), one)[1](outputs).item() == 0.25
    with pytest.raises(TrainingError, match=r"no such output.*expected: mask.*got: risk"):
        target_of("risk", {"mask"}, one)


LAYERS = ["head", "body.3", "body.0"]


def trained_and_fresh() -> tuple[nn.Module, nn.Module, Batch]:
    """A network taught that a bright square on a busy background matters, and a fresh one."""

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Small()

    net, data = make(0), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        image, truth = squares(16, data)
        loss = (net(image, None, None)["log_hazard"] - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval(), make(7).eval(), batch(squares(4, data)[0])


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(8, 1)

    def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
        return {"log_hazard": self.head(self.body(image[:, :, 0]).flatten(2).mean(2))[:, 0]}


def squares(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    image = torch.randn(count, 2, 1, 16, 16, generator=generator)
    truth = torch.rand(count, generator=generator) * 2
    image[:, 0, 0, 4:8, 4:8] += 4 * truth[:, None, None]
    return image, truth


def test_layers_run_from_the_output_down() -> None:
    net, _, patients = trained_and_fresh()
    assert layers_downwards(net, patients) == LAYERS


def test_only_the_named_layers_are_randomised() -> None:
    net, fresh, _ = trained_and_fresh()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    mixed = randomised(net, fresh, ["head"]).state_dict()
    assert torch.equal(mixed["head.weight"], fresh.state_dict()["head.weight"])
    assert all(torch.equal(mixed[k], before[k]) for k in before if not k.startswith("head"))
    assert all(torch.equal(net.state_dict()[k], before[k]) for k in before)


def test_an_edge_detector_is_flagged_and_occlusion_is_not() -> None:
    """A method that looks at the image alone (Adebayo et al., figure 1) keeps its map: |ρ| = 1."""
    net, fresh, patients = trained_and_fresh()

    def edges(_: nn.Module, one: Batch) -> dict[str, Tensor]:
        return {"edges": one.image[:, 0, 0].diff(dim=1).abs()}

    def covered(one: nn.Module, them: Batch) -> dict[str, Tensor]:
        return {"occlusion": occlusion(one, them, log_hazard, 4, 4)}

    flat = check(edges, (net, fresh), patients, 3)
    assert all(row.rho == pytest.approx(1) and row.patients == 4 for row in flat) and len(flat) == 6
    assert verdicts(flat, 0.5) == {"edges": "insensitive"}
    true = check(covered, (net, fresh), patients, 3)
    assert verdicts(true, 0.5) == {"occlusion": "sensitive"}
    assert {row.order for row in true} == {"cascade", "independent"}


def test_a_cascade_keeps_what_it_made_random() -> None:
    """The output layer is random in every step of the cascade, and in the first independent one alone."""
    net, fresh, patients = trained_and_fresh()

    def shown(one: nn.Module, them: Batch) -> dict[str, Tensor]:
        return {n: one.get_parameter(f"{n}.weight").detach().flatten()[None].repeat(4, 1) for n in LAYERS}

    rows = {(row.order, row.step, row.name): row for row in check(shown, (net, fresh), patients, 3)}
    for depth, name in enumerate(LAYERS, start=1):
        a, b = (n.get_parameter(f"{name}.weight").detach().numpy().ravel() for n in (net, fresh))
        random = pytest.approx(spearmanr(a, b).statistic)
        for step in (1, 2, 3):
            assert rows["cascade", step, name].rho == (random if step >= depth else pytest.approx(1))
            assert rows["independent", step, name].rho == (random if step == depth else pytest.approx(1))
            assert rows["cascade", step, name].layers == (LAYERS[step - 1],)


def test_a_map_without_values_is_undetermined() -> None:
    net, fresh, patients = trained_and_fresh()
    flat = check(lambda *_: {"zero": torch.zeros(4, 3, 3)}, (net, fresh), patients, 2, ("cascade",))
    assert verdicts(flat, 0.5) == {"zero": "undetermined"} and flat[-1].patients == 0


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (4, 5, 6)).astype(np.float32), rng.normal(size=(4, 5, 6)).astype(np.float32)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-12)
