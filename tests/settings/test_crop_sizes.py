"""Sizes of crops that networks refuse, told by settings alone, are those that the networks refuse."""

from __future__ import annotations

import importlib

import pytest
import torch

from pipeline.errors import SettingsError
from pipeline.nets.registry import build
from pipeline.settings.crop_sizes import memory_problems, size_problems, size_rule
from pipeline.settings.kinds import NETWORKS as CLASSES
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.deepmts import DeepMts, SurCasNet, SurHs

NETWORKS = {network.model_fields["kind"].default: network for network in CLASSES}
FAMILY = ("deepmts", "baseline_mt_hs", "mt_hs", "mt_casnet", "seg_backbone", "sur_hs", "sur_casnet")


@pytest.mark.parametrize(
    "kind", sorted(set(NETWORKS) - {*FAMILY, "chest_ct", "r_net", "sr_net", "sthenr_net"})
)
def test_the_table_has_the_constants_of_the_networks(kind: str) -> None:
    module = importlib.import_module(f"pipeline.nets.{kind}")
    constants = {name: value for name, value in vars(module).items() if name in ("DIVISOR", "SMALLEST_SIDE")}
    divisor = constants.get("DIVISOR", 1)
    rule = size_rule(NETWORKS[kind]())
    assert constants and (rule.divisor, rule.smallest) == (
        divisor,
        max(divisor, constants.get("SMALLEST_SIDE", 1)),
    )


@pytest.mark.parametrize("kind", ["r_net", "sr_net", "sthenr_net"])
def test_networks_of_disks_share_one_constant(kind: str) -> None:
    from pipeline.nets.disks import DIVISOR

    rule = size_rule(NETWORKS[kind]())
    assert (rule.divisor, rule.is_flat) == (DIVISOR, True)


def test_the_chest_ct_network_depends_on_its_encoder() -> None:
    from pipeline.nets.chest_ct import DIVISOR

    assert {encoder: size_rule(ChestCt(encoder=encoder)).divisor for encoder in DIVISOR} == DIVISOR


@pytest.mark.parametrize("kind", FAMILY)
def test_the_family_of_deepmts_refuses_what_the_table_refuses(kind: str) -> None:
    """Each network, built with few filters, is asked about sizes around its limits; nothing is computed."""
    settings = NETWORKS[kind](width=0.125)
    with torch.device("meta"):
        net = build(settings, 2, 0)
        for side in (8, 16, 18, 19, 20, 24, 25, 32):
            fits = size_rule(settings).fitting((side,) * 3) == (side,) * 3
            image = torch.empty(1, 2, side, side, side)
            if fits:
                net._check(image)
            else:
                with pytest.raises(SettingsError, match="size does not fit"):
                    net._check(image)


def test_the_size_that_is_proposed_is_the_next_one() -> None:
    """By hand: multiples of 8 of at least 19 begin at 24."""
    (problem,) = size_problems({"net": DeepMts()}, (30, 8, 32))
    assert "set crop.shape: [32, 24, 32]" in str(problem)
    assert not list(size_problems({"net": DeepMts(), "hs": SurHs()}, (24, 24, 24)))
    assert not list(size_problems({"net": SurCasNet()}, (19, 20, 21)))
    # Multiples of 8 and of 16, both at least 19.
    (problem,) = size_problems({"net": DeepMts(), "v": NETWORKS["v_net"](), "hs": SurHs()}, (24, 40, 48))
    assert "network 'v' (v_net); " in str(problem) and "set crop.shape: [32, 48, 48]" in str(problem)
    (problem,) = size_problems({"net": ChestCt(encoder="vgg13")}, (4, 100, 96))
    assert "set crop.shape: [1, 112, 96]" in str(problem)


def test_a_crop_of_millimetres_is_refused_and_a_whole_body_is_not() -> None:
    """2,000 × 512 × 512 voxels of two channels: 10 bytes a voxel, 4.9 GiB."""
    assert not list(memory_problems((2000, 512, 512), 2, 0))
    (problem,) = memory_problems((2000, 2000, 2000), 2, 0)
    assert "75 GiB" in str(problem)
