"""Metal on the CT: its streaks change HU around it, and through the attenuation correction SUV."""

from __future__ import annotations

import numpy as np

from pipeline.settings.geometry import CropSettings
from pipeline.volumes.grids import index_map
from pipeline.volumes.transform import inverse
from pipeline.volumes.volume import FloatArray, Grid, Volume


def metal_ml(ct: Volume, grid: Grid, to_ct: FloatArray, metal_hu: float) -> float:
    """Volume (mL) of the CT's own voxels within a grid's outer edges that are as dense as metal.

    They are counted before any interpolation, which would thin out a filling of a tooth.

    Args:
        ct: The CT (HU), as it was scanned.
        grid: The crop without its margin.
        to_ct: 4×4 from the crop's space to CT points (LPS mm).
        metal_hu: HU from which a voxel counts.
    """
    dense = np.argwhere(ct.array >= metal_hu)
    matrix = index_map(grid, ct.grid, inverse(to_ct))
    place = dense @ matrix[:3, :3].T + matrix[:3, 3]
    inside = ((place >= -0.5) & (place <= np.asarray(grid.shape) - 0.5)).all(axis=1)
    return float(inside.sum()) * ct.grid.voxel_ml()


def metal_warning(volume_ml: float, settings: CropSettings) -> str:
    """What a person has to know of metal in a crop; empty where there is no more than the settings allow."""
    if volume_ml <= settings.max_metal_ml:
        return ""
    return (
        f"{volume_ml:.2f} mL of the crop's CT lie at {settings.metal_hu:g} HU and above, as metal does: its streaks "
        "change HU and, through the attenuation correction, SUV"
    )
