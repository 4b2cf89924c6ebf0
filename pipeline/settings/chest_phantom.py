"""The generator of chest slices with three diagnoses and three kinds of lesion (for seed paper 004)."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.settings.base import Section

DIAGNOSES = ("non_covid", "covid_19", "cancer")
"""Classes 0, 1, 2 of `label_diagnosis`, in this order."""
LESIONS = ("ground_glass", "consolidation", "pleural_effusion")
"""Labels 1, 2, 3 of the masks, in this order."""


class ChestSliceSettings(Section):
    """Volumes of chest-like slices: lungs, vessels, and lesions by diagnosis.

    A third of the volumes each has no lesion, lesions of covid-19 and a nodule. Only lesions of
    covid-19 have masks, as in the paper.
    """

    seed: int = Field(7, ge=0, lt=2**31, description="Seed of the volumes.")
    volumes: int = Field(90, ge=6, le=9999, description="Number of volumes.")
    slices: int = Field(3, ge=1, le=50, description="Number of slices of each volume.")
    training: float = Field(0.74, gt=0, lt=1, description="Share of volumes that is trained on.")
    validation: float = Field(
        0.13, gt=0, lt=1, description="Share of volumes that validates; the others are tested."
    )
    detection: float = Field(
        0.5, gt=0, le=1, description="Share of volumes with masks that belong to the subset of detection."
    )
    size_px: int = Field(64, ge=32, le=1024, description="Side of the square slice.")
    noise: float = Field(0.06, ge=0, description="SD of the image noise; air is 0, soft tissue 1.")

    @model_validator(mode="after")
    def _possible(self) -> ChestSliceSettings:
        if self.training + self.validation >= 1:
            raise ValueError(
                "training and validation: together less than 1, so that volumes are left to test"
            )
        return self
