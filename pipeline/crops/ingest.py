"""Slices and generated arrays into the same store as cropped patients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError, PatientError
from pipeline.settings.base import Policy
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop, write_excluded
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import Status, data_and_machine_told_apart

Array = npt.NDArray[Any]
Spacing = tuple[float, float, float]
log = logging.getLogger(__name__)
STAGE = "ingest"


def ingest_patient(
    patient: PatientFiles, out: Path, policy: Policy, spacing_mm: Spacing = (1.0, 1.0, 1.0)
) -> None:
    """Write one patient's slice or generated array, and mask, as a crop.

    Args:
        patient: `folder` is the image: a PNG, TIFF or NPY file, an NPZ with `image` and
            perhaps `mask`, or a folder with `image.*` and perhaps `mask.*`. Arrays are (Y, X),
            (Z, Y, X) or (C, Z, Y, X); colour images give three channels. `roi` is the mask's
            path, relative to the image's folder; non-zero is lesion; empty: see above.
        out: `{patient}.zarr`; a 2D image has Z = 1.
        policy: What a patient whose files cannot be read does.
        spacing_mm: Voxel (z, y, x); image formats of slices do not say it.

    Raises:
        CropError: A file is missing, unreadable, of the wrong shape or not finite (under
            policy `stop`).
    """
    try:
        with data_and_machine_told_apart():
            image, mask = _read(patient)
        write_arrays(patient.patient_id, (image, mask), out, spacing_mm)
    except PatientError as error:
        if policy == "stop":
            error.where = f"patient {patient.patient_id}" + (f", {error.where}" if error.where else "")
            raise
        log.error("patient %s excluded at %s: %s", patient.patient_id, STAGE, error)
        write_excluded(out, Status("excluded", STAGE, str(error), "excluded from the study"))


def write_arrays(
    patient_id: str,
    arrays: tuple[Array, Array | None],
    out: Path,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    channels: tuple[str, ...] | None = None,
) -> None:
    """Store an image and its mask (or None) as a crop.

    Args:
        patient_id: Names the patient.
        arrays: Image (Y, X), (Z, Y, X) or (C, Z, Y, X), and mask (Y, X) or (Z, Y, X), non-zero
            = lesion.
        out: `{patient}.zarr`.
        spacing_mm: Voxel (z, y, x).
        channels: Names of the channels; default `image`, or `image0`, `image1`, …

    Raises:
        CropError: The shapes do not fit or a value is not finite.
    """
    image = _four(arrays[0], "image")
    mask = None if arrays[1] is None else _three(arrays[1], "mask")
    names = channels or (("image",) if len(image) == 1 else tuple(f"image{i}" for i in range(len(image))))
    attributes = CropAttributes(
        patient_id=patient_id,
        channels=names,
        units=("",) * len(names),
        quantities=names,
        spacing_mm=spacing_mm,
        contour="none" if mask is None else "manual",
        lesion_coverage=None if mask is None else 1.0,
        lesion_ml=None if mask is None else float((mask > 0).sum() * np.prod(spacing_mm) / 1000.0),
    )
    binary = None if mask is None else (mask > 0).astype(np.uint8)
    inside = np.ones(image.shape[1:], dtype=np.uint8)
    crop = Crop(image.astype(np.float32), binary, inside, attributes)
    write_crop(out, crop, Status("ok", STAGE))


def _read(patient: PatientFiles) -> tuple[Array, Array | None]:
    source = patient.folder
    if source.suffix.lower() == ".npz" and source.is_file():
        return _read_npz(source)
    image_file = _only(source, "image") if source.is_dir() else source
    if image_file is None:
        raise CropError("there is no image", where=str(source), expected="a file named image.*")
    mask_file = image_file.parent / patient.roi if patient.roi else None
    if mask_file is None and source.is_dir():
        mask_file = _only(source, "mask")
    image = _four(_load(image_file), image_file.name)
    mask = None if mask_file is None else _three(_load(mask_file), mask_file.name)
    return _checked(image, mask, image_file.name)


def _read_npz(path: Path) -> tuple[Array, Array | None]:
    try:
        with np.load(path, allow_pickle=False) as held:
            image, mask = held["image"], held.get("mask")
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from None
    return _checked(_four(image, path.name), None if mask is None else _three(mask, path.name), path.name)


def _checked(image: Array, mask: Array | None, name: str) -> tuple[Array, Array | None]:
    if mask is not None and mask.shape != image.shape[1:]:
        raise CropError(
            "mask and image differ in size", where=name, expected=str(image.shape[1:]), got=str(mask.shape)
        )
    return image, mask


def _only(folder: Path, stem: str) -> Path | None:
    found = sorted(p for p in folder.iterdir() if p.stem == stem and p.suffix.lower() in READERS)
    if len(found) > 1:
        raise CropError(
            f"there is more than one {stem}", where=str(folder), got=", ".join(p.name for p in found)
        )
    return found[0] if found else None


def _load(path: Path) -> Array:
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise CropError(
            "an image is missing or of a kind that is not read",
            where=str(path),
            expected=", ".join(sorted(READERS)),
        )
    try:
        return reader(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from None


def _load_npy(path: Path) -> Array:
    array: Array = np.load(path, allow_pickle=False)
    return array


def _load_picture(path: Path) -> Array:
    from PIL import Image

    with Image.open(path) as picture:
        pages = []
        for page in range(getattr(picture, "n_frames", 1)):
            picture.seek(page)
            pages.append(np.asarray(picture.convert("RGB") if picture.mode in ("P", "RGBA") else picture))
    stacked = np.stack(pages)
    # colour: (Z, Y, X, 3) -> (3, Z, Y, X)
    return np.moveaxis(stacked, -1, 0) if stacked.ndim == 4 else stacked


READERS: dict[str, Callable[[Path], Array]] = {
    ".npy": _load_npy,
    ".png": _load_picture,
    ".tif": _load_picture,
    ".tiff": _load_picture,
}


def _four(array: Array, name: str) -> Array:
    """(C, Z, Y, X) of an array of 2, 3 or 4 axes."""
    if array.ndim not in (2, 3, 4) or array.dtype.kind not in "buif":
        raise CropError(
            "an image has the wrong shape or kind",
            where=name,
            expected="numbers (Y, X), (Z, Y, X) or (C, Z, Y, X)",
            got=f"{array.dtype} {array.shape}",
        )
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def _three(array: Array, name: str) -> Array:
    """(Z, Y, X) of a mask; a colour mask is lesion where any colour is."""
    four = _four(array, name)
    return np.asarray((four != 0).any(axis=0))


def _unreadable(path: Path, error: Exception) -> CropError:
    return CropError("an image cannot be read", where=str(path), got=f"{type(error).__name__}: {error}")
