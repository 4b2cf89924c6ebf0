"""What every section of the settings has in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Policy = Literal["stop", "exclude"]
"""What happens to a patient whose data cannot be trusted: the run ends, or the patient leaves the study."""
FreeText = Literal["show", "hash", "drop"]
"""What happens to texts that somebody typed, which may identify a patient."""
DAYS_PER_MONTH = 30.4375
"""A twelfth of a year of 365.25 days."""


class Section(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
