"""A cohort of crops: in memory, or as lazy dask arrays."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import read_array, read_attributes, read_crop, stored_shape

if TYPE_CHECKING:
    import dask.array

READERS = 2


@dataclass(frozen=True)
class CropCohort:
    """Crops of several patients, stacked.

    Attributes:
        image: float32 (N, C, Z, Y, X), in the order of the paths.
        mask: uint8 (N, Z, Y, X); zeros where a patient has none.
        has_mask: bool (N,).
        inside: uint8 (N, Z, Y, X), 1 = imaged.
        attributes: One per patient.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    has_mask: npt.NDArray[np.bool_]
    inside: npt.NDArray[np.uint8]
    attributes: tuple[CropAttributes, ...]

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """The patients, in order."""
        return tuple(a.patient_id for a in self.attributes)


@dataclass(frozen=True)
class LazyCohort:
    """Crops as dask arrays, read (and not checked against checksums) when computed.

    Attributes:
        image: (N, C, Z, Y, X), a chunk per patient and channel.
        inside: (N, Z, Y, X).
        attributes: One per patient.
    """

    image: dask.array.Array
    inside: dask.array.Array
    attributes: tuple[CropAttributes, ...]


def load_cohort(paths: Sequence[Path], readers: int = READERS) -> CropCohort:
    """Read crops into one set of arrays, each checked.

    Args:
        paths: Stores of usable patients (excluded ones are an error: leave them out).
        readers: Threads that decompress and check.

    Raises:
        CropError: A store is damaged, excluded, or of another shape, spacing or channels
            than the first; names the patient.
    """
    if not paths:
        raise CropError("there is no crop to load")
    first = read_crop(paths[0])
    count, spatial = len(paths), first.image.shape[1:]
    image = np.empty((count, *first.image.shape), dtype=np.float32)
    mask = np.zeros((count, *spatial), dtype=np.uint8)
    inside = np.empty((count, *spatial), dtype=np.uint8)
    has_mask = np.zeros(count, dtype=bool)

    def fill(row: int) -> CropAttributes:
        own = read_attributes(paths[row])
        _require_alike(first.attributes, first.image.shape, own, stored_shape(paths[row], own))
        # Unpacked where it stays: a copy of each array would cost as much as unpacking it.
        read_array(paths[row], "image", own, image[row])
        read_array(paths[row], "inside", own, inside[row])
        if "mask" in own.crc32:
            read_array(paths[row], "mask", own, mask[row])
            has_mask[row] = True
        return own

    with ThreadPoolExecutor(max_workers=readers) as pool:
        attributes = tuple(pool.map(fill, range(count)))
    return CropCohort(image, mask, has_mask, inside, attributes)


def as_dask(paths: Sequence[Path]) -> LazyCohort:
    """A lazy view of many crops, for cohorts that exceed memory.

    Raises:
        CropError: A store is missing, excluded, or of another shape, spacing or channels.
    """
    import dask.array
    import zarr

    if not paths:
        raise CropError("there is no crop to load")
    attributes = tuple(read_attributes(path) for path in paths)
    images = [zarr.open_array(path / "image", mode="r") for path in paths]
    for own, array in zip(attributes, images, strict=True):
        _require_alike(attributes[0], images[0].shape, own, array.shape)
    stacked = dask.array.stack([dask.array.from_zarr(a) for a in images])
    inside = dask.array.stack([dask.array.from_zarr(zarr.open_array(p / "inside", mode="r")) for p in paths])
    return LazyCohort(stacked, inside, attributes)


def _require_alike(
    first: CropAttributes, shape: tuple[int, ...], own: CropAttributes, own_shape: tuple[int, ...]
) -> None:
    same = (first.channels, first.quantities, first.margin) == (own.channels, own.quantities, own.margin)
    if same and shape == own_shape and np.allclose(first.spacing_mm, own.spacing_mm, atol=1e-6):
        return
    raise CropError(
        "crops of one cohort differ",
        where=f"patient {own.patient_id}",
        expected=_described(first, shape),
        got=_described(own, own_shape),
        action="run the rule `crop` for all patients with the same settings",
    )


def _described(crop: CropAttributes, shape: tuple[int, ...]) -> str:
    return f"{crop.quantities or crop.channels} {shape} of {crop.spacing_mm} mm, margin {crop.margin}"
