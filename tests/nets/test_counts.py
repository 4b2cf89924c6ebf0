"""Parameters, layers and shapes at the papers' sizes, on the meta device."""

import itertools

import pytest
import torch
from torch import nn

from pipeline.errors import SettingsError
from pipeline.nets.registry import build
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.deepmts import CnnSurvival, Dlpm, Mdsn
from pipeline.settings.networks.disks import RNet, SrNet, SthenrNet
from pipeline.settings.networks.hecktor import Hecktor
from pipeline.settings.networks.pet_multiscale import (
    AlexNet,
    Cnn6,
    DenseNet169,
    InceptionV3,
    ResNet50,
    Vgg,
    VNet,
    WNet,
)

CONVOLUTIONS = nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d


def on_meta(settings, channels=2, clinical=0):
    with torch.device("meta"):
        return build(settings, channels, clinical)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def convolutions(net):
    return sum(isinstance(m, CONVOLUTIONS) for m in net.modules())


def conv(inputs, filters, kernel, dims=3, bias=True):
    return inputs * filters * kernel**dims + bias * filters


def linear(inputs, outputs):
    return inputs * outputs + outputs


def test_mdsn_has_53_convolutions_and_dlpm_8():
    assert convolutions(on_meta(Mdsn())) == 53  # Meng et al., section 4.4
    assert convolutions(on_meta(Dlpm())) == 8
    assert convolutions(on_meta(CnnSurvival())) == 6


def test_dlpm_by_hand():
    total = 2 * 2 + conv(2, 32, 3, bias=False)
    channels = 32
    for layers in (2, 2, 1):
        for _ in range(layers):
            total += 2 * channels + conv(channels, 32, 3)
            channels += 32
        total += 2 * channels
        if layers == 2:
            total += conv(channels, 48, 1, bias=False)
            channels = 48
    assert parameters(on_meta(Dlpm())) == total + linear(channels, 6)


def test_cnn_survival_by_hand():
    total, source = 0, 2
    for filters in (32, 64, 128):
        total += conv(source, filters, 3, 2) + conv(filters, filters, 3, 2) + 4 * filters
        source = filters
    total += linear(128, 64) + linear(64 + 1, 6)
    assert parameters(on_meta(CnnSurvival(), clinical=1)) == total


def squeeze(filters):
    half = filters // 2
    return 2 * (linear(filters, half) + linear(half, filters))


def test_hecktor_by_hand():
    f = [8, 16, 32, 64, 128]

    def unit(inputs, filters, kernel):
        return conv(inputs, filters, kernel) + squeeze(filters)

    def residual(inputs, filters, kernel):
        return unit(inputs, filters, kernel) + (unit(inputs, filters, 1) if inputs != filters else 0)

    encoder = residual(2, 8, 7) + residual(8, 8, 3)
    for below, width in itertools.pairwise(f):
        encoder += residual(below, width, 3) + 2 * residual(width, width, 3)
    decoder = conv(8, 2, 1)
    for below, width in itertools.pairwise(reversed(f)):
        decoder += conv(below, width, 3) + unit(2 * width, width, 3) + unit(width, width, 3)
        decoder += unit(width, 8, 1) if width > 8 else 0
    branch = linear(sum(f), 128) + linear(128, 1)  # 248 pooled features
    assert parameters(on_meta(Hecktor())) == encoder + decoder + branch
    assert parameters(on_meta(Hecktor(task="survival"))) == encoder + branch
    assert parameters(on_meta(Hecktor(task="segmentation"))) == encoder + decoder


def unet2d(channels):
    f, total = [64, 128, 256, 512, 1024], 0
    for source, filters in zip([channels, *f], f, strict=False):
        total += conv(source, filters, 3, 2) + conv(filters, filters, 3, 2) + 4 * filters
    for below, filters in itertools.pairwise(reversed(f)):
        total += conv(below, filters, 1, 2)
        total += conv(2 * filters, filters, 3, 2) + conv(filters, filters, 3, 2) + 4 * filters
    return total + conv(64, 1, 1, 2)


def r_net(channels):
    total, source = 0, channels
    for filters in (16, 32, 64, 128, 256):
        total += conv(source, filters, 3, 2) + conv(filters, filters, 3, 2) + conv(source, filters, 1, 2)
        total += 4 * filters
        source = filters
    return total + linear(256 * 25, 128) + linear(128, 1)


def test_disks_networks_by_hand():
    assert parameters(on_meta(RNet(), 1)) == r_net(1)
    assert parameters(on_meta(SrNet(), 1)) == unet2d(1) + linear(1024 * 25, 128) + linear(128, 1)
    assert parameters(on_meta(SthenrNet(), 1)) == unet2d(1) + r_net(64)


@pytest.mark.parametrize(
    ("layers", "stages"), [(13, (2, 2, 2, 2, 2)), (16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4))]
)
def test_vgg_by_hand(layers, stages):
    total, source = 0, 1
    for filters, count in zip((64, 128, 256, 512, 512), stages, strict=True):
        for _ in range(count):
            total += conv(source, filters, 3)
            source = filters
    total += linear(512, 4096) + linear(4096, 4096) + linear(4096, 1)
    net = on_meta(Vgg(layers=layers), 1)
    assert parameters(net) == total
    assert convolutions(net) + 3 == layers


def test_resnet50_and_densenet169_are_monais():
    # another implementation; its ResNet keeps biases in the shortcut convolutions
    nets = pytest.importorskip("monai.networks.nets")
    with torch.device("meta"):
        resnet = nets.resnet50(spatial_dims=3, n_input_channels=1, num_classes=1, bias_downsample=False)
        densenet = nets.DenseNet169(spatial_dims=3, in_channels=1, out_channels=1)
    assert parameters(on_meta(ResNet50(), 1)) == parameters(resnet)
    assert parameters(on_meta(DenseNet169(), 1)) == parameters(densenet)


def test_inception_v3_has_94_convolutions_plus_the_third_axis():
    # 94 in the original without the auxiliary classifier (Szegedy et al. 2016, Table 1); of its
    # factorised ones, 3 pairs in each of 4 blocks B and 1 in the second reduction become threes (13
    # more), and in each of 2 blocks C 2 pairs become threes (4 more)
    assert convolutions(on_meta(InceptionV3(), 1)) == 94 + 13 + 4


def test_w_net_by_hand():
    f, encoder, source = [64, 128, 256, 512, 1024], 0, 1
    for filters in f:
        encoder += conv(source, filters, 3) + conv(filters, filters, 3)
        source = filters
    decoder = conv(64, 1, 1)
    for below, filters in itertools.pairwise(reversed(f)):
        decoder += conv(below, filters, 3) + conv(2 * filters, filters, 3) + conv(filters, filters, 3)
    classify = conv(1024, 128, 3) + linear(128 * 64, 128) + linear(128, 64) + linear(64, 1)
    local = conv(1, 64, 3) + conv(64, 64, 3) + conv(64, 128, 3) + conv(128, 128, 3)
    dense = linear(128 + 256 + 512 + 1024, 128) + linear(128, 128) + linear(128, 1)
    assert convolutions(on_meta(WNet(tasks=("classification",), losses=one_label()), 1)) == 10 + 1
    assert parameters(on_meta(WNet(), 1)) == encoder + 2 * decoder + classify + local + dense
    assert parameters(on_meta(WNet(tasks=("segmentation",)), 1)) == encoder + decoder


def one_label():
    return LossSettings(labels=("label_outcome",))


TABLE_1 = [  # T1 reconstruction, T2 segmentation, T3 classification, T4 prediction; global, tumour features
    ("14", True, False),
    ("134", True, False),
    *[("124", g, t) for g, t in ((True, False), (False, True), (True, True))],
    *[("24", g, t) for g, t in ((True, False), (False, True), (True, True))],
    *[("234", g, t) for g, t in ((True, False), (False, True), (True, True))],
    ("34", False, False),
    *[("1234", g, t) for g, t in ((True, False), (False, True), (True, True))],
]


@pytest.mark.parametrize(("tasks", "whole", "tumour"), TABLE_1)
def test_every_row_of_table_1_is_a_configuration(tasks, whole, tumour):
    names = dict(zip("1234", ("reconstruction", "segmentation", "classification", "prediction"), strict=True))
    labels = ("label_pathology", "label_outcome") if "3" in tasks else ("label_outcome",)
    settings = WNet(
        tasks=tuple(names[t] for t in tasks),
        global_features=whole,
        tumour_features=tumour,
        width=0.125,
        losses=LossSettings(labels=labels),
    )
    outputs = on_meta(settings, 1)(torch.empty(2, 1, 64, 64, 64, device="meta"))
    assert outputs["labels"].shape == (2, len(labels))
    size = {(True, False): 224, (False, True): 16, (True, True): 240, (False, False): 128}[whole, tumour]
    assert outputs["deep_features"].shape == (2, size)
    assert ("mask" in outputs, "reconstruction" in outputs) == ("2" in tasks, "1" in tasks)


def test_table_1_has_15_rows():
    assert len(TABLE_1) == 15


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (Hecktor(), (144, 144, 144)),
        (RNet(), (1, 240, 240)),
        (SrNet(), (1, 240, 240)),
        (SthenrNet(), (1, 240, 240)),
        (Mdsn(), (112, 128, 128)),
        (Dlpm(), (112, 128, 128)),
        (WNet(), (128, 128, 128)),
        (AlexNet(), (64, 64, 64)),
        (Cnn6(), (64, 64, 64)),
        (VNet(classify=True), (64, 128, 128)),
        (ChestCt(), (1, 256, 256)),
        (ChestCt(encoder="resnet50", tasks=("segmentation", "reconstruction")), (1, 256, 256)),
    ],
)
def test_shapes_at_the_papers_sizes(settings, shape):
    outputs = on_meta(settings, 1)(torch.empty(2, 1, *shape, device="meta"))
    assert set(outputs) - {"deep_features"} == settings.gives()
    if "mask" in outputs:
        assert outputs["mask"].shape == (2, *shape)
    if "reconstruction" in outputs:
        assert outputs["reconstruction"].shape == (2, 1, *shape)


@pytest.mark.parametrize(
    ("settings", "shape", "works"),
    [
        (Hecktor(), (144, 140, 144), "144 × 144 × 144"),
        (SrNet(), (1, 250, 240), "256 × 240"),
        (RNet(), (4, 64, 64), "one slice"),
        (Mdsn(), (16, 32, 32), "19 × 32 × 32"),
        (WNet(), (30, 32, 32), "32 × 32 × 32"),
    ],
)
def test_other_sizes_are_refused(settings, shape, works):
    with pytest.raises(SettingsError, match=works):
        on_meta(settings, 1)(torch.empty(2, 1, *shape, device="meta"))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WNet(tasks=("prediction",), losses=one_label()),
        lambda: WNet(losses=one_label()),
        lambda: Hecktor(task="survival", losses=LossSettings(dice=0.5)),
        lambda: Cnn6(losses=LossSettings(reconstruction=0.5)),
    ],
)
def test_settings_that_no_network_fits(wrong):
    with pytest.raises(ValueError):
        wrong()
