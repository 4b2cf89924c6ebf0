"""Networks on columns of numbers instead of images: the training loop of DeepSurv.

The classical models' room does not import torch: the rule's script passes :func:`learn_columns` to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.settings.deepsurv import DeepSurvNet

if TYPE_CHECKING:
    import torch

    from pipeline.nets.deepsurv import DeepSurv

Array = NDArray[np.float64]
BATCH = 128
"""Largest number of patients in a step, whose Cox risk sets lie within it; a smaller cohort is one batch."""


@dataclass(frozen=True)
class TrainingColumns:
    """Columns and outcomes of training patients as tensors.

    Attributes:
        values: (n, K) float32 standardised columns.
        time: (n,) float32.
        event: (n,) float32, 1 = occurred.
    """

    values: torch.Tensor
    time: torch.Tensor
    event: torch.Tensor


@dataclass(frozen=True)
class LearnedColumns:
    """A network after several numbers of epochs.

    Attributes:
        net: The network.
        weights: Number of epochs → the network's weights after them.
    """

    net: DeepSurv
    weights: dict[int, dict[str, torch.Tensor]]

    def risk(self, matrix: Array, epochs: int) -> Array:
        """(n,) log-hazards, higher = worse, of (n, K) columns after so many epochs."""
        import torch

        if not len(matrix):
            return np.zeros(0)
        self.net.load_state_dict(self.weights[epochs])
        self.net.eval()
        with torch.inference_mode():
            risk = self.net(torch.as_tensor(matrix, dtype=torch.float32))
        return np.asarray(risk.double().numpy())


def learn_columns(
    settings: DeepSurvNet,
    data: tuple[Array, Array, NDArray[np.bool_]],
    epochs: Sequence[int],
    seed: int,
) -> LearnedColumns:
    """Train a DeepSurv network with the Cox loss (Efron's ties) and AdamW.

    Equal seeds give equal weights; torch's own random state is left as it was. A batch without an
    event has no gradient and is skipped.

    Args:
        settings: Settings of the network and its optimizer.
        data: (n, K) standardised columns, (n,) times and (n,) events of training patients.
        epochs: Numbers of epochs after which weights are kept; the largest ends training.
        seed: Seed of weights, dropout and the order of patients.

    Raises:
        TrainingError: The loss is not finite.
    """
    import torch

    from pipeline.nets.deepsurv import build

    matrix, time, event = data
    columns = TrainingColumns(
        torch.as_tensor(matrix, dtype=torch.float32),
        torch.as_tensor(time, dtype=torch.float32),
        torch.as_tensor(event.astype(np.float32)),
    )
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        net = build(settings, columns.values.shape[1])
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=settings.learning_rate, weight_decay=settings.l2, foreach=True
        )
        weights: dict[int, dict[str, torch.Tensor]] = {}
        for epoch in range(1, max(epochs) + 1):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate / (1 + (epoch - 1) * settings.decay)
            _epoch(net, optimizer, columns)
            if epoch in epochs:
                weights[epoch] = {name: value.clone() for name, value in net.state_dict().items()}
    return LearnedColumns(net, weights)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread: matrices this small gain nothing from more, and the bits are the same on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _epoch(net: DeepSurv, optimizer: torch.optim.Optimizer, columns: TrainingColumns) -> None:
    """One pass over the patients in random order, in batches of nearly equal size."""
    import torch

    from pipeline.losses.cox import cox_loss

    net.train()
    parts = -(-len(columns.time) // BATCH)
    for rows in torch.randperm(len(columns.time)).tensor_split(parts):
        # Batch normalisation needs two patients, the likelihood an event.
        if len(rows) < 2 or not bool(columns.event[rows].any()):
            continue
        loss = cox_loss(net(columns.values[rows]), columns.time[rows], columns.event[rows])
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                "the loss of a DeepSurv network is not finite",
                got=f"{float(loss)} with learning rate {optimizer.param_groups[0]['lr']:g}",
                action="draw from lower learning rates (learning_rate of the model)",
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
