"""Parameters of the comparators and of the chest CT network, by hand or against published counts."""

import itertools

import pytest
import torch
from torch import nn

from pipeline.errors import SettingsError
from pipeline.nets.registry import build
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.pet_multiscale import AlexNet, ChenNet, Cnn6, QuNet, RpetNet, VNet, WslCam

KIND = LossSettings(labels=("label_pathology",), dice=0)


def on_meta(settings, channels=1, clinical=0):
    with torch.device("meta"):
        return build(settings, channels, clinical)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def conv(inputs, filters, kernel, dims=3, bias=True):
    return inputs * filters * kernel**dims + bias * filters


def linear(inputs, outputs):
    return inputs * outputs + outputs


def test_alexnet_by_hand():
    # Krizhevsky 2012, section 3.5, cubes for squares, 2³ maps for 6 × 6 before the 4096s
    convolutions = conv(1, 96, 11) + conv(96, 256, 5) + conv(256, 384, 3) + conv(384, 384, 3)
    convolutions += conv(384, 256, 3)
    dense = linear(256 * 2**3, 4096) + linear(4096, 4096) + linear(4096, 1)
    assert parameters(on_meta(AlexNet())) == convolutions + dense == 37_668_993


def test_v_net_by_hand():
    # Milletari 2016, Figure 2: 1, 2, 3, 3, 3 convolutions of 5³ down, 3, 3, 2, 1 up; a PReLU's slope per
    # channel after each; the first image is widened by 1³ so that it can be added
    f = [16, 32, 64, 128, 256]
    total = conv(1, 16, 1) + conv(1, 16, 5) + 16
    for below, number in zip(f[1:], (2, 3, 3, 3), strict=True):
        total += number * (conv(below, below, 5) + below)
    for above, below in itertools.pairwise(f):
        total += conv(above, below, 2) + below + conv(below, above, 2) + above
    for above, number in zip(f[:-1], (1, 2, 3, 3), strict=True):
        total += conv(2 * above, above, 5) + (number - 1) * conv(above, above, 5) + number * above
    total += conv(16, 2, 1)
    assert parameters(on_meta(VNet())) == total == 43_903_986
    branch = linear(64 + 128 + 256, 128) + linear(128, 1)  # Zhou: the three coarsest levels
    assert parameters(on_meta(VNet(classify=True))) == total + branch


def test_3d_rpet_net_and_six_layers_by_hand():
    total = conv(1, 16, 5) + conv(16, 32, 5) + linear(32 * 4**3, 64) + linear(64, 1)
    assert parameters(on_meta(RpetNet())) == total == 197_249
    total, source = 0, 1
    for filters in (32, 32, 64, 64, 128, 128):
        total += conv(source, filters, 3)
        source = filters
    total += linear(128, 128) + linear(128, 1)
    assert parameters(on_meta(Cnn6())) == total == 875_041


def test_chen_by_hand():
    # filters of the authors' public code; each convolution is followed by a batch norm (2 numbers a filter)
    def double(inputs, filters):
        return conv(inputs, filters, 3) + conv(filters, filters, 3) + 4 * filters

    f = [64, 128, 256, 512, 512, 512]
    total = sum(double(s, t) for s, t in zip((1, *f[:-1]), f, strict=True))
    total += double(1024, 512) + double(1024, 256) + double(512, 128) + double(256, 64) + double(128, 64)
    total += conv(64, 2, 1)
    total += linear((4**3 + 2**3 + 1) * 512, 512) + linear(512, 1)
    assert parameters(on_meta(ChenNet())) == total == 94_691_779


def test_qu_is_monais_resnet34_with_a_decoder_by_hand():
    nets = pytest.importorskip("monai.networks.nets")
    with torch.device("meta"):
        encoder = nets.resnet34(spatial_dims=3, n_input_channels=1, num_classes=1, bias_downsample=False)
    total = parameters(encoder)  # its last layer 512 → 1 is our outcome
    for below, target in itertools.pairwise((512, 256, 128, 64, 64)):
        half = below // 2
        total += conv(below, half, 2) + conv(half + target, target, 3) + conv(target, target, 3) + 4 * target
    assert parameters(on_meta(QuNet())) == total + conv(64, 1, 2) == 72_110_626


def test_weakly_supervised_by_hand():
    flat, deep, source = 0, 0, 1
    for filters in (32, 64, 128, 256):
        flat += conv(source, filters, 3, 2) + conv(filters, filters, 3, 2) + 4 * filters
        source = filters
    source = 1
    for filters in (32, 64, 128):
        deep += conv(source, filters, 3) + conv(filters, filters, 3)
        source = filters
    total = flat + linear(256, 2) + deep + linear(128, 128) + linear(128, 1)
    assert parameters(on_meta(WslCam(losses=KIND))) == total == 2_049_155


VGG13_CONVOLUTIONS = 9_404_992
RESNET50_CONVOLUTIONS = 25_557_032 - linear(2048, 1000)
"""Published for 2D images of three channels (torchvision's model tables), classifiers taken off."""


def decoder2d(sources):
    total, below = 0, sources[-1]
    for filters, skip in zip((512, 256, 128, 64), reversed(sources[:-1]), strict=True):
        total += conv(below, filters, 1, 2)
        total += conv(filters + skip, filters, 3, 2) + conv(filters, filters, 3, 2)
        below = filters
    return total + conv(64, 1, 1, 2)


@pytest.mark.parametrize(
    ("encoder", "published", "first", "maps"),
    [
        ("vgg13", VGG13_CONVOLUTIONS, 64 * 9, [64, 128, 256, 512, 512]),
        ("resnet50", RESNET50_CONVOLUTIONS, 64 * 49, [64, 256, 512, 1024, 2048]),
    ],
)
def test_chest_ct_has_the_published_encoders(encoder, published, first, maps):
    shared = published - 2 * first  # one channel for three in the first convolution
    net = on_meta(ChestCt(encoder=encoder))
    assert parameters(net.encoder) == shared
    decoder = decoder2d(maps)
    classes = linear(maps[-1] * 4 * 4, 512) + linear(512, 128) + linear(128, 3)
    assert parameters(net) == shared + decoder + classes
    both = on_meta(ChestCt(encoder=encoder, tasks=("segmentation", "reconstruction")))
    assert parameters(both) == shared + 2 * decoder


def test_mask_rcnn_heads_by_hand():
    # He 2017, Figure 4 (right), on VGG-13's 512 maps; 12 anchors a place; 3 kinds and background
    proposals = conv(512, 512, 3, 2) + conv(512, 12, 1, 2) + conv(512, 48, 1, 2)
    boxes = linear(512 * 7 * 7, 1024) + linear(1024, 1024) + linear(1024, 4) + linear(1024, 12)
    masks = conv(512, 256, 3, 2) + 3 * conv(256, 256, 3, 2) + conv(256, 256, 2, 2) + conv(256, 3, 1, 2)
    assert parameters(on_meta(ChestCt(tasks=("detection",))).detection) == proposals + boxes + masks


@pytest.mark.parametrize("settings", [ChenNet(), QuNet(), WslCam(losses=KIND)], ids=lambda s: s.kind)
@pytest.mark.parametrize("shape", [(128, 128, 128), (64, 96, 128), (32, 32, 32)])
def test_shapes(settings, shape):
    outputs = on_meta(settings)(torch.empty(2, 1, *shape, device="meta"))
    assert set(outputs) - {"deep_features"} == settings.gives()
    assert outputs["mask"].shape == (2, *shape)
    if settings.kind == "wsl_cam":
        assert outputs["activation_coronal"].shape == (2, shape[0], shape[2])
        assert outputs["activation_sagittal"].shape == (2, shape[0], shape[1])


@pytest.mark.parametrize(
    ("settings", "shape", "works"),
    [
        (ChenNet(), (33, 64, 64), "64 × 64 × 64"),
        (QuNet(), (32, 48, 32), "32 × 64 × 32"),
        (WslCam(losses=KIND), (7, 8, 8), "8 × 8 × 8"),
        (AlexNet(), (30, 40, 40), "31 × 40 × 40"),
        (VNet(), (40, 32, 32), "48 × 32 × 32"),
        (RpetNet(), (3, 4, 4), "4 × 4 × 4"),
        (Cnn6(), (7, 9, 9), "8 × 9 × 9"),
        (ChestCt(), (1, 250, 256), "256 × 256"),
        (ChestCt(encoder="resnet50", tasks=("detection",)), (1, 240, 256), "256 × 256"),
    ],
)
def test_other_sizes_are_refused_with_sizes_that_work(settings, shape, works):
    with pytest.raises(SettingsError, match=works):
        on_meta(settings)(torch.empty(2, 1, *shape, device="meta"))


def test_weak_supervision_needs_the_kind_of_cancer():
    with pytest.raises(ValueError, match="kind of cancer"):
        WslCam(losses=LossSettings(dice=0))
    with pytest.raises(ValueError, match="then the outcome's"):
        WslCam(outcome="label", losses=KIND)


def test_gradients_of_the_outcome_stop_at_the_tumour():
    # two stages, as published: the localisation does not learn from the outcome
    torch.manual_seed(0)
    net = build(WslCam(width=0.125, losses=KIND), 1, 0)
    net(torch.randn(2, 1, 16, 16, 16))["log_hazard"].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in net.view.parameters())
    assert net.convolutions[0].weight.grad.any()


def test_both_projections_meet_in_the_tumour():
    # the activation of a projection is the same all along its axis: 3D is their product
    torch.manual_seed(0)
    net = build(WslCam(width=0.125, losses=KIND), 1, 0).eval()
    image = torch.rand(1, 1, 16, 20, 24)
    outputs = net(image)
    coronal, sagittal = outputs["activation_coronal"], outputs["activation_sagittal"]
    assert coronal.shape == (1, 16, 24)
    assert sagittal.shape == (1, 16, 20)
    hull = coronal[:, :, None, :] * sagittal[..., None]
    assert (outputs["mask"] <= hull).all()
    mirrored = net(image.flip(3))["activation_coronal"]  # a projection does not know its axis' direction
    assert torch.allclose(mirrored, coronal, atol=1e-6)


def test_steps_of_the_chest_study_share_their_weights():
    first = build(ChestCt(width=0.0625), 1, 0)
    third = build(ChestCt(width=0.0625, tasks=("detection", "reconstruction")), 1, 0)
    ours, theirs = third.state_dict(), first.state_dict()
    carried = {k for k in ours if k in theirs and theirs[k].shape == ours[k].shape}
    assert carried == {k for k in ours if k.startswith(("encoder.", "reconstruction."))}
    third.load_state_dict({k: theirs[k] for k in carried}, strict=False)
    image = torch.rand(1, 1, 1, 64, 64)
    both = (first.eval()(image)["reconstruction"], third.eval()(image)["reconstruction"])
    assert torch.equal(*both)


def test_no_network_needs_a_bias_before_normalisation_in_resnets():
    for module in on_meta(QuNet()).stages.modules():
        if isinstance(module, nn.Conv3d):
            assert module.bias is None
