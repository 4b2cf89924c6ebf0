"""Handcrafted features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.base import Section


class RadiomicsSettings(Section):
    """What is extracted, from which images."""

    enabled: bool = Field(True, description="Extract features.")
    feature_set: str = Field(
        "deepmts", description="A file of `config/radiomics/` without its ending, or a path."
    )
    images: Literal["crop", "native"] = Field("crop", description="From the crops or from native volumes.")
    intensities: Literal["native", "zscored"] = Field(
        "native", description="HU and SUV, or standardised per patient as one paper does."
    )
    min_voxels: int = Field(8, ge=1, description="Smaller lesions give no texture features (told).")
