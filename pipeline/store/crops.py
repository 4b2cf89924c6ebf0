"""Crops as zarr v3 stores: written completely or not at all, and checked when read.

One chunk per channel, blosc lz4 with byte shuffle, no shards, because training reads whole crops.
docs/stages/crop.md compares this layout with others (`python -m benchmarks.store_layouts`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError
from pipeline.store.attributes import CropAttributes, from_json, status_json
from pipeline.tables.status import Status

VERSION = 2
DTYPES = {"image": "<f4", "mask": "|u1", "inside": "|u1"}


@dataclass(frozen=True)
class Crop:
    """The crop of one patient.

    Attributes:
        image: float32 (C, Z, Y, X) in the units that the attributes name; padding is filled with
            air (CT -1024 HU, PET 0).
        mask: uint8 (Z, Y, X), 1 = lesion; None where there is no contour.
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
    part = _part(path)
    group = zarr.create_group(part, zarr_format=3, attributes=_root(status, attributes))
    for name, array in arrays.items():
        _write_array(group, name, array)
    _publish(part, path)


def write_excluded(path: Path, status: Status) -> None:
    """Write the store of an excluded patient: no arrays, only the attribute `status`."""
    import zarr

    part = _part(path)
    zarr.create_group(part, zarr_format=3, attributes={"status": status_json(status)})
    _publish(part, path)


def read_status(path: Path) -> Status:
    """Status of a stored patient.

    Raises:
        CropError: There is no complete store at this path.
    """
    return Status(**_attributes(path)["status"])


def read_attributes(path: Path) -> CropAttributes:
    """Attributes of a stored crop, without its arrays.

    Raises:
        CropError: There is no complete store at this path, or its patient is excluded.
    """
    return _parse(path, _attributes(path))


def read_crop(path: Path) -> Crop:
    """Read a crop and check every array against its checksum.

    Raises:
        CropError: The store is missing, incomplete or damaged, or its patient is excluded. The
            message names the patient.
    """
    attributes = read_attributes(path)
    arrays = {name: read_array(path, name, attributes) for name in attributes.crc32}
    for name in ("image", "inside"):
        if name not in arrays:
            raise _damaged(path, attributes.patient_id, f"the array `{name}` has no checksum")
    return Crop(arrays["image"], arrays.get("mask"), arrays["inside"], attributes)


def read_array(path: Path, name: str, attributes: CropAttributes) -> npt.NDArray[Any]:
    """An array of a store, checked against its checksum.

    Args:
        path: The store.
        name: `image`, `mask` or `inside`.
        attributes: Attributes of the store.

    Raises:
        CropError: The array is missing or damaged.
    """
    import zarr

    try:
        array: npt.NDArray[Any] = zarr.open_array(path / name, mode="r", zarr_format=3)[...]
    except Exception as error:  # zarr and its codecs raise many kinds
        raise _damaged(
            path, attributes.patient_id, f"array `{name}`: {type(error).__name__}: {error}"
        ) from None
    if zlib.crc32(np.ascontiguousarray(array).data) != attributes.crc32[name]:
        raise _damaged(path, attributes.patient_id, f"array `{name}` does not match its checksum")
    return array


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


def _root(status: Status | None, attributes: CropAttributes) -> dict[str, Any]:
    status = status or Status("ok", "crop")
    return {"version": VERSION, "status": status_json(status), "crop": attributes.to_json()}


def _part(path: Path) -> Path:
    """A folder beside `path` to write into; what a killed job of this patient left is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{path.name}.*.part"):
        shutil.rmtree(old, ignore_errors=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _publish(part: Path, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(part, path)


def _attributes(path: Path) -> dict[str, Any]:
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
        Status(**attributes["status"])
    except Exception as error:  # zarr raises many kinds
        raise _damaged(path, path.stem, f"{type(error).__name__}: {error}") from None
    return attributes


def _parse(path: Path, attributes: dict[str, Any]) -> CropAttributes:
    status = Status(**attributes["status"])
    if status.state == "excluded":
        raise CropError(
            "an excluded patient has no crop", where=f"patient {path.stem}, {path}", got=status.problem
        )
    if attributes.get("version") != VERSION:
        raise CropError(
            "a crop was written by another version of the software",
            where=f"patient {path.stem}, {path}",
            expected=f"version {VERSION}",
            got=str(attributes.get("version")),
            action="run the rule `crop` again",
        )
    try:
        return from_json(attributes["crop"])
    except (TypeError, KeyError) as error:
        raise _damaged(path, path.stem, f"attributes: {error}") from None


def _damaged(path: Path, patient_id: str, got: str) -> CropError:
    return CropError(
        "a stored crop cannot be trusted",
        where=f"patient {patient_id}, {path}",
        expected="a complete store whose arrays match their checksums",
        got=" ".join(got.split())[:300],
        action="delete it and run the rule `crop` again",
    )
