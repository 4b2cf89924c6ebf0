"""How far a run has come: everything that a resumed run needs beside the network."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.settings.training import TrainingSettings
from pipeline.training.validate import ValidationScores

if TYPE_CHECKING:
    import torch

COLUMNS = ("iteration", "set", "loss", "dice", "c_index", "learning_rate")


@dataclass
class Progress:
    """State of a run between two iterations.

    Attributes:
        iteration: Iterations done.
        history: Rows of `history.csv`.
        recent: Loss and its terms of the iterations since the last row.
        best: Value of the selection metric so far, lower = better; infinite before the first.
        best_iteration: When.
        best_weights: The network then; None until there is one, or where the last are kept.
        stale: Validations since then.
    """

    iteration: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    recent: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_iteration: int = 0
    best_weights: dict[str, torch.Tensor] | None = None
    stale: int = 0

    def add_training_row(self, rate: float) -> None:
        """Mean of the iterations since the last row, in float64 and in their order."""
        if not self.recent:
            return
        names = list(self.recent[0])
        means = {name: math.fsum(r[name] for r in self.recent) / len(self.recent) for name in names}
        dice = -means["dice"] if "dice" in means else math.nan
        self._add("train", means.pop("loss"), means, (dice, math.nan, rate))
        self.recent = []

    def add_scores(self, name: str, scores: ValidationScores, rate: float) -> None:
        """A row of validation patients."""
        self._add(name, scores.loss, scores.parts, (scores.dice, scores.c_index, rate))

    def _add(self, name: str, loss: float, parts: dict[str, float], rest: tuple[float, float, float]) -> None:
        row = {"iteration": self.iteration, "set": name, "loss": loss}
        row.update(zip(COLUMNS[3:], rest, strict=True))
        row.update({f"loss_{part}": value for part, value in parts.items()})
        self.history.append(row)

    def consider(self, scores: ValidationScores, net: torch.nn.Module, training: TrainingSettings) -> None:
        """Keep the network if it is the best one yet; an equal one does not replace it."""
        value = -scores.c_index if training.select_metric == "c_index" else scores.loss
        if value < self.best:
            self.best, self.best_iteration, self.stale = value, self.iteration, 0
            state = net.state_dict()
            self.best_weights = {k: v.detach().clone() for k, v in state.items()}
        else:
            self.stale += 1

    def finished(self, training: TrainingSettings) -> bool:
        """Whether the last iteration is done, or patience has run out."""
        patience = training.patience if training.checkpoint_selection != "last" else 0
        return self.iteration >= training.iterations or bool(patience and self.stale >= patience)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for checkpoints."""
        plain = {k: getattr(self, k) for k in ("history", "recent", "best", "best_iteration", "stale")}
        # JSON carries float64 exactly (and NaN, Infinity as Python's reader knows them).
        return {
            "iteration": self.iteration,
            "plain": json.dumps(plain),
            "best_weights": self.best_weights,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Rebuild from :meth:`state`."""
        return cls(
            iteration=state["iteration"],
            best_weights=state["best_weights"],
            **json.loads(state["plain"]),
        )


def history_csv(history: list[dict[str, Any]]) -> bytes:
    """`history.csv`: iteration, set, loss, dice, c_index, learning_rate, loss_{term} …

    `loss` is without the L2 term, which is `loss_l2` before its weight. `train` rows hold means over
    the iterations since the row before, with augmentation and
    dropout (dice there is the soft Dice of the loss); the others one pass in evaluation mode.
    """
    terms = sorted({key for row in history for key in row if key.startswith("loss_")})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, *terms], restval="", lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
    return stream.getvalue().encode()
