"""The test that finds maps that show only the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from pipeline.explain.randomisation_test import (
    NetworkPair,
    layers_from_output,
    randomisation_test,
    randomised,
    rank_correlation,
    sanity_table,
    verdicts,
)
from pipeline.explain.saliency import Target, occlusion
from pipeline.training.batches import Batch


def batch_of(image: Tensor) -> Batch:
    n = len(image)
    mask = torch.zeros(n, *image.shape[2:])
    return Batch(tuple(str(i) for i in range(n)), torch.arange(n), image, None, {"mask": mask})


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
    return net.eval(), make(7).eval(), batch_of(squares(4, data)[0])


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
    assert layers_from_output(net, patients) == LAYERS


def test_only_the_named_layers_are_randomised() -> None:
    net, untrained, _ = trained_and_fresh()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    mixed = randomised(NetworkPair(net, untrained), ["head"]).state_dict()
    assert torch.equal(mixed["head.weight"], untrained.state_dict()["head.weight"])
    assert all(torch.equal(mixed[k], before[k]) for k in before if not k.startswith("head"))
    assert all(torch.equal(net.state_dict()[k], before[k]) for k in before)


def test_an_edge_detector_is_flagged_and_occlusion_is_not() -> None:
    """A method that looks at the image alone (Adebayo et al., figure 1) keeps its map: |ρ| = 1."""
    net, untrained, patients = trained_and_fresh()

    def edges(_: nn.Module, patients: Batch) -> dict[str, Tensor]:
        return {"edges": patients.image[:, 0, 0].diff(dim=1).abs()}

    def covered(network: nn.Module, patients: Batch) -> dict[str, Tensor]:
        return {
            "occlusion": occlusion(
                network, patients, Target("risk", lambda outputs: outputs["log_hazard"]), 4, 4
            )
        }

    flat = randomisation_test(edges, NetworkPair(net, untrained), patients, 3)
    assert all(row.rho == pytest.approx(1) and row.patients == 4 for row in flat) and len(flat) == 6
    assert verdicts(sanity_table(flat), 0.5) == {"edges": "insensitive"}
    true = randomisation_test(covered, NetworkPair(net, untrained), patients, 3)
    assert verdicts(sanity_table(true), 0.5) == {"occlusion": "sensitive"}
    assert {row.step.order for row in true} == {"cascade", "independent"}


def test_a_cascade_keeps_what_it_made_random() -> None:
    """The output layer is random in every step of the cascade, and in the first independent one alone."""
    net, untrained, patients = trained_and_fresh()

    def weights(network: nn.Module, patients: Batch) -> dict[str, Tensor]:
        return {n: network.get_parameter(f"{n}.weight").detach().flatten()[None].repeat(4, 1) for n in LAYERS}

    correlations = randomisation_test(weights, NetworkPair(net, untrained), patients, 3)
    rows = {(row.step.order, row.step.number, row.name): row for row in correlations}
    for depth, name in enumerate(LAYERS, start=1):
        a, b = (n.get_parameter(f"{name}.weight").detach().numpy().ravel() for n in (net, untrained))
        random = pytest.approx(spearmanr(a, b).statistic)
        for step in (1, 2, 3):
            assert rows["cascade", step, name].rho == (random if step >= depth else pytest.approx(1))
            assert rows["independent", step, name].rho == (random if step == depth else pytest.approx(1))
            assert rows["cascade", step, name].step.layers == (LAYERS[step - 1],)


def test_a_map_without_values_is_undetermined() -> None:
    net, untrained, patients = trained_and_fresh()
    networks = NetworkPair(net, untrained)
    flat = randomisation_test(lambda *_: {"zero": torch.zeros(4, 3, 3)}, networks, patients, 2, ("cascade",))
    assert verdicts(sanity_table(flat), 0.5) == {"zero": "undetermined"} and flat[-1].patients == 0


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (4, 5, 6)).astype(np.float32), rng.normal(size=(4, 5, 6)).astype(np.float32)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-12)
