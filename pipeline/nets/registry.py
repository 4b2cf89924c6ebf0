"""Networks by the `kind` a study gives them, each imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from pipeline.errors import SettingsError
from pipeline.settings.network import Network

if TYPE_CHECKING:
    from torch import nn


def build(settings: Network, in_channels: int, clinical: int) -> nn.Module:
    """The network a study asks for, freshly initialised from torch's random state.

    Every network is called as ``net(image, clinical, mask)`` with image (B, C, Z, Y, X)
    (2D networks: Z = 1), clinical (B, K) or None and mask (B, Z, Y, X) or None (read only by
    networks that multiply the manual mask onto their input), and returns a dictionary with
    those of these keys that the network has:

    - ``log_hazard`` (B,), higher = worse;
    - ``mask`` (B, Z, Y, X), tumour probability in [0, 1], float32;
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
        SettingsError: The network cannot be built for this number of channels or features.
    """
    if in_channels < 1 or clinical < 0:
        raise SettingsError(
            "a network needs at least one image channel and no negative number of clinical features",
            where=f"kind {kind_of(settings)}",
            got=f"{in_channels} channels, {clinical} clinical features",
        )
    module = importlib.import_module(f"{__package__}.{kind_of(settings)}")
    net = cast("nn.Module", module.build(settings, in_channels, clinical))
    if settings.losses.weighting == "uncertainty":
        from pipeline.nets.weights import learn_loss_weights

        learn_loss_weights(net)
    return net


def kind_of(settings: Network) -> str:
    """The discriminator of a network's settings, e.g. ``deepmts``."""
    return str(getattr(settings, "kind", type(settings).__name__))
