"""A network of a part of the cohort sees and predicts that part only; weights of elsewhere are recorded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from pipeline.errors import SettingsError, TrainingError
from pipeline.settings.networks.deepmts import SegBackbone
from pipeline.settings.networks.disks import RNet
from pipeline.settings.root import load_settings
from pipeline.settings.training import TrainingSettings
from pipeline.tables.splits import Splits, read_splits, write_splits
from pipeline.training.context import FoldJob
from pipeline.training.pretrained import start_from_pretrained, weights_file
from pipeline.training.train_fold import fold_caveats, inherited_caveats, train_fold
from tests.training.synthetic_study import context_of, job, study

__all__ = ["job", "study"]
NETWORK = SegBackbone(width=0.25, subset="odd")


@pytest.fixture
def parted(study: Path, tmp_path: Path) -> Path:
    """The study's splits, with every second patient in the subset `odd`."""
    splits = read_splits(study / "splits.json")
    everyone = sorted({p for ids in splits.sets(0).values() for p in ids})
    path = tmp_path / "splits.json"
    write_splits(path, Splits(splits.folds, splits.external, splits.seed, {"odd": tuple(everyone[1::2])}))
    return path


def test_only_the_subset_is_trained_on_and_predicted(
    job: Callable[..., FoldJob], parted: Path, tmp_path: Path
) -> None:
    training = {"balance_events": False, "iterations": 2, "outputs": ("masks",)}
    train_fold(job(network=NETWORK, splits=parted, **training), tmp_path / "fold0")
    table = pd.read_parquet(tmp_path / "fold0" / "predictions.parquet").set_index("patient_id")
    splits = read_splits(parted)
    for name, ids in splits.sets(0).items():
        expected = set(ids) & set(splits.subsets["odd"])
        assert set(table.index[table["set"] == name]) == expected and expected
    assert json.loads((tmp_path / "fold0" / "model.json").read_text())["patients"]["external"] == 2


def test_a_subset_without_patients_is_told(job: Callable[..., FoldJob], parted: Path) -> None:
    work = job(network=SegBackbone(width=0.25, subset="even"), splits=parted, balance_events=False)
    with pytest.raises(TrainingError, match="no usable patient is of the subset.*expected: odd; got: even"):
        context_of(work)


def test_weights_of_elsewhere_are_taken_recorded_and_told(
    job: Callable[..., FoldJob], tmp_path: Path
) -> None:
    first = job(network=SegBackbone(width=0.25), iterations=1, outputs=("masks",), model="first")
    train_fold(first, tmp_path / "first")
    alone = tmp_path / "elsewhere" / "weights.pt"
    alone.parent.mkdir()
    shutil.copyfile(tmp_path / "first" / "checkpoint.pt", alone)
    assert weights_file(str(alone)) == alone and weights_file([]) is None
    assert weights_file(str(tmp_path / "first")) == tmp_path / "first" / "checkpoint.pt"
    second = job(
        network=SegBackbone(width=0.25), iterations=1, outputs=("masks",), initial=alone, model="second",
        pretrained_from=str(alone), work=tmp_path / "work2",
    )  # fmt: skip
    net = context_of(second).net.state_dict()
    other = context_of(first).net
    assert not start_from_pretrained(other, alone), "every weight fits"
    assert all(torch.equal(net[name], value) for name, value in other.state_dict().items())
    train_fold(second, tmp_path / "second")
    about = json.loads((tmp_path / "second" / "model.json").read_text())
    assert about["initial_weights"]["sha256"] == hashlib.sha256(alone.read_bytes()).hexdigest()
    assert "weights of elsewhere" in about["caveats"][0]
    assert "initial_weights" not in json.loads((tmp_path / "first" / "model.json").read_text())


def test_what_the_start_has_seen_is_told_of_the_network_that_starts_from_it(tmp_path: Path) -> None:
    """By hand: a (best_test, from a file) → b → c; what concerns a's own risks alone stays with a."""
    checkpoint = tmp_path / "checkpoint.pt"
    own = fold_caveats(
        TrainingSettings(checkpoint_selection="best_test", pretrained_from="x/w.pt"),
        {"validation": []},
        ranks=True,
    )
    (tmp_path / "model.json").write_text(json.dumps({"caveats": own}))
    of_b = inherited_caveats(TrainingSettings(pretrained_from="a"), checkpoint)
    assert len(own) == 3 and of_b == [f"training started from a, of which: {text}" for text in own[:2]]
    (tmp_path / "model.json").write_text(json.dumps({"caveats": of_b}))
    of_c = inherited_caveats(TrainingSettings(pretrained_from="b"), checkpoint)
    assert of_c[1] == (
        "training started from b, of which: training started from a, of which: the epoch was chosen on the "
        "test fold that is reported"
    )
    assert not inherited_caveats(TrainingSettings(pretrained_from="x/w.pt"), checkpoint)
    assert not inherited_caveats(TrainingSettings(), None)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"net": {"kind": "r_net", "subset": "odd"}}, "predicts survival and has a subset"),
        (
            {"net": {"kind": "seg_backbone", "subset": "a"},
             "cox": {"kind": "lasso_cox", "features": ["*"], "contour": "predicted", "contour_network": "net"}},
            "has a subset, and other models need",
        ),
        ({"net": {"kind": "seg_backbone", "training": {"pretrained_from": "other"}}}, "with a `/`"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_or_found_is_refused(models: dict[str, Any], message: str) -> None:
    config = {
        "study": {"name": "test"},
        "cohort": {"table": "x.csv", "source": "nifti"},
        "models": models,
    }
    with pytest.raises(SettingsError, match=message):
        load_settings(config)
    assert RNet(subset="").subset == ""


def test_a_path_of_weights_is_no_name_of_a_network() -> None:
    config = {
        "study": {"name": "test"},
        "cohort": {"table": "x.csv", "source": "nifti"},
        "models": {
            "net": {"kind": "seg_backbone", "training": {"pretrained_from": "results/a/models/b/fold{fold}"}}
        },
    }
    assert load_settings(config).training_of("net").pretrained_from.endswith("fold{fold}")
