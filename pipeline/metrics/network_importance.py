"""Importance of a network's inputs: the fall of the held-out C-index where one is another patient's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.metrics.predictions import RiskPredictions
from pipeline.tables.predictions import PERMUTED_RISKS, read_permuted_risks
from pipeline.tables.status import read_whole

if TYPE_CHECKING:
    import pandas as pd


def read_permuted(folders: Sequence[str | Path]) -> pd.DataFrame | None:
    """Risks under permuted inputs of all folds, from the folders of a network's folds; None without folders.

    Raises:
        TableError: A fold has no such file.
    """
    if not folders:
        return None
    import pandas as pd

    for folder in folders:
        read_whole(Path(folder), PERMUTED_RISKS)
    return pd.concat(
        [read_permuted_risks(Path(folder) / PERMUTED_RISKS) for folder in folders], ignore_index=True
    )


def network_importance_rows(predictions: RiskPredictions, permuted: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of `importance.csv` of a network, the most important input first.

    Args:
        predictions: The network's held-out predictions of development patients.
        permuted: Rows of :func:`pipeline.tables.predictions.write_permuted_risks` of all folds.

    Returns:
        Model, column, drop (mean fall of the C-index within folds), sd over permutations (n − 1), permutations;
        none where the set has too few events.

    Raises:
        ModelError: A test patient has no risk under a permutation.
    """
    outcome, fold = predictions.outcome, predictions.fold
    if outcome.few_events_reason():
        return []
    before = float(predictions.headline_pairs().index()[0])
    rows: list[dict[str, object]] = []
    for column, of_column in permuted.groupby("column", sort=False):
        drops = []
        for _, part in of_column.groupby("permutation"):
            risk = part.set_index("patient_id")["risk"].reindex(predictions.patients).to_numpy(float)
            if not np.isfinite(risk).all():
                raise ModelError(
                    "a test patient has no risk under permuted inputs",
                    where=f"model {predictions.model}, {column}",
                    got=predictions.patients[int(np.argmin(np.isfinite(risk)))],
                    action="run the rule train_fold of this network again",
                )
            drops.append(before - concordance_index(outcome.time, outcome.event, risk, fold))
        sd = float(np.std(drops, ddof=1)) if len(drops) > 1 else float("nan")
        rows.append(
            {"model": predictions.model, "column": str(column), "drop": float(np.mean(drops)), "sd": sd,
             "permutations": len(drops)}
        )  # fmt: skip
    return sorted(rows, key=lambda row: (-cast(float, row["drop"]), str(row["column"])))
