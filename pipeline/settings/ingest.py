"""How 2D slices are brought to one size and one range of values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.base import Section


class IngestSettings(Section):
    """What is done with the images of `cohort.source: slices` before they are stored, in this order."""

    grey: bool = Field(
        False,
        description="Whether an image in colours becomes one channel, its luminance (ITU-R 601); false: three "
        "channels. Slices saved in colour formats belong to one study with slices in grey only if it is true.",
    )
    equalise: Literal["none", "histogram"] = Field(
        "none",
        description="`histogram`: every channel of every slice is replaced by its cumulative histogram of 256 bins, "
        "so that its values are spread evenly over 0 to 1; `none`: values as they are.",
    )
    resize: bool = Field(
        False,
        description="Whether slices of another size are interpolated to `crop.shape` (linear, with an anti-aliasing "
        "filter where they shrink; masks by the nearest pixel); false: they keep their size, and training "
        "refuses sizes that differ.",
    )
    scale: Literal["none", "unit"] = Field(
        "none",
        description="`unit`: every channel of every slice is mapped to 0 … 1 by its least and greatest value.",
    )
