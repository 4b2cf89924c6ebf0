"""What every network must do, at a small size; a network that has no example here is tested by its defaults."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.losses.combined import combined_loss
from pipeline.losses.discrete_time import interval_survival
from pipeline.nets import pointwise, pooling
from pipeline.nets.registry import build
from pipeline.settings import kinds
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.deepmts import (
    BaselineMtHs,
    CnnSurvival,
    DeepMts,
    Dlpm,
    Mdsn,
    MtCasNet,
    MtHs,
    SegBackbone,
    SurCasNet,
    SurHs,
)
from pipeline.settings.networks.disks import RNet, SrNet, SthenrNet
from pipeline.settings.networks.hecktor import Hecktor
from pipeline.settings.networks.pet_multiscale import (
    AlexNet,
    ChenNet,
    Cnn6,
    DenseNet169,
    InceptionV3,
    QuNet,
    ResNet50,
    RpetNet,
    Vgg,
    VNet,
    WNet,
    WslCam,
)

CUBE, SLICE = (32, 32, 32), (1, 64, 64)
LABELS = LossSettings(labels=("label_a", "label_b"))
WNET_LOSSES = LossSettings(labels=("label_a", "label_b"), dice_form="sum")
# reconstruction costs least, as in the paper; Dice most, so that one batch is learned within a minute
WNET_ALL = WNET_LOSSES.model_copy(update={"dice": 2.0, "reconstruction": 0.2, "label_weights": (0.3, 0.3)})
EXAMPLES = [
    (DeepMts(width=0.25, map_gradient=0.0), CUBE),
    (DeepMts(width=0.25, backbone="unet", map_gradient=0.0), CUBE),
    (SegBackbone(width=0.25), CUBE),
    (SurHs(width=0.25), CUBE),
    (SurHs(width=0.25, masked=True), CUBE),
    (SurHs(width=0.25, backbone="unet"), CUBE),
    (SurCasNet(width=0.25), CUBE),
    (MtHs(width=0.25), CUBE),
    (BaselineMtHs(width=0.25), CUBE),
    (MtCasNet(width=0.25, map_gradient=0.0), CUBE),
    (MtCasNet(width=0.25, map_gradient=0.0, backbone="unet"), CUBE),
    (Hecktor(filters=2), CUBE),
    (Hecktor(filters=2, norm="batch"), CUBE),
    (Hecktor(filters=2, task="segmentation"), CUBE),
    (Hecktor(filters=2, task="survival"), CUBE),
    (RNet(width=0.5), SLICE),
    (SrNet(width=0.125), SLICE),
    (SthenrNet(width=0.125), SLICE),
    (SrNet(width=0.125, batch_norm=False), SLICE),
    (CnnSurvival(width=0.5), CUBE),
    (Mdsn(width=0.25), CUBE),
    (Dlpm(width=0.125), CUBE),
    (WNet(width=0.0625, losses=WNET_ALL), (16, 32, 32)),
    (WNet(width=0.0625, losses=WNET_LOSSES, decoder_features=True), CUBE),
    (WNet(width=0.0625, tasks=("segmentation", "prediction"), outcome="hazard"), CUBE),
    (AlexNet(width=0.0625), CUBE),
    (Vgg(width=0.0625, layers=13), CUBE),
    (ResNet50(width=0.0625, outcome="intervals"), CUBE),
    (DenseNet169(width=0.125), CUBE),
    (InceptionV3(width=0.0625, outcome="label", losses=LABELS), CUBE),
    (RpetNet(outcome="label", losses=LABELS), CUBE),
    (Cnn6(width=0.5), CUBE),
    (VNet(width=0.125), CUBE),
    (VNet(width=0.125, classify=True), CUBE),
    (ChestCt(width=0.0625, losses=LABELS), SLICE),
    (ChestCt(width=0.0625, tasks=("segmentation", "reconstruction")), SLICE),
    (ChestCt(width=0.0625, encoder="resnet50", tasks=("segmentation",)), SLICE),
    (ChestCt(width=0.125, tasks=("detection", "reconstruction")), SLICE),
    (ChestCt(width=0.0625, encoder="resnet50", tasks=("detection", "reconstruction")), SLICE),
    (ChenNet(width=0.0625), CUBE),
    (QuNet(width=0.0625), CUBE),
    (WslCam(width=0.25, losses=LossSettings(dice=0, labels=("label_a",))), CUBE),
    (WslCam(width=0.25, outcome="label", losses=LossSettings(dice=0, labels=("label_a", "label_b"))), CUBE),
]


def by_default(kind):
    """A quarter of the filters, where their number can be set."""
    settings = kind(width=0.25) if "width" in kind.model_fields else kind()
    return settings, SLICE if kind.is_flat else CUBE


LISTED = {type(settings) for settings, _ in EXAMPLES}
NETWORKS = [*EXAMPLES, *(by_default(kind) for kind in kinds.NETWORKS if kind not in LISTED)]
IDS = [f"{s.kind}-{number}" for number, (s, _) in enumerate(NETWORKS)]


def fresh(settings, clinical=1, seed=0):
    torch.manual_seed(seed)
    return build(settings, 2, clinical if settings.takes_clinical else 0)


def batch(shape, size=4):
    """Patients whose hazard is the size of a bright ball, which is also the mask."""
    torch.manual_seed(1)
    z, y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in shape), indexing="ij"
    )
    radii = torch.linspace(0.3, 0.8, size)
    mask = ((z**2 + y**2 + x**2).sqrt()[None] < radii[:, None, None, None]).float()
    image = 0.3 * torch.randn(size, 2, *shape) + mask[:, None]
    targets = {
        "mask": mask,
        "image": image,
        "time": torch.linspace(3000, 200, size),  # the largest fails first
        "event": torch.ones(size),
        "label_a": (torch.arange(size) >= size // 2).float(),
        "label_b": (torch.arange(size) % 2).float(),
    }
    return image, torch.zeros(size, 1), mask, targets


def visible(outputs):
    """Outputs but for features and for what only the loss of a detection reads."""
    return {name for name in outputs if name != "deep_features" and not name.startswith("detection_")}


def risk_of(outputs):
    if "interval_logits" in outputs:
        return -interval_survival(outputs["interval_logits"]).sum(1)  # what follows an event is not learned
    return outputs["log_hazard"]


# Operators that raise an error on CUDA in deterministic mode: documentation of
# `torch.use_deterministic_algorithms` in PyTorch 2.11 (MaxPool3d among them) and 2.13.
UNREPEATABLE = {
    "aten.max_pool2d_with_indices_backward",
    "aten.max_pool3d_with_indices_backward",
    "aten.avg_pool3d_backward",
    "aten._adaptive_avg_pool2d_backward",
    "aten._adaptive_avg_pool3d_backward",
    "aten.adaptive_max_pool2d_backward",
    "aten.adaptive_max_pool3d_backward",
    "aten.upsample_bilinear2d_backward",
    "aten.upsample_trilinear3d_backward",
    "aten.grid_sampler_2d_backward",
    "aten.grid_sampler_3d_backward",
    "aten.reflection_pad2d_backward",
    "aten.reflection_pad3d_backward",
    "aten.nll_loss2d_forward",
    "aten.put_",
    "aten.histc",
    "aten.bincount",
    "aten.median",
    "aten.kthvalue",
    "aten.cumsum of fractions",
}


class Called(TorchDispatchMode):
    """Notes which operators run, forwards and backwards."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func.overloadpacket)
        if name == "aten.cumsum" and args[0].is_floating_point():
            name += " of fractions"
        # A voxel of windows that do not overlap has one gradient at most: there is no order of additions.
        if name.startswith("aten.max_pool") and name.endswith("_backward"):
            kernel, stride = args[2:4]
            name += " of windows apart" if all(s >= k for k, s in zip(kernel, stride, strict=True)) else ""
        self.names.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("settings", "shape"), NETWORKS, ids=IDS)
class TestEvery:
    def test_outputs_are_those_declared(self, settings, shape):
        image, clinical, mask, _ = batch(shape)
        outputs = fresh(settings)(image, clinical, mask)
        assert settings.gives() == visible(outputs)
        for name, dims in (("log_hazard", ()), ("mask", shape), ("reconstruction", (2, *shape))):
            if name in outputs:
                assert outputs[name].shape == (4, *dims)
        if "mask" in outputs:
            assert outputs["mask"].dtype == torch.float32
            assert 0 <= outputs["mask"].min() <= outputs["mask"].max() <= 1

    def test_every_parameter_gets_a_finite_gradient(self, settings, shape):
        image, clinical, mask, targets = batch(shape)
        net = fresh(settings).eval()  # without dropout, which may silence a unit by chance
        loss, _ = combined_loss(net(image, clinical + 1, mask), targets, settings.losses)
        loss.backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name

    def test_a_patient_does_not_depend_on_the_batch(self, settings, shape):
        # in float64: normalisation of few voxels magnifies float32 rounding beyond any honest limit
        image, clinical, mask, _ = batch(shape)
        image, clinical, mask = image.double(), clinical.double(), mask.double()
        net = fresh(settings).double()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
                module.momentum = None  # the mean of all batches seen: of this one
        net(image, clinical, mask)
        net.eval()
        together, alone = net(image, clinical, mask), net(image[:1], clinical[:1], mask[:1])
        for name, value in together.items():
            assert torch.allclose(value[:1], alone[name], atol=1e-5, rtol=0), name

    def test_state_dict_round_trip(self, settings, shape):
        image, clinical, mask, _ = batch(shape)
        net, other = fresh(settings), fresh(settings, seed=9)
        net(image, clinical, mask)
        other.load_state_dict(net.state_dict())
        net.eval()
        other.eval()
        ours, theirs = net(image, clinical, mask), other(image, clinical, mask)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_deterministic_under_a_seed(self, settings, shape):
        image, clinical, mask, _ = batch(shape)
        runs = []
        for _ in range(2):
            net = fresh(settings)
            runs.append(net(image, clinical, mask))
        assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])

    def test_deterministic_mode_meets_no_operator_without_such_a_form(self, settings, shape, monkeypatch):
        """A processor stands in for an accelerator: which operators are called does not depend on it."""
        for module in (pooling, pointwise):
            monkeypatch.setattr(module, "must_be_deterministic", lambda x: True)
        image, clinical, mask, targets = batch(shape)
        net = fresh(settings)
        with Called() as called:
            loss, _ = combined_loss(net(image, clinical, mask), targets, settings.losses)
            loss.backward()
        assert "aten.convolution_backward" in called.names
        assert called.names & UNREPEATABLE == set()

    def test_bf16_autocast_stays_close(self, settings, shape):
        # before any training: running statistics of a few voxels would magnify rounding
        image, clinical, mask, _ = batch(shape)
        net = fresh(settings).eval()
        with torch.no_grad():
            exact = net(image, clinical, mask)
            with torch.autocast("cpu", torch.bfloat16):
                rough = net(image, clinical, mask)
        for name in visible(exact) - {"detection"}:  # the order of boxes cannot be compared as a number
            assert rough[name].dtype == torch.float32, name
            limit = 0.02 if name == "mask" else 0.1 * exact[name].abs().mean()
            assert (rough[name] - exact[name]).abs().mean() <= limit, name


ENOUGH = {"wsl_cam": 0.7}
"""Dice to reach where it is not 0.95: no mask is learned from, only its centre (published: 0.73, 0.77)."""

RATES = {"v_net": 1e-3, "w_net": 1e-3}
"""Learning rates where 3e-3 is too much: these have no normalisation, and their map dies."""


def overfit(settings, shape, steps, seed=0):
    """Whether one batch is learned: Dice above 0.95, the right order of risks, right labels.

    The network stays in training mode but for dropout: its running statistics lag behind.
    """
    image, clinical, mask, targets = batch(shape)
    net = fresh(settings, seed=seed)
    optimizer = torch.optim.Adam(net.parameters(), RATES.get(settings.kind, 3e-3))
    for step in range(steps):
        optimizer.zero_grad()
        loss, _ = combined_loss(net(image, clinical, mask), targets, settings.losses)
        loss.backward()
        optimizer.step()
        if step % 20 == 19 and learned(net, settings, image, clinical, mask, targets):
            return True
    return False


def learned(net, settings, image, clinical, mask, targets):
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout3d):
            module.eval()
    with torch.no_grad():
        outputs = net(image, clinical, mask)
    net.train()
    right = True
    if "mask" in outputs:
        hard = (outputs["mask"] > 0.5).float()
        dice = 2 * (hard * mask).sum() / (hard.sum() + mask.sum())
        right &= bool(dice > ENOUGH.get(settings.kind, 0.95))
    if "log_hazard" in outputs or "interval_logits" in outputs:
        right &= bool((risk_of(outputs).diff() > 0).all())
    if "labels" in outputs:
        truth = torch.stack([targets[name] for name in settings.losses.labels], 1)
        right &= bool(((outputs["labels"] > 0) == (truth > 0)).all())
    return right


def test_deepmts_overfits_one_batch():
    assert overfit(DeepMts(width=0.25, map_gradient=0.0), CUBE, 80)


@pytest.mark.nightly
@pytest.mark.parametrize(("settings", "shape"), NETWORKS, ids=IDS)
def test_compiles_whole(settings, shape):
    """`torch.compile` traces every network and the traced one gives the same to 1e-4 of its largest value."""
    image, clinical, mask, _ = batch(shape)
    net = fresh(settings).eval()
    torch.compiler.reset()
    compiled = torch.compile(net, backend="aot_eager")
    with torch.no_grad():
        exact, got = net(image, clinical, mask), compiled(image, clinical, mask)
    for name in visible(exact):
        limit = 1e-4 * max(1.0, float(exact[name].abs().max()))
        assert torch.allclose(exact[name], got[name], atol=limit, rtol=0), name


@pytest.mark.nightly
@pytest.mark.parametrize(("settings", "shape"), NETWORKS, ids=IDS)
def test_overfits_one_batch(settings, shape):
    # Other processors round otherwise, and a few starts die where there is no normalisation.
    assert any(overfit(settings, shape, 600, seed) for seed in range(3))


def test_uncertainty_weights_are_learned():
    settings = DeepMts(width=0.25, losses=LossSettings(weighting="uncertainty"))
    image, clinical, mask, targets = batch(CUBE)
    net = fresh(settings)
    outputs = net(image, clinical, mask)
    assert outputs["log_variances"].shape == (4, 10)
    loss, _ = combined_loss(outputs, targets, settings.losses, net.penalised_weights())
    loss.backward()
    learned = net.log_variances.grad
    assert (learned[:2] != 0).all()
    assert (learned[2:] == 0).all()
