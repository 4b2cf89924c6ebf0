"""Parts that several networks share, where a number could be lost."""

import pytest
import torch

from pipeline.errors import SettingsError
from pipeline.nets.blocks import Linear, join_clinical
from pipeline.nets.registry import build
from pipeline.settings.networks.deepmts import MtHs
from pipeline.settings.networks.pet_multiscale import AlexNet


def test_bf16_keeps_apart_what_differs_little() -> None:
    # By hand: around 100 neighbouring bfloat16 numbers are 0.5 apart, float32's 8e-6.
    layer = Linear(1, 1)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.constant_(layer.bias, 100.0)
    x = torch.tensor([[0.01], [0.02], [0.03]])
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        tied = torch.nn.functional.linear(x, layer.weight, layer.bias)
    assert tied.unique().numel() == 1  # what the plain layer makes of it
    assert y.dtype == torch.float32 and torch.allclose(y, x + 100.0, atol=1e-5, rtol=0)
    assert (y.diff(dim=0) > 0).all()


def test_a_networks_risks_stay_apart_under_bf16() -> None:
    # The same image with clinical values 0.001 apart: bfloat16 would round both them and the sum.
    torch.manual_seed(0)
    net = build(MtHs(width=0.125), 1, 1).eval()
    torch.nn.init.constant_(net.head.last.bias, 20.0)
    image = torch.randn(1, 1, 32, 32, 32).expand(4, -1, -1, -1, -1)
    clinical = torch.tensor([[1.000], [1.001], [1.002], [1.003]])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(image, clinical)["log_hazard"].unique().numel() == 4


def test_clinical_features_are_joined_as_they_are() -> None:
    clinical = torch.tensor([[1.001]])
    assert torch.equal(join_clinical(torch.zeros(1, 2), clinical, 1)[:, 2:], clinical)


def test_batches_are_normalised_as_keras_does_where_asked_for() -> None:
    # tf.keras.layers.BatchNormalization's defaults: epsilon 0.001, momentum 0.99, of which the batch has 0.01.
    net = build(MtHs(width=0.125, batch_norm_like="keras"), 1, 0)
    layers = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert len(layers) > 20 and {(m.eps, m.momentum) for m in layers} == {(1e-3, 0.01)}
    x = 2 * torch.randn(4, layers[0].num_features, 8, 8, 8) + 3
    y = layers[0].train()(x)
    mean, variance = x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4), unbiased=False)
    by_hand = (x - mean[:, None, None, None]) / torch.sqrt(variance + 1e-3)[:, None, None, None]
    assert torch.allclose(y, by_hand, atol=1e-4)
    assert torch.allclose(layers[0].running_mean, 0.01 * mean, atol=1e-6)
    plain = build(MtHs(width=0.125), 1, 0)
    assert {m.eps for m in plain.modules() if isinstance(m, torch.nn.BatchNorm3d)} == {1e-5}
    with pytest.raises(SettingsError, match="does not normalise batches"):
        build(AlexNet(batch_norm_like="keras", losses={"labels": ["label_a"]}), 1, 0)
