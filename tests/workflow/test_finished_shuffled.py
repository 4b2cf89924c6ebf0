"""A network trained on shuffled outcomes of the finished demo predicts nothing.

The same images, folds and settings; only who has which outcome is drawn anew. Were a
patient's own outcome to reach its prediction, the C-index would stay above chance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

RESULTS = Path(__file__).resolve().parents[2] / "results" / "phantom"
pytestmark = [
    pytest.mark.finished,
    pytest.mark.nightly,
    pytest.mark.timeout(1800),  # trains a network, which takes minutes
    pytest.mark.skipif(
        not (RESULTS / "report" / "index.html").exists(), reason="no finished demo: run make demo"
    ),
]


def shuffled(outcomes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Times and events dealt anew within each set, so that numbers of events stay."""
    draw = np.random.default_rng(seed)
    parts = []
    for _, part in outcomes.groupby("set", sort=True):
        dealt = part.copy()
        order = draw.permutation(len(part))
        dealt[["time_days", "event"]] = part[["time_days", "event"]].to_numpy()[order]
        parts.append(dealt.astype({"event": "int64"}))
    return pd.concat(parts).loc[outcomes.index]


def test_one_shuffled_network_run_shows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.metrics.concordance import concordance_index
    from pipeline.settings.demo_study import phantom_study
    from pipeline.settings.network import Network
    from pipeline.settings.root import merge_training
    from pipeline.training.context import FoldJob
    from pipeline.training.train_fold import train_fold

    study = phantom_study()
    outcomes = shuffled(pd.read_parquet(RESULTS / "cohort.parquet"), seed=11)
    outcomes.to_parquet(tmp_path / "cohort.parquet")
    network = study.models["deepmts"]
    assert isinstance(network, Network)
    training = merge_training(
        study.training, {"iterations": 150, "validate_every": 50, "checkpoint_every": 150}
    )
    job = FoldJob(
        "deepmts", network, training, RESULTS / "crops", tmp_path / "cohort.parquet", RESULTS / "splits.json",
        0, (365.25,), study.study.seed, 2, tmp_path / "work",
    )  # fmt: skip
    train_fold(job, tmp_path / "fold0")
    predictions = pd.read_parquet(tmp_path / "fold0" / "predictions.parquet").set_index("patient_id")
    unseen = predictions[predictions["set"].isin(["test", "external"])]
    truth = outcomes.loc[unseen.index]
    c_index = concordance_index(
        truth["time_days"].to_numpy(), truth["event"].to_numpy(), unseen["risk"].to_numpy()
    )
    # SD of the C-index under no association, from 500 permutations of these very risks.
    draw = np.random.default_rng(3)
    null = [
        concordance_index(
            truth["time_days"].to_numpy(),
            truth["event"].to_numpy(),
            draw.permutation(unseen["risk"].to_numpy()),
        )
        for _ in range(500)
    ]
    with capsys.disabled():
        print(
            f"\n  shuffled network: C-index unseen {c_index:.3f}, chance 0.5 ± {np.std(null):.3f}",
            end="",
        )
    assert abs(c_index - 0.5) < 2.6 * float(np.std(null))
