"""A model's predictions for a set of patients, beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.concordance import Pairs, harrell_pairs
from pipeline.metrics.labels import Label
from pipeline.metrics.mask_classes import ClassOverlap
from pipeline.metrics.time_dependent import SurvivalOutcome

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """A model's predictions beside the truth, in one order of patients for all models.

    Attributes:
        model: Name of the model.
        set: `development` or `external`.
        patients: (n,) ids.
        fold: (n,) fold that has each patient as a test patient; None for external patients.
        event: (n,) 1 = the event occurred; None in a study without outcomes.
        dice: (n,) Dice, NaN where there is none; None for models without masks.
        caveats: What holds for every number of this model, e.g. Z-scores from test patients.
        overlaps: Voxel counts of each class of the mask, their union first; for masks with classes.
        distances: `hd95_mm`, `assd_mm` → (n,), NaN where there is none; for models with masks.
        lesions: Column of `pipeline.tables.predictions.LESIONS` → (n,); for models with masks.
        pixels: Column of `pipeline.tables.predictions.PIXELS` → (n,); for models with masks of slices.
        labels: Class outcomes with predicted probabilities.
        boxes: Fold → `detections.parquet`; for detecting networks.
    """

    model: str
    set: str
    patients: tuple[str, ...]
    fold: Array | None
    event: Array | None = None
    dice: Array | None = None
    caveats: str = ""
    distances: dict[str, Array] = field(default_factory=dict)
    overlaps: tuple[ClassOverlap, ...] = ()
    lesions: dict[str, Array] = field(default_factory=dict)
    pixels: dict[str, Array] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    boxes: Mapping[int, pd.DataFrame] = field(default_factory=dict)

    def events(self, among: NDArray[np.bool_] | None = None) -> int | None:
        """Number of events among all patients, or among (n,) some; None without outcomes."""
        if self.event is None:
            return None
        return int((self.event if among is None else self.event[among]).sum())


@dataclass(frozen=True, kw_only=True)
class RiskPredictions(Predictions):
    """Predictions of a model that gives risks.

    Attributes:
        outcome: Times, events and their censoring distribution.
        risk: (n,) higher = worse.
        survival: Horizon in days → (n,) probabilities, NaN where unknown.
        further_survival: The same at further times (`evaluation.curve_days`), which only curves over
            follow-up and the integrated Brier score use.
    """

    outcome: SurvivalOutcome
    risk: Array
    survival: dict[float, Array]
    further_survival: dict[float, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls, predictions: Predictions, outcome: SurvivalOutcome, risk: Array, survival: dict[float, Array]
    ) -> RiskPredictions:
        """Predictions with the risks beside them."""
        shared = {each.name: getattr(predictions, each.name) for each in fields(predictions)}
        return cls(**shared, outcome=outcome, risk=risk, survival=survival)

    def all_survival(self) -> dict[float, Array]:
        """Every time in days → (n,) probabilities, ascending."""
        return dict(sorted({**self.survival, **self.further_survival}.items()))

    def headline_pairs(self) -> Pairs:
        """Pairs of the headline concordance: within folds in development, else all."""
        return harrell_pairs(self.outcome.time, self.outcome.event, self.risk, self.fold)
