"""Networks by the `kind` a study gives them, each imported only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from pipeline.errors import SettingsError
from pipeline.settings.losses import TERMS
from pipeline.settings.models import read_model
from pipeline.settings.network import Network

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(settings: Network, in_channels: int, clinical: int) -> nn.Module:
    """The network a study asks for, initialised from torch's random state.

    Every network is called as ``net(image, clinical, mask)`` with image (B, C, Z, Y, X)
    (2D networks: Z = 1), clinical (B, K) or None and mask (B, Z, Y, X) or None (read only by
    networks that multiply the manual mask onto their input or detect its regions; 1, 2, … are its
    classes), and returns a dictionary with
    those of these keys that the network has:

    - ``log_hazard`` (B,), higher = worse;
    - ``mask`` (B, Z, Y, X), tumour probability in [0, 1], float32;
    - ``class_masks`` (B, K, Z, Y, X), the same of each class, with ``losses.mask_classes``, where
      ``mask`` is the probability of any of them;
    - ``deep_features`` (B, F), before dropout;
    - ``interval_logits`` (B, I), logit of the hazard in each time interval, higher = worse;
    - ``labels`` (B, L), logits;
    - ``reconstruction`` (B, C, Z, Y, X);
    - ``log_variances`` (B, T), equal rows: only with ``losses.weighting: uncertainty``.

    A method ``penalised_weights()``, where there is one, names the matrices of the L2 term.

    Args:
        settings: The model's section; its ``kind`` is the module's name.
        in_channels: Channels C of the image.
        clinical: Number K of clinical features, 0 for none.

    Raises:
        SettingsError: The network cannot be built for this number of channels or features, or it is to
            normalise batches like Keras and does not normalise them.
    """
    if in_channels < 1 or clinical < 0:
        raise SettingsError(
            "a network needs at least one image channel and no negative number of clinical features",
            where=f"kind {settings.kind}",
            got=f"{in_channels} channels, {clinical} clinical features",
        )
    net = cast("nn.Module", module_of(settings.kind).build(settings, in_channels, clinical))
    if settings.batch_norm_like == "keras":
        use_keras_batch_norm(net, settings.kind)
    if settings.losses.weighting == "uncertainty":
        learn_loss_weights(net)
    return net


def use_keras_batch_norm(net: nn.Module, kind: str) -> None:
    """Give every batch normalisation Keras' constants, in place: epsilon 1e-3, momentum 0.99.

    Keras' momentum is the share of the running statistics that stays, PyTorch's that of the batch: 0.99 is 0.01.

    Raises:
        SettingsError: The network has no batch normalisation.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    layers = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        raise SettingsError(
            f"a network of kind {kind} does not normalise batches",
            where="batch_norm_like: keras",
            action="leave batch_norm_like out of this model",
        )
    for layer in layers:
        layer.eps, layer.momentum = 1e-3, 0.01


def learn_loss_weights(net: nn.Module) -> None:
    """Give a network one log-variance per loss term (Kendall et al. 2018, section 3).

    They are parameters of the network, so that the optimizer and the checkpoint hold them; every
    forward pass returns them as ``log_variances`` (B, T), equal rows, one per patient, so that parts
    of a batch can be concatenated like any other output.
    """
    import torch
    from torch.nn import Parameter

    net.register_parameter("log_variances", Parameter(torch.zeros(len(TERMS))))

    def add_output(module: nn.Module, inputs: Any, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        first = next(iter(outputs.values()))
        values = module.get_parameter("log_variances")
        return {**outputs, "log_variances": values.expand(first.shape[0], -1)}

    net.register_forward_hook(add_output)


def module_of(kind: str) -> ModuleType:
    """The module of a kind of network, which has its name.

    Raises:
        SettingsError: There is no such module.
    """
    name = f"{__package__}.{kind}"
    if not kind.isidentifier() or importlib.util.find_spec(name) is None:
        raise SettingsError(
            f"there is no network of kind {kind!r}", expected=f"a module {name} with a function build"
        )
    return importlib.import_module(name)


def network_settings(values: Mapping[str, Any]) -> Network:
    """Settings of a network from plain values, e.g. of a checkpoint.

    Only the network's own module is imported, and with it the class of its settings: what reads them
    depends on no other network.

    Args:
        values: Settings as plain values, their ``kind`` among them.

    Raises:
        SettingsError: There is no network of that kind.
    """
    module_of(str(values["kind"]))
    return cast("Network", read_model(values))
