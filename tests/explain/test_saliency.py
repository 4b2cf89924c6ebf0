"""Maps against hand calculation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.explain.saliency import (
    Target,
    choose_target,
    grad_cam,
    occlusion,
    rectified,
    to_image_size,
    used_slices,
)
from pipeline.nets.registry import build
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.pet_multiscale import WNet
from pipeline.training.batches import Batch


def batch(image: Tensor) -> Batch:
    n = len(image)
    mask = torch.zeros(n, *image.shape[2:])
    return Batch(tuple(str(i) for i in range(n)), torch.arange(n), image, None, {"mask": mask})


LOG_HAZARD = Target("risk", lambda outputs: outputs["log_hazard"])


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
    full, pooled = grad_cam(Tiny().eval(), batch(image), LOG_HAZARD)
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
    together = grad_cam(Tiny().eval(), batch(image), LOG_HAZARD)[0].map
    alone = grad_cam(Tiny().eval(), batch(image[1:2]), LOG_HAZARD)[0].map
    assert torch.allclose(together[1:2], alone, atol=1e-7)


def test_parts_that_the_target_does_not_depend_on_are_told() -> None:
    class Aside(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv3d(1, 2, 1)

        def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
            return {**super().forward(image, clinical, mask), "mask": self.aside(image)[:, 0]}

    levels = {s.name: s for s in grad_cam(Aside().eval(), batch(torch.randn(1, 1, 4, 4, 4)), LOG_HAZARD)}
    assert not levels["aside"].reached and not levels["aside"].map.any() and levels["features"].reached


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
    falls = occlusion(net, batch(image), LOG_HAZARD, side, stride)
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
    assert np.allclose(falls.numpy(), total / count, atol=1e-4)


class OneSlice(nn.Module):
    """A 2D network that looks at slice 3 of a 3D image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, image: Tensor, clinical: Tensor | None, mask: Tensor | None) -> dict[str, Tensor]:
        return {"log_hazard": self.conv(image[:, :, 3]).pow(2).flatten(1).mean(1)}


def test_the_map_of_a_2d_network_goes_to_the_slice_it_looks_at() -> None:
    torch.manual_seed(0)
    net, patients = OneSlice().eval(), batch(torch.randn(2, 1, 5, 8, 8))
    slices = used_slices(net, patients, LOG_HAZARD)
    assert slices.tolist() == [3, 3]
    placed = to_image_size(grad_cam(net, patients, LOG_HAZARD)[0].map, (5, 8, 8), slices)
    assert placed[:, 3].abs().sum() > 0 and placed[:, [0, 1, 2, 4]].abs().sum() == 0


def test_targets() -> None:
    outputs = {
        "labels": torch.tensor([[1.0, 5.0, 2.0]]),
        "mask": torch.full((1, 2, 2, 2), 0.25),
        "interval_logits": torch.zeros(1, 6),
    }
    one_label, two_labels = (
        LossSettings(labels=("label_a",), classes=3),
        LossSettings(labels=("label_a", "label_b")),
    )
    # Hazard one half in each of three years: S(36 months) = 1/8.
    risk = choose_target("auto", set(outputs), one_label)
    assert risk.name == "risk" and risk.value(outputs).item() == pytest.approx(7 / 8, abs=1e-6)
    assert choose_target("label", set(outputs), one_label).value(outputs).item() == 5.0
    assert choose_target("label", set(outputs), two_labels).value(outputs).item() == 1.0
    assert choose_target("mask", set(outputs), one_label).value(outputs).item() == 0.25
    # By the names that predictions have: a label, or a class of one with several.
    assert choose_target("label_b", set(outputs), two_labels).value(outputs).item() == 5.0
    assert choose_target("label_a_2", set(outputs), one_label).value(outputs).item() == 2.0
    with pytest.raises(TrainingError, match=r"expected: label, mask, label_a, label_b.*got: label_c"):
        choose_target("label_c", {"labels", "mask"}, two_labels)
    with pytest.raises(TrainingError, match=r"no such output.*expected: mask.*got: risk"):
        choose_target("risk", {"mask"}, one_label)


def test_every_level_of_the_multi_scale_network_shows_the_outcome_it_is_asked_for() -> None:
    """Five levels of the encoder and four of each decoder (Amyar et al., figure 4); pathology is another map."""
    torch.manual_seed(0)
    settings = WNet(width=1 / 16)
    net = build(settings, 1, 0).eval()
    patient = batch(torch.randn(1, 1, 32, 32, 32))
    outputs = set(net(patient.image, None, patient.targets["mask"]))
    maps = {
        name: {m.name: m for m in grad_cam(net, patient, choose_target(name, outputs, settings.losses))}
        for name in ("label_outcome", "label_pathology")
    }
    levels = maps["label_outcome"]
    sizes = [tuple(m.map.shape[1:]) for n, m in levels.items() if n.startswith("encoder")]
    assert [size[0] for size in sizes] == [32, 16, 8, 4, 2]
    decoder = {n: m for n, m in levels.items() if n.startswith("segment")}
    assert [m.map.shape[1] for m in decoder.values()][:4] == [4, 8, 16, 32]
    assert all(m.reached for m in decoder.values())
    # The pathology is read off the encoder alone: nothing of the decoder reaches it.
    assert not any(m.reached for n, m in maps["label_pathology"].items() if n.startswith("segment"))
    first = next(n for n in levels if n.startswith("encoder"))
    assert not torch.equal(levels[first].map, maps["label_pathology"][first].map)


def test_a_class_of_the_mask_is_a_target() -> None:
    losses = LossSettings(mask_classes=("gtvp", "gtvn"))
    shares = torch.rand(3, 2, 2, 3, 4)
    outputs = {"mask": shares.amax(1), "class_masks": shares}
    target = choose_target("mask_gtvn", set(outputs), losses)
    assert target.name == "mask_gtvn"
    # By hand: the mean over voxels of the second class alone.
    assert torch.allclose(target.value(outputs), shares[:, 1].mean((1, 2, 3)))
    with pytest.raises(TrainingError, match="mask, mask_gtvp, mask_gtvn"):
        choose_target("mask_gtv", set(outputs), losses)
