"""DeepMTS and its degraded models against the paper's and the authors' numbers."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.errors import SettingsError
from pipeline.losses.combined import combined_loss
from pipeline.nets.blocks import Conv3d
from pipeline.nets.registry import build
from pipeline.settings.networks.deepmts import (
    BaselineMtHs,
    DeepMts,
    MtCasNet,
    MtHs,
    SegBackbone,
    SurCasNet,
    SurHs,
)


def parameters(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def on_meta(settings, clinical=1):
    with torch.device("meta"):
        return build(settings, 2, clinical)


def conv(inputs, filters, kernel):
    return inputs * filters * kernel**3 + filters


def conv_norm(inputs, filters, kernel):
    return conv(inputs, filters, kernel) + 2 * filters


def test_deepmts_has_the_parameters_of_the_authors_code():
    net = on_meta(DeepMts())
    assert parameters(net) == 3_709_672
    statistics = [b.numel() for name, b in net.named_buffers() if "running" in name]
    assert parameters(net) + sum(statistics) == 3_724_272


def test_seg_backbone_parameters_by_hand():
    total, below = 0, 2
    for filters, number in zip((8, 16, 32, 64, 128), (2, 2, 3, 3, 4), strict=True):
        total += conv_norm(below, filters, 1) + conv_norm(below, filters, 3)
        total += (number - 1) * conv_norm(filters, filters, 3)
        below = filters
    for filters, number in zip((64, 32, 16, 8), (3, 3, 2, 2), strict=True):
        total += conv_norm(below + filters, filters, 1) + conv_norm(below + filters, filters, 3)
        total += (number - 1) * conv_norm(filters, filters, 3)
        below = filters
    assert parameters(on_meta(SegBackbone())) == total + conv(8, 2, 1)


def test_plain_unet_parameters_by_hand():
    total, below = 0, 2
    for filters in (8, 16, 32, 64, 128):
        total += conv_norm(below, filters, 3) + conv_norm(filters, filters, 3)
        below = filters
    for filters in (64, 32, 16, 8):
        total += conv_norm(below + filters, filters, 3) + conv_norm(filters, filters, 3)
        below = filters
    assert parameters(on_meta(SegBackbone(backbone="unet"))) == total + conv(8, 2, 1)


def test_the_parts_add_up():
    # MT-HS and MT-CasNet share the backbone; each head has its own last layer (Σ of section 4.5's parts)
    whole, segmentation = parameters(on_meta(DeepMts())), parameters(on_meta(SegBackbone()))
    shared, cascade = parameters(on_meta(MtHs())), parameters(on_meta(MtCasNet()))
    last_twice = 2  # bias and the clinical weight are counted in both heads
    assert whole == shared + cascade - segmentation - last_twice


@pytest.mark.parametrize(
    ("settings", "features"),
    [
        (DeepMts(), 124 + 112),
        (SurHs(), 124),
        (MtHs(), 124),
        (SurCasNet(), 112),
        (MtCasNet(), 112),
        (BaselineMtHs(), 8 + 16 + 32 + 64 + 128),
    ],
)
def test_features_and_shapes_at_the_papers_size(settings, features):
    outputs = on_meta(settings)(
        torch.empty(2, 2, 112, 128, 128, device="meta"), torch.empty(2, 1, device="meta")
    )
    assert outputs["deep_features"].shape == (2, features)
    assert outputs["log_hazard"].shape == (2,)
    if settings.kind.startswith("sur"):
        assert "mask" not in outputs
    else:
        assert outputs["mask"].shape == (2, 112, 128, 128)
        assert outputs["mask"].dtype == torch.float32


def test_flop_of_one_forward_pass():
    net = on_meta(DeepMts()).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 2, 112, 128, 128, device="meta"), torch.empty(1, 1, device="meta"))
    assert counter.get_total_flops() == pytest.approx(81e9, rel=0.01)


@pytest.mark.parametrize("shape", [(40, 48, 48), (32, 32, 32)])
def test_small_crops_work(shape):
    torch.manual_seed(0)
    net = build(DeepMts(width=0.25), 2, 0)
    outputs = net(torch.randn(2, 2, *shape))
    assert outputs["mask"].shape == (2, *shape)
    assert torch.isfinite(outputs["log_hazard"]).all()


@pytest.mark.parametrize(
    ("shape", "works"), [((40, 47, 48), "40 × 48 × 48"), ((16, 32, 32), "24 × 32 × 32"), ((1, 1, 1), "24 ×")]
)
def test_sizes_that_do_not_fit_are_refused_with_sizes_that_do(shape, works):
    net = on_meta(DeepMts(width=0.25), 0)
    with pytest.raises(SettingsError, match=works):
        net(torch.empty(2, 2, *shape, device="meta"))


def test_the_tumour_map_is_the_softmax_of_two_channels():
    torch.manual_seed(0)
    net = build(SegBackbone(width=0.25), 2, 0).eval()
    features = torch.randn(2, 2, 8, 8, 8)
    probability = net.decoder.probability
    expected = torch.softmax(probability.conv(features), 1)[:, 1:]
    assert torch.allclose(probability(features), expected, atol=1e-6)


def test_gradients_of_survival_reach_the_segmentation_decoder():
    torch.manual_seed(0)
    net = build(MtCasNet(width=0.25), 2, 0)
    net(torch.randn(2, 2, 32, 32, 32))["log_hazard"].sum().backward()
    assert net.decoder.probability.conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("settings", [SurHs(width=0.25, masked=True), SurCasNet(width=0.25, masked=True)])
def test_the_manual_mask_hides_what_lies_outside(settings):
    torch.manual_seed(0)
    net = build(settings, 2, 0).eval()
    mask = torch.zeros(1, 32, 32, 32)
    mask[:, 8:24, 8:24, 8:24] = 1
    image = torch.randn(1, 2, 32, 32, 32)
    elsewhere = image + 5 * torch.randn_like(image) * (1 - mask[:, None])
    assert torch.equal(net(image, None, mask)["log_hazard"], net(elsewhere, None, mask)["log_hazard"])
    with pytest.raises(SettingsError, match="given none"):
        net(image)


def test_l2_names_the_three_matrices_of_the_head():
    shapes = [tuple(w.shape) for w in on_meta(DeepMts()).penalised_weights()]
    assert shapes == [(64, 124), (64, 112), (1, 129)]


def test_clinical_features_must_be_those_built_for():
    net = build(DeepMts(width=0.25), 2, 2).eval()
    image = torch.randn(1, 2, 32, 32, 32)
    assert net(image, torch.zeros(1, 2))["log_hazard"].shape == (1,)
    with pytest.raises(SettingsError, match="2 clinical features"):
        net(image)


def test_bf16_autocast_stays_close():
    torch.manual_seed(0)
    net = build(DeepMts(width=0.5), 2, 0).eval()
    image = torch.randn(2, 2, 32, 32, 32)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(image)
    assert rough["mask"].dtype == rough["log_hazard"].dtype == torch.float32
    assert (rough["mask"] - exact["mask"]).abs().mean() < 0.02
    assert torch.allclose(rough["log_hazard"], exact["log_hazard"], rtol=0.03, atol=0.03)


def test_a_step_lowers_the_loss_it_is_taken_on():
    torch.manual_seed(0)
    settings = DeepMts(width=0.25, dropout_head=0.0, dropout_csn=0.0)
    net = build(settings, 2, 0)
    image, mask = torch.randn(4, 2, 32, 32, 32), (torch.rand(4, 32, 32, 32) > 0.8).float()
    targets = {"mask": mask, "time": torch.arange(4.0), "event": torch.ones(4)}
    optimizer = torch.optim.SGD(net.parameters(), 1e-2)
    before, _ = combined_loss(net(image), targets, settings.losses, net.penalised_weights())
    before.backward()
    optimizer.step()
    after, _ = combined_loss(net(image), targets, settings.losses, net.penalised_weights())
    assert after < before


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 5, 5)])
def test_bf16_weight_gradients_of_flat_images(shape):
    # oneDNN gives NaN here (float32 is the reference)
    torch.manual_seed(0)
    convolution = Conv3d(16, 8, 3, padding=1)
    x = torch.randn(8, 16, *shape)
    gradients = []
    for rough in (False, True):
        convolution.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            convolution(x).float().square().sum().backward()
        gradients.append(convolution.weight.grad.clone())
    assert (gradients[0] - gradients[1]).abs().max() < 0.02 * gradients[0].abs().max()
