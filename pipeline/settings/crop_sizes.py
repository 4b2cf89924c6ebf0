"""Which sizes of a crop each network takes, known before anything is cut and without torch.

The networks themselves refuse other sizes; a test holds this table against their constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import SettingsError
from pipeline.settings.network import Network
from pipeline.settings.networks.chest_ct import ChestCt

_DIVISOR = {
    "baseline_mt_hs": 8, "chen_net": 32, "cnn_survival": 8, "deepmts": 8, "hecktor": 16, "mt_casnet": 8,
    "mt_hs": 8, "qu_net": 32, "r_net": 16, "seg_backbone": 8, "sr_net": 16, "sthenr_net": 16,
    "sur_hs": 8, "v_net": 16, "w_net": 16,
}  # fmt: skip
"""What every side is a multiple of, where halvings must come out even."""
_SMALLEST = {
    "alexnet": 31, "cnn6": 8, "deepmts": 19, "densenet169": 32, "dlpm": 6, "inception_v3": 32, "mdsn": 19,
    "mt_casnet": 19, "resnet50": 16, "rpet_net": 4, "sur_casnet": 19, "vgg": 32, "wsl_cam": 8,
}  # fmt: skip
"""The least side that leaves something after every pooling."""
_OF_ENCODER = {"vgg13": 16, "resnet50": 32}
"""Multiples by the encoder of the chest CT network."""
MOST_NAMED = 5
"""Networks that a message names at most."""
MOST_CROP_GIB = 32.0
"""A crop that takes more, in float32, is a slip of the pen: a whole body at 1 mm takes 4."""


@dataclass(frozen=True)
class SizeRule:
    """Sizes that a network takes.

    Attributes:
        divisor: What every side is a multiple of.
        smallest: The least side.
        is_flat: Whether there must be one slice, whose two other sides the rule is about.
    """

    divisor: int
    smallest: int
    is_flat: bool

    def fitting(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The nearest size upwards that the network takes; the same size where it does."""
        sides = tuple(self.divisor * -(-max(side, self.smallest) // self.divisor) for side in shape)
        return (1, *sides[1:]) if self.is_flat else sides

    def in_words(self) -> str:
        """The rule, for messages."""
        least = self.divisor * -(-self.smallest // self.divisor)
        multiple = f"a multiple of {self.divisor} and " if self.divisor > 1 else ""
        slices = "one slice, then " if self.is_flat else ""
        return f"{slices}every side {multiple}at least {least}"


def size_rule(network: Network) -> SizeRule:
    """Sizes that a network takes as it is set."""
    divisor = _OF_ENCODER[network.encoder] if isinstance(network, ChestCt) else _DIVISOR.get(network.kind, 1)
    return SizeRule(divisor, max(divisor, _SMALLEST.get(network.kind, 1)), network.is_flat)


def size_problems(networks: Mapping[str, Network], shape: tuple[int, ...]) -> Iterator[SettingsError]:
    """Networks that would refuse the study's crops, in one message with the size that all networks take.

    Args:
        networks: Networks by the name the study gives them.
        shape: `crop.shape`, voxels (z, y, x).
    """
    rules = {name: size_rule(network) for name, network in networks.items()}
    refusing = [name for name, rule in rules.items() if rule.fitting(shape) != tuple(shape)]
    if not refusing:
        return
    named = ", ".join(f"{name!r} ({networks[name].kind})" for name in refusing[:MOST_NAMED])
    more = f" and {len(refusing) - MOST_NAMED} more" if len(refusing) > MOST_NAMED else ""
    common = _fitting_all(list(rules.values()), shape)
    yield SettingsError(
        f"the crop's size does not fit the network{'s' if len(refusing) > 1 else ''} {named}{more}",
        where="crop.shape",
        expected=rules[refusing[0]].in_words(),
        got=_listed(shape),
        action=f"set crop.shape: {_listed(common)}, or choose other networks"
        if common
        else "make a study of its own of the networks of single slices",
    )


def _fitting_all(rules: Sequence[SizeRule], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The nearest size upwards that all networks take; empty where some take volumes and some slices."""
    if len({rule.is_flat for rule in rules}) > 1:
        return ()
    common = SizeRule(
        math.lcm(*(rule.divisor for rule in rules)), max(rule.smallest for rule in rules), rules[0].is_flat
    )
    return common.fitting(shape)


def memory_problems(shape: tuple[int, ...], channels: int, margin: int) -> Iterator[SettingsError]:
    """A crop that no memory holds.

    Args:
        shape: `crop.shape`, voxels (z, y, x).
        channels: Images that it holds.
        margin: Voxels beyond it on each side.
    """
    voxels = math.prod(side + 2 * margin for side in shape)
    gib = voxels * (4 * channels + 2) / 2**30
    if gib > MOST_CROP_GIB:
        yield SettingsError(
            "one patient's crop takes more memory than computers have",
            where="crop.shape",
            expected=f"at most {MOST_CROP_GIB:g} GiB a patient",
            got=f"{_listed(shape)}, {gib:,.0f} GiB",
            action="give the number of voxels, not millimetres or all slices; usual are 64 to 256 a side",
        )


def _listed(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
