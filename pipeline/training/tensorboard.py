"""The history as TensorBoard scalars: `{column}/{set}` over iterations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"
KEYS = ("iteration", "set")


class TensorBoardLogger:
    """An event file that grows while a run is under way.

    Args:
        folder: Of event files.
        start: Iterations done. What a run that was killed wrote beyond them is withdrawn.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        # Only here: a run without the setting does not pay for the import.
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
        """Close the file."""
        self._writer.close()


def write_board(folder: Path, history: Iterable[dict[str, Any]]) -> None:
    """The whole history in one event file."""
    board = TensorBoardLogger(folder)
    board.add(history)
    board.close()
