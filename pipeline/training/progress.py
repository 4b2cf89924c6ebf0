"""How far a run has come, and its history as CSV and as TensorBoard scalars."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.settings.training import TrainingSettings
from pipeline.training.validation import ValidationScores

if TYPE_CHECKING:
    import torch

KEYS = ("iteration", "set")
COLUMNS = (*KEYS, "loss", "dice", "c_index", "learning_rate")
TENSORBOARD_FOLDER = "tensorboard"
PLAIN = ("history", "recent", "best", "best_iteration", "validations_since_best")
"""Attributes of :class:`Progress` that a checkpoint holds as JSON."""


@dataclass
class Progress:
    """State of a run between two iterations: what a resumed run needs beside network and optimizer.

    Attributes:
        iteration: Number of iterations done.
        history: Rows of `history.csv`.
        recent: Loss and its terms of each iteration since the last row.
        best: Best value of the selection metric so far, lower = better; infinite before the first.
        best_iteration: Iteration of that value.
        best_weights: The network at that iteration; None before there is one, or where the last
            weights are selected.
        validations_since_best: Number of validations since that iteration.
    """

    iteration: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    recent: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_iteration: int = 0
    best_weights: dict[str, torch.Tensor] | None = None
    validations_since_best: int = 0

    def add_training_row(self, learning_rate: float) -> None:
        """Add means over the iterations since the last row, in float64 and in their order."""
        if not self.recent:
            return
        names = list(self.recent[0])
        means = {name: math.fsum(r[name] for r in self.recent) / len(self.recent) for name in names}
        dice = -means["dice"] if "dice" in means else math.nan
        loss = means.pop("loss")
        self.add_scores("train", ValidationScores(loss, means, dice, math.nan), learning_rate)
        self.recent = []

    def add_scores(self, name: str, scores: ValidationScores, learning_rate: float) -> None:
        """Add a row with the scores of a set of patients."""
        row: dict[str, Any] = {
            "iteration": self.iteration,
            "set": name,
            "loss": scores.loss,
            "dice": scores.dice,
            "c_index": scores.c_index,
            "learning_rate": learning_rate,
        }
        row.update({f"loss_{term}": value for term, value in scores.terms.items()})
        self.history.append(row)

    def keep_if_best(
        self, scores: ValidationScores, net: torch.nn.Module, training: TrainingSettings
    ) -> None:
        """Keep the network's weights if its scores are the best so far; equal ones do not replace them."""
        value = -scores.c_index if training.select_metric == "c_index" else scores.loss
        if value < self.best:
            self.best, self.best_iteration, self.validations_since_best = value, self.iteration, 0
            self.best_weights = {k: v.detach().clone() for k, v in net.state_dict().items()}
        else:
            self.validations_since_best += 1

    def is_finished(self, training: TrainingSettings) -> bool:
        """Whether the last iteration is done, or patience has run out."""
        patience = training.patience if training.checkpoint_selection != "last" else 0
        exhausted = bool(patience and self.validations_since_best >= patience)
        return self.iteration >= training.iterations or exhausted

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for checkpoints."""
        plain = {name: getattr(self, name) for name in PLAIN}
        # JSON carries float64 exactly (and NaN, Infinity as Python's reader knows them).
        return {
            "iteration": self.iteration,
            "plain": json.dumps(plain),
            "best_weights": self.best_weights,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """The progress whose :meth:`state` this is."""
        return cls(
            iteration=state["iteration"],
            best_weights=state["best_weights"],
            **json.loads(state["plain"]),
        )


def history_csv(history: list[dict[str, Any]]) -> bytes:
    """`history.csv`: iteration, set, loss, dice, c_index, learning_rate, loss_{term} …

    `loss` is without the L2 term, which is `loss_l2` before its weight. `train` rows hold means over
    the iterations since the row before, with augmentation and dropout (dice there is the soft Dice
    of the loss); rows of other sets hold one pass in evaluation mode.
    """
    terms = sorted({key for row in history for key in row if key.startswith("loss_")})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, *terms], restval="", lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
    return stream.getvalue().encode()


class TensorBoardLogger:
    """The history as TensorBoard scalars `{column}/{set}`, in an event file that grows during a run.

    Args:
        folder: Folder of the event files.
        start: Number of iterations done before. What a killed run wrote beyond them is withdrawn.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        # Imported here, so that a run without the setting does not pay for the import.
        from torch.utils.tensorboard import SummaryWriter

        purge = {"purge_step": start + 1} if start else {}
        self._writer: Any = SummaryWriter(str(folder), **purge)  # type: ignore[no-untyped-call]

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows of `history.csv`; empty cells are left out."""
        for row in rows:
            for name, value in row.items():
                if name not in KEYS and not math.isnan(value):
                    self._writer.add_scalar(f"{name}/{row['set']}", value, row["iteration"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def write_tensorboard(folder: Path, history: Iterable[dict[str, Any]]) -> None:
    """Write the whole history to one event file."""
    logger = TensorBoardLogger(folder)
    logger.add(history)
    logger.close()
