"""Crops as zarr v3 stores: written completely or not at all, and checked when read.

One chunk per channel, blosc lz4 with byte shuffle, no shards, because training reads whole crops.
docs/stages/crop.md compares this layout with others (`python -m benchmarks.store_layouts`).
"""

from __future__ import annotations

import hashlib
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError
from pipeline.store.attributes import CropAttributes, from_json, status_json
from pipeline.tables.failures import damage, own_result
from pipeline.tables.status import Status, read_whole, write_status
from pipeline.tables.whole import whole_folder

VERSION = 2
DTYPES = {"image": "<f4", "mask": "|u1", "inside": "|u1"}


@dataclass(frozen=True)
class Crop:
    """The crop of one patient.

    Attributes:
        image: float32 (C, Z, Y, X) in the units that the attributes name, channels in their order;
            padding is filled with air (CT -1024 HU, PET 0).
        mask: uint8 (Z, Y, X), 1 = lesion, or the labels of the attributes' `classes`; None where there is no contour.
        inside: uint8 (Z, Y, X), 1 = imaged by all channels.
        attributes: Where the crop lies and what it holds.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8] | None
    inside: npt.NDArray[np.uint8]
    attributes: CropAttributes


def write_crop(path: Path, crop: Crop, status: Status | None = None) -> None:
    """Write a crop as a zarr v3 group, which appears under its name only when it is complete.

    Args:
        path: `{patient}.zarr`; an existing store is replaced.
        crop: The crop.
        status: Status of the patient after the stage; by default `ok`.
    """
    import zarr

    arrays = _arrays(crop)
    attributes = replace(
        crop.attributes,
        checksums={name: hashlib.sha256(a.data).hexdigest() for name, a in arrays.items()},
        crc32={name: zlib.crc32(a.data) for name, a in arrays.items()},
    )
    status = status or Status("ok", "crop")
    with whole_folder(path) as partial:
        group = zarr.create_group(partial, zarr_format=3, attributes=_root(status, attributes))
        for name, array in arrays.items():
            _write_array(group, name, array)
        write_status(partial, status)


def write_excluded(path: Path, status: Status) -> None:
    """Write the store of an excluded patient: no arrays, only the status."""
    import zarr

    with whole_folder(path) as partial:
        zarr.create_group(partial, zarr_format=3, attributes={"status": status_json(status)})
        write_status(partial, status)


def read_status(path: Path) -> Status:
    """Status of a stored patient.

    Raises:
        DamageError: There is no store at this path, or a file of it is missing, cut or changed.
    """
    return read_whole(path)


def read_attributes(path: Path) -> CropAttributes:
    """Attributes of a stored crop, without its arrays.

    Raises:
        CropError: The patient is excluded.
        DamageError: There is no store at this path, or a file of it is missing, cut or changed.
    """
    status = read_whole(path)
    if status.state == "excluded":
        raise CropError(
            "an excluded patient has no crop", where=f"patient {path.stem}, {path}", got=status.problem
        )
    import zarr

    with _own_store(path):
        attributes = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
        if attributes.get("version") != VERSION:
            raise damage(path, f"version {VERSION} of the store", str(attributes.get("version")))
        return from_json(attributes["crop"])


def read_crop(path: Path) -> Crop:
    """Read a crop; its files are compared with their hashes, and every array with its checksum.

    Raises:
        CropError: The patient is excluded.
        DamageError: The store is missing, incomplete or damaged.
    """
    attributes = read_attributes(path)
    with _own_store(path):
        arrays = {name: _read_array(path, name, checksum) for name, checksum in attributes.crc32.items()}
        return Crop(arrays["image"], arrays.get("mask"), arrays["inside"], attributes)


def _read_array(path: Path, name: str, checksum: int) -> npt.NDArray[Any]:
    import zarr

    array: npt.NDArray[Any] = zarr.open_array(path / name, mode="r", zarr_format=3)[...]
    got = zlib.crc32(np.ascontiguousarray(array).data)
    if got != checksum:
        raise damage(path / name, f"CRC-32 {checksum}", f"CRC-32 {got}", remove=path)
    return array


def _own_store(path: Path) -> AbstractContextManager[None]:
    """What zarr or its codecs raise says that the disk damaged the store."""
    return own_result(path, "a complete store whose arrays match their checksums")


def _arrays(crop: Crop) -> dict[str, npt.NDArray[Any]]:
    spatial = crop.image.shape[1:]
    arrays: dict[str, npt.NDArray[Any]] = {"image": crop.image, "inside": crop.inside}
    if crop.mask is not None:
        arrays["mask"] = crop.mask
    for name, array in arrays.items():
        shape = array.shape[1:] if name == "image" else array.shape
        if array.ndim != (4 if name == "image" else 3) or shape != spatial:
            raise CropError(
                f"the array `{name}` does not fit its crop",
                expected="image (C, Z, Y, X), mask and inside (Z, Y, X)",
                got=str(array.shape),
            )
    if len(crop.attributes.channels) != crop.image.shape[0]:
        raise CropError(
            "the number of channels differs from the image's",
            expected=str(crop.attributes.channels),
            got=f"{crop.image.shape[0]} channels",
        )
    if not np.isfinite(crop.image).all():
        raise CropError("an image holds values that are not finite", got="NaN or infinity")
    return {name: np.ascontiguousarray(a, dtype=DTYPES[name]) for name, a in arrays.items()}


def _write_array(group: Any, name: str, array: npt.NDArray[Any]) -> None:
    from zarr.codecs import BloscCodec

    chunks = (1, *array.shape[1:]) if name == "image" else array.shape
    axes = ("channel", "z", "y", "x")[-array.ndim :]
    codec = BloscCodec(
        cname="lz4",
        clevel=5,
        shuffle="shuffle" if array.itemsize > 1 else "noshuffle",
        typesize=array.itemsize,
    )
    stored = group.create_array(
        name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=chunks,
        compressors=codec,
        dimension_names=axes,
        # Empty chunks are written too: a missing file must never be read as zeros.
        config={"write_empty_chunks": True},
    )
    stored[...] = array


def _root(status: Status, attributes: CropAttributes) -> dict[str, Any]:
    return {"version": VERSION, "status": status_json(status), "crop": attributes.to_json()}
