"""Crops as zarr v3 stores: written whole or not at all, checked when read.

One chunk per channel, blosc lz4 with byte shuffle, no shards: training reads whole crops. The
measured choice is tabled in docs/stages/crop.md (`python -m benchmarks.store_layouts`).
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
    """One patient's crop.

    Attributes:
        image: float32 (C, Z, Y, X) in the units the attributes name; padding is filled with
            air (CT -1024 HU, PET 0).
        mask: uint8 (Z, Y, X), 1 = lesion; None where there is no contour.
        inside: uint8 (Z, Y, X), 1 = imaged by all channels.
        attributes: Where it lies and what it holds.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8] | None
    inside: npt.NDArray[np.uint8]
    attributes: CropAttributes


def write_crop(path: Path, crop: Crop, status: Status | None = None) -> None:
    """Write a crop as a zarr v3 group; it appears under its name only when it is whole.

    Args:
        path: `{patient}.zarr`; what lies there is replaced.
        crop: The crop.
        status: What the stage says of the patient; default `ok`.
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
        CropError: There is no whole store at this path.
    """
    return Status(**_attributes(path)["status"])


def read_attributes(path: Path) -> CropAttributes:
    """Attributes of a stored crop, without its arrays.

    Raises:
        CropError: There is no whole store at this path, or its patient is excluded.
    """
    return _parse(path, _attributes(path))


def read_crop(path: Path) -> Crop:
    """Read a crop and check every array against its checksum.

    Raises:
        CropError: The store is missing, incomplete, damaged, or its patient is excluded; the
            message names the patient.
    """
    attributes = read_attributes(path)
    found = {name: read_array(path, name, attributes) for name in attributes.crc32}
    for name in ("image", "inside"):
        if name not in found:
            raise _damaged(path, attributes.patient_id, f"the array `{name}` has no checksum")
    return Crop(found["image"], found.get("mask"), found["inside"], attributes)


def stored_shape(path: Path, attributes: CropAttributes) -> tuple[int, ...]:
    """Shape (C, Z, Y, X) of a stored image.

    Raises:
        CropError: It is missing or damaged.
    """
    import zarr

    try:
        return tuple(zarr.open_array(path / "image", mode="r", zarr_format=3).shape)
    except Exception as error:  # zarr raises many kinds
        raise _damaged(
            path, attributes.patient_id, f"array `image`: {type(error).__name__}: {error}"
        ) from None


def read_array(
    path: Path, name: str, attributes: CropAttributes, out: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """One array of a store, checked against its checksum.

    Args:
        path: The store.
        name: `image`, `mask` or `inside`.
        attributes: The store's.
        out: Array of the same shape and kind to unpack into, which spares a copy.

    Raises:
        CropError: It is missing or damaged.
    """
    import zarr

    try:
        stored = zarr.open_array(path / name, mode="r", zarr_format=3)
        array: npt.NDArray[Any]
        if out is None:
            array = stored[...]
        else:
            from zarr.core.buffer import default_buffer_prototype

            stored.get_basic_selection(..., out=default_buffer_prototype().nd_buffer.from_numpy_array(out))
            array = out
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
            "channels and image differ",
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
        # an empty chunk is written too: a missing file must never read as zeros
        config={"write_empty_chunks": True},
    )
    stored[...] = array


def _root(status: Status | None, attributes: CropAttributes) -> dict[str, Any]:
    told = status or Status("ok", "crop")
    return {"version": VERSION, "status": status_json(told), "crop": attributes.to_json()}


def _part(path: Path) -> Path:
    """A sibling to write into; remains of a killed job of this patient are removed."""
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
        found: dict[str, Any] = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
        Status(**found["status"])
    except Exception as error:  # zarr raises many kinds
        raise _damaged(path, path.stem, f"{type(error).__name__}: {error}") from None
    return found


def _parse(path: Path, found: dict[str, Any]) -> CropAttributes:
    status = Status(**found["status"])
    if status.state == "excluded":
        raise CropError(
            "an excluded patient has no crop", where=f"patient {path.stem}, {path}", got=status.problem
        )
    if found.get("version") != VERSION:
        raise CropError(
            "a crop was written by another version",
            where=f"patient {path.stem}, {path}",
            expected=f"version {VERSION}",
            got=str(found.get("version")),
            action="run the rule `crop` again",
        )
    try:
        return from_json(found["crop"])
    except (TypeError, KeyError) as error:
        raise _damaged(path, path.stem, f"attributes: {error}") from None


def _damaged(path: Path, patient_id: str, got: str) -> CropError:
    return CropError(
        "a stored crop cannot be trusted",
        where=f"patient {patient_id}, {path}",
        expected="a whole store whose arrays match their checksums",
        got=" ".join(got.split())[:300],
        action="delete it and run the rule `crop` again",
    )
