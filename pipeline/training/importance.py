"""Risks of test patients whose image channel or clinical column is another test patient's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.tables.predictions import PERMUTED_COLUMNS
from pipeline.training.batches import Batch, plain_batch
from pipeline.training.predict import Predictor, risk_of

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.tables.clinical import ClinicalEncoder
    from pipeline.training.dataset import CohortTensors

CONTOUR = "contour"
"""The manual mask, of networks that multiply it onto the image."""


def permuted_risks(
    predictor: Predictor,
    cohort: CohortTensors,
    rows: Sequence[int],
    inputs: Mapping[str, Sequence[int]],
    permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Predict test patients again with one input dealt anew among them; nothing is trained.

    Source: Breiman, Mach Learn 2001; 45: 5, section 10, on patients that the network was not trained on. A channel
    is exchanged whole, so that images of two patients lie over one another: the network is asked about combinations
    that it has never seen, and what one channel says of the tumour's place in another one is lost as well.

    Args:
        predictor: The trained network in evaluation mode.
        cohort: All patients.
        rows: Row numbers of the fold's test patients.
        inputs: What :func:`inputs_of` gives.
        permutations: Permutations of each input.
        seed: Seed of this model in this fold.

    Returns:
        Rows of :func:`pipeline.tables.predictions.write_permuted_risks`.
    """
    import pandas as pd

    found = []
    for position, (name, columns) in enumerate(inputs.items()):
        for number in range(permutations):
            order = np.random.default_rng([seed, position, number]).permutation(len(rows))
            for start in range(0, len(rows), predictor.batch):
                part = slice(start, start + predictor.batch)
                batch = plain_batch(cohort, rows[part])
                donor = plain_batch(cohort, [rows[i] for i in order[part]])
                mixed = _exchanged(batch, donor, name, columns, cohort.channels)
                risk = risk_of(predictor.outputs_of(mixed), predictor.losses)
                assert risk is not None  # only networks that predict survival are asked
                values = risk.double().cpu().tolist()
                found += [(p, name, number, value) for p, value in zip(batch.ids, values, strict=True)]
    return pd.DataFrame(found, columns=list(PERMUTED_COLUMNS))


def inputs_of(
    channels: Sequence[str], encoder: ClinicalEncoder, *, manual_mask: bool
) -> dict[str, tuple[int, ...]]:
    """Input → positions of its encoded columns; channels of the image (`image pet`) and the contour have none.

    Args:
        channels: Names of the image channels.
        encoder: Encoder of the clinical columns; the levels of one column are exchanged together.
        manual_mask: Whether the network multiplies the manual mask onto the image.
    """
    names = encoder.names()
    inputs: dict[str, tuple[int, ...]] = {_of_channel(channel): () for channel in channels}
    inputs |= {CONTOUR: ()} if manual_mask else {}
    for column in encoder.order:
        positions = tuple(i for i, name in enumerate(names) if name.split("=", 1)[0] == column)
        if positions:
            inputs[column] = positions
    return inputs


def _of_channel(channel: str) -> str:
    return f"image {channel}"


def _exchanged(
    batch: Batch, donor: Batch, name: str, columns: Sequence[int], channels: Sequence[str]
) -> Batch:
    """The patients of a batch with one input of as many others."""
    if columns:
        assert batch.clinical is not None and donor.clinical is not None  # there are encoded columns
        return replace(batch, clinical=_with_columns(batch.clinical, donor.clinical, columns))
    if name == CONTOUR:
        return replace(batch, targets={**batch.targets, "mask": donor.targets["mask"]})
    position = [_of_channel(channel) for channel in channels].index(name)
    return replace(batch, image=_with_columns(batch.image, donor.image, [position]))


def _with_columns(values: torch.Tensor, others: torch.Tensor, columns: Sequence[int]) -> torch.Tensor:
    """(B, K, …) values, some of whose K columns are others'."""
    mixed = values.clone()
    mixed[:, list(columns)] = others[:, list(columns)]
    return mixed
