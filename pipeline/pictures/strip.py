"""`docs/images/strip.png`: a patient of the finished demo from the scanner's images to the crop.

python -m pipeline.pictures.strip results/phantom docs/images/strip.png     (`make pictures` does)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.store.crops import read_crop
from pipeline.volumes.nifti import read_nifti

PATIENT = "P001"
CT_WINDOW_HU, PET_WINDOW_GML = (-160.0, 240.0), (0.0, 8.0)


@dataclass(frozen=True)
class Panel:
    """One slice of the strip.

    Attributes:
        title: What it shows.
        image: (Y, X) values.
        mask: (Y, X) lesion; None where it was drawn on another grid.
        window: Values of black and white.
        map: Name of the colour map.
        spacing_mm: Distance of voxel centres (z, y, x) of its volume.
    """

    title: str
    image: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_] | None
    window: tuple[float, float]
    map: str
    spacing_mm: Sequence[float]

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Width and height of the slice."""
        return self.image.shape[1] * self.spacing_mm[2], self.image.shape[0] * self.spacing_mm[1]


def panels(results: Path) -> list[Panel]:
    """CT and PET as scanned, and both channels of the crop, each through the middle of the lesion.

    Args:
        results: Folder of the finished study, such as results/phantom.
    """
    ct = read_nifti(results / "convert" / PATIENT / "ct_hu.nii.gz")
    gtv = read_nifti(results / "contours" / PATIENT / "gtv_ct.nii.gz").array > 0
    pet = read_nifti(results / "suv" / PATIENT / "pet_suvbw.nii.gz")
    level = _middle(gtv)
    height_mm = ct.grid.origin_mm[0] + level * ct.spacing_mm[0]
    pet_level = round((height_mm - pet.grid.origin_mm[0]) / pet.spacing_mm[0])
    crop = read_crop(results / "crops" / f"{PATIENT}.zarr")
    assert crop.mask is not None, "the demo's patients have contours"
    mask = crop.mask > 0
    across = _middle(mask)
    spacing = crop.attributes.spacing_mm
    suv, hu = crop.image[0, across], crop.image[1, across]
    return [
        Panel(
            "CT of the scanner, with contour",
            ct.array[level],
            gtv[level],
            CT_WINDOW_HU,
            "gray",
            ct.spacing_mm,
        ),
        Panel("PET as SUV", pet.array[pet_level], None, PET_WINDOW_GML, "gray_r", pet.spacing_mm),
        Panel("crop: CT, aligned", hu, mask[across], CT_WINDOW_HU, "gray", spacing),
        Panel("crop: SUV, aligned", suv, mask[across], PET_WINDOW_GML, "gray_r", spacing),
    ]


def _middle(mask: npt.NDArray[np.bool_]) -> int:
    """The slice that holds most of the lesion."""
    return int(mask.sum(axis=(1, 2)).argmax())


def draw_strip(found: Sequence[Panel], out: Path) -> None:
    """Write the strip as PNG, all slices at the same scale in mm.

    Args:
        found: The slices from left to right.
        out: The file; what is there is replaced.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    widths = [panel.extent_mm[0] for panel in found]
    figure, axes = pyplot.subplots(
        1, len(found), figsize=(12, 3.6), width_ratios=widths, layout="constrained"
    )
    tallest = max(panel.extent_mm[1] for panel in found)
    for axis, panel in zip(axes, found, strict=True):
        wide, tall = panel.extent_mm
        low, high = panel.window
        box = (-wide / 2, wide / 2, tall / 2, -tall / 2)
        axis.imshow(panel.image, cmap=panel.map, vmin=low, vmax=high, extent=box, interpolation="nearest")
        if panel.mask is not None and panel.mask.any():
            axis.contour(
                panel.mask, levels=[0.5], colors=["#e8590c"], linewidths=1.2, extent=box, origin="upper"
            )
        axis.spines[:].set_visible(False)
        axis.add_patch(pyplot.Rectangle((-wide / 2, -tall / 2), wide, tall, fill=False, edgecolor="#7b8794"))
        axis.set(ylim=(tallest / 2, -tallest / 2), xticks=[], yticks=[])
        axis.set_title(f"{panel.title}\n{wide:.0f} × {tall:.0f} mm", fontsize=10)
    figure.savefig(out, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    draw_strip(panels(Path(sys.argv[1])), Path(sys.argv[2]))
