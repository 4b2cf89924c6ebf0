"""A network that is to learn masks of nobody is refused before its first step."""

from __future__ import annotations

import pytest

from pipeline.errors import TrainingError
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.deepmts import MtHs, SegBackbone, SurHs
from pipeline.store.crops import read_crop, write_crop
from pipeline.tables.splits import read_splits
from pipeline.training.context import load_fold
from pipeline.training.device import choose_device


def test_nobody_with_a_contour_is_told(job, study, tmp_path) -> None:
    train = read_splits(study / "splits.json").folds[0].train
    for path in sorted((study / "crops").glob("*.zarr")):
        stored = read_crop(path)
        # Validation patients with contours teach a network nothing.
        kept = None if path.stem in train else stored.mask
        write_crop(
            tmp_path / "crops" / path.name, type(stored)(stored.image, kept, stored.inside, stored.attributes)
        )
    without = {"crops": tmp_path / "crops"}
    device = choose_device(job().training)
    message = r"learn masks, and no training patient has a contour.*losses\.dice.*12 training patients|none with one"
    for network in (SegBackbone(width=0.25), MtHs(width=0.25)):
        with pytest.raises(TrainingError, match=message):
            load_fold(job(network=network, **without), device)
    # A network without mask, or whose loss leaves it out, trains.
    load_fold(job(network=SurHs(width=0.25), **without), device)
    load_fold(job(network=MtHs(width=0.25, losses=LossSettings(dice=0.0)), **without), device)
    load_fold(job(network=SegBackbone(width=0.25)), device)
