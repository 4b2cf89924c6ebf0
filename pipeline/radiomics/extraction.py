"""Values of features by column, where a class that fails leaves the others untouched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import SettingsError
from pipeline.radiomics.firstorder import UnknownFeature


@dataclass
class Extraction:
    """Values by column, and what could not be computed.

    Attributes:
        values: A float per column of the set, NaN where there is no value.
        problems: A message per class that failed.
    """

    values: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_class(
        self, prefix: str, names: tuple[str, ...], compute: Callable[[], Mapping[str, float]]
    ) -> None:
        """Add the values of a class of features; a failure leaves NaN and a message.

        Raises:
            SettingsError: The class has no such feature.
        """
        try:
            values = compute()
        except UnknownFeature as error:
            raise SettingsError(
                "a radiomics feature set names a feature that PyRadiomics does not have",
                where=prefix,
                got=str(error),
            ) from None
        # LookupError: an index out of range is due to the lesion, not to the feature set.
        except (
            ValueError,
            ArithmeticError,
            RuntimeError,
            MemoryError,
            LookupError,
            np.linalg.LinAlgError,
        ) as error:
            self.problems.append(f"{prefix} failed: {type(error).__name__}: {error}")
            values = {}
        self.values.update({f"{prefix}_{name}": values.get(name, float("nan")) for name in names})
