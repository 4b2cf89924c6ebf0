"""Leaving out features that change too much under perturbed contours, judged among training patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.stability import PerturbedFeatures
from pipeline.survival.patients import Patients


@dataclass(frozen=True)
class StabilityFilter:
    """Features that are not stable enough count as missing, so that no model is offered them.

    Attributes:
        unstable: (p,) which columns of the feature table are not stable.
        min_icc: Lower end of the 95 % interval of ICC(1,1) that a stable feature reaches.
        patients: Number of training patients whose features were compared.
    """

    unstable: NDArray[np.bool_]
    min_icc: float
    patients: int

    @classmethod
    def fit(cls, train: Patients, perturbed: PerturbedFeatures | None, min_icc: float) -> StabilityFilter:
        """Learn from training patients only.

        A feature without known agreement (constant, or missing in all but one patient) counts
        as unstable; one that was not extracted under perturbed contours stays.

        Raises:
            ModelError: No contours were perturbed, or those of fewer than two of these patients.
        """
        if perturbed is None:
            raise ModelError(
                "a model with min_icc needs features under perturbed contours",
                action="hand stability.parquet to the job, as the rule does; or set min_icc: 0",
            )
        ids = {str(p) for p in train.table.index}
        among = len(ids & set(perturbed.patients))
        if among < 2:
            raise ModelError(
                "too few training patients were perturbed to judge stability",
                expected="at least 2",
                got=str(among),
                action="set min_icc: 0",
            )
        table = perturbed.agreement(ids).set_index("feature")["icc_low"]
        unstable = set(table.index[~(table >= min_icc)])
        return cls(np.array([name in unstable for name in train.names], dtype=bool), min_icc, among)

    def transform(self, patients: Patients) -> Patients:
        """Patients whose unstable features are missing."""
        return Patients(patients.table, np.where(self.unstable, np.nan, patients.features), patients.names)

    def report(self) -> dict[str, Any]:
        """Numbers of features and patients, for `model.json`."""
        return {
            "min_icc": self.min_icc,
            "patients": self.patients,
            "unstable": int(self.unstable.sum()),
            "features": len(self.unstable),
        }
