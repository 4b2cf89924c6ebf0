"""The table of networks: complete, in step with the page, its operations counted by hand."""

from pathlib import Path

import pytest

from pipeline.nets.catalogue import ENTRIES, PAGE, flop, renewed
from pipeline.settings.kinds import NETWORKS

ROOT = Path(__file__).resolve().parents[2]


def entry(row):
    return next(each for each in ENTRIES if each.row == row)


def conv(inputs, filters, kernel, voxels):
    """Multiply-adds count twice; the bias not (torch's counter)."""
    return 2 * inputs * filters * kernel**3 * voxels


def test_every_kind_is_listed():
    assert {type(each.settings) for each in ENTRIES} == set(NETWORKS)


def test_operations_by_hand():
    side = 128**3
    layers = [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    six = sum(conv(a, b, 3, side // 8 ** (i // 2)) for i, (a, b) in enumerate(layers))
    assert flop(entry("3 6 layers CNN")) == six + 2 * (128 * 128 + 128)
    rpet = conv(1, 16, 5, side) + conv(16, 32, 5, side // 8) + 2 * (32 * 64 * 64 + 64)
    assert flop(entry("3 3D-RPET-NET")) == rpet
    # AlexNet: 11³ by strides of 4 from 128 + 2·2, then poolings 31 → 15 → 7
    alex = conv(1, 96, 11, 31**3) + conv(96, 256, 5, 15**3)
    alex += (conv(256, 384, 3, 1) + conv(384, 384, 3, 1) + conv(384, 256, 3, 1)) * 7**3
    assert flop(entry("3 AlexNet")) == alex + 2 * (256 * 8 * 4096 + 4096 * 4096 + 4096)


def test_operations_of_detection_are_its_heads_by_hand():
    def flat(inputs, filters, kernel, pixels):
        return 2 * inputs * filters * kernel**2 * pixels

    heads = flat(512, 512, 3, 256) + flat(512, 12 + 48, 1, 256)
    heads += 64 * 2 * (512 * 49 * 1024 + 1024 * 1024 + 1024 * (4 + 12))
    masks = flat(512, 256, 3, 196) + 3 * flat(256, 256, 3, 196)
    masks += flat(256, 256, 2, 196) + flat(256, 3, 1, 28 * 28)
    both = flop(entry("Fig. 3 detection, reconstruction"))
    classify = flop(entry("2 classification, reconstruction"))
    dense = 2 * (512 * 16 * 512 + 512 * 128 + 128 * 3)
    assert both == classify - dense + heads + 16 * masks


def test_deepmts_is_81_gflop():
    assert flop(entry("II–IV DeepMTS")) == pytest.approx(81e9, rel=0.01)  # the authors' code


def test_the_page_is_in_step():
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page == renewed(page, ROOT), "run `make settings`"
