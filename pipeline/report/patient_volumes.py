"""A patient's crop for the viewer: small NIfTI volumes as base64 in a script, since `file://` blocks fetching."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report import slices
from pipeline.report.mask_classes import Labels
from pipeline.volumes.nifti import nifti_header
from pipeline.volumes.volume import Grid

ASSETS = Path(__file__).parent / "assets"
NIIVUE = "niivue.umd.js"
"""Niivue 0.69.0 (BSD 2-clause), `dist/niivue.umd.js` of the npm package, unchanged."""
NIIVUE_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
LARGEST = 2_000_000
"""Bytes of a patient's script at most."""
LEVELS = (255, 63, 31, 15)
"""Highest stored grey level, tried in this order until the script is small enough."""
SLOPE_AT = 112
"""Byte of a NIfTI header where slope and intercept begin (nifti1.h: scl_slope, scl_inter)."""


def write_viewer(folder: Path) -> None:
    """Copy the viewer's library and its licence."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (NIIVUE, "LICENSE.niivue.txt"):
        shutil.copyfile(ASSETS / name, folder / name)


@dataclass(frozen=True)
class ViewedCrop:
    """What the viewer shows of a patient.

    Attributes:
        images: Channel → image (z, y, x): `pet` in SUV, `ct` in HU.
        masks: Name → labels (z, y, x), `manual` and `predicted`.
        grid: Their voxels.
        focus: The voxel (z, y, x) at which the viewer opens.
    """

    images: Mapping[str, npt.NDArray[Any]]
    masks: Mapping[str, Labels]
    grid: Grid
    focus: tuple[int, int, int]


def write_volumes(crop: ViewedCrop, path: Path) -> None:
    """Write a script that holds a patient's images and masks, at most :data:`LARGEST` bytes.

    Images are clipped to the window of the pictures and stored in 8 bits, in fewer grey levels where they
    would be too large, then also every second voxel along each axis.

    Args:
        crop: Images and masks.
        path: The file, `patients/{patient}.js`.
    """
    for step in (1, 2, 4):
        for levels in LEVELS:
            text = _script(crop, step, levels)
            if len(text) <= LARGEST:
                path.write_text(text, encoding="ascii")
                return
    raise AssertionError(f"{path.name} cannot be made smaller than {LARGEST} bytes")


def _script(crop: ViewedCrop, step: int, levels: int) -> str:
    every = (slice(None, None, step),) * 3
    grid, content = _thinned(crop.grid, step), dict[str, Any]()
    for name, image in crop.images.items():
        low, high = slices.window(name, image)
        stored = np.round(np.clip((image[every] - low) / (high - low), 0, 1) * levels).astype(np.uint8)
        content[name] = _nifti(stored, grid, (high - low) / levels, low)
    for name, mask in crop.masks.items():
        content[name] = _nifti((mask[every] > 0).astype(np.uint8), grid, 1.0, 0.0)
    x, y, z = (float(v) for v in crop.grid.points([crop.focus])[0])
    # NIfTI's world is RAS.
    content["focus"] = [round(-x, 2), round(-y, 2), round(z, 2)]
    return f"window.suvivalVolumes = {json.dumps(content)};\n"


def _thinned(grid: Grid, step: int) -> Grid:
    """The grid of every `step`-th voxel along each axis."""
    z, y, x = (-(-n // step) for n in grid.shape)
    a, b, c = (s * step for s in grid.spacing_mm)
    return Grid((z, y, x), (a, b, c), grid.origin_mm, grid.direction)


def _nifti(values: npt.NDArray[np.uint8], grid: Grid, slope: float, intercept: float) -> str:
    """A compressed NIfTI-1 file as base64; the same values give the same text."""
    header = bytearray(nifti_header(grid, values.dtype))
    struct.pack_into("<2f", header, SLOPE_AT, slope, intercept)
    return base64.b64encode(gzip.compress(bytes(header) + values.tobytes(), 6, mtime=0)).decode("ascii")
