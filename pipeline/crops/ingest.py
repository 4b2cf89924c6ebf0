"""The rule `ingest`: slices and arrays in the same store as cropped patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.crops.image_files import file_named, load_image, load_mask, unreadable
from pipeline.crops.mask_values import mask_labels
from pipeline.crops.slice_values import prepare_image, prepare_mask
from pipeline.errors import CropError, PatientError
from pipeline.settings.base import Policy
from pipeline.settings.ingest import IngestSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop, write_excluded
from pipeline.tables.failures import raise_machine_failure
from pipeline.tables.files import PatientFiles, images_in_place
from pipeline.tables.status import Status, data_and_machine_told_apart, stop_or_exclude

Array = npt.NDArray[Any]
Spacing = tuple[float, float, float]
STAGE = "ingest"


@dataclass(frozen=True)
class SliceStore:
    """How slices are stored.

    Attributes:
        settings: Colours, equalisation, size and range of values.
        shape: (z, y, x) that slices are resized to, where the settings say so.
        spacing_mm: Voxel (z, y, x), which image formats of slices do not record.
        classes: Class → its value in masks; empty: the study tells no classes apart.
    """

    settings: IngestSettings = field(default_factory=IngestSettings)
    shape: tuple[int, int, int] = (1, 1, 1)
    spacing_mm: Spacing = (1.0, 1.0, 1.0)
    classes: Mapping[str, int] = field(default_factory=dict)


def ingest_patient(patient: PatientFiles, out: Path, policy: Policy, store: SliceStore | None = None) -> None:
    """Write the slice or array of a patient, and its mask, as a crop.

    Args:
        patient: `folder` is the image: a PNG, JPEG, TIFF, NPY or NIfTI file, an NPZ with `image` and
            optionally `mask`, or a folder with `image.*` and optionally `mask.*`. Arrays are
            (Y, X), (Z, Y, X) or (C, Z, Y, X); colour images give three channels. `roi` is the
            path of the mask, relative to the folder of the image; non-zero is lesion, or each
            class has its value. If it is empty, the mask is looked for as above.
        out: `{patient}.zarr`; a 2D image has Z = 1.
        policy: What happens to a patient whose files cannot be read.
        store: How slices are stored; None: as they are, 1 mm.

    Raises:
        CropError: A file is missing, unreadable, of the wrong shape or not finite, or a mask holds a
            value of no class (under policy `stop`).
        PatientError: (policy `stop`) no images.
        MachineError: Images that were there when the run began are gone, or changed meanwhile.
    """
    store = store or SliceStore()
    try:
        with data_and_machine_told_apart(), images_in_place(patient):
            arrays = _prepared(_read(patient, store.classes), store, patient.folder.name)
            classes = tuple(store.classes)
            write_arrays(patient.patient_id, arrays.image, arrays.mask, out, store.spacing_mm, classes)
    except PatientError as error:
        excluded = Status("excluded", STAGE, consequence="excluded from the study")
        write_excluded(out, stop_or_exclude(error, patient.patient_id, excluded, policy))


def write_arrays(
    patient_id: str,
    image: Array,
    mask: Array | None,
    out: Path,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    classes: tuple[str, ...] = (),
) -> None:
    """Store an image, whose channels are called `image`, or `image0`, `image1`, …, and its mask as a crop.

    Args:
        patient_id: The patient.
        image: (Y, X), (Z, Y, X) or (C, Z, Y, X).
        mask: (Y, X) or (Z, Y, X), non-zero is lesion, or the labels of classes; None: there is no contour.
        out: `{patient}.zarr`.
        spacing_mm: Voxel (z, y, x).
        classes: Names of the classes of labels 1, 2, …; empty: the mask tells none apart.

    Raises:
        CropError: The shapes do not fit or a value is not finite.
    """
    image = _with_four_axes(image, "image")
    names = ("image",) if len(image) == 1 else tuple(f"image{i}" for i in range(len(image)))
    labels = None
    if mask is not None:
        values = {name: label for label, name in enumerate(classes, start=1)}
        labels = mask_labels(_with_four_axes(mask, "mask"), values, "mask")
    attributes = CropAttributes(
        patient_id=patient_id,
        channels=names,
        units=("",) * len(names),
        quantities=names,
        spacing_mm=spacing_mm,
        contour="none" if labels is None else "manual",
        lesion_coverage=None if labels is None else 1.0,
        lesion_ml=None if labels is None else float((labels > 0).sum() * np.prod(spacing_mm) / 1000.0),
        classes=() if labels is None else classes,
    )
    inside = np.ones(image.shape[1:], dtype=np.uint8)
    crop = Crop(image.astype(np.float32), labels, inside, attributes)
    write_crop(out, crop, Status("ok", STAGE))


@dataclass(frozen=True)
class _Arrays:
    """Image (C, Z, Y, X) and labels (Z, Y, X) of the mask of a patient, of one size."""

    image: Array
    mask: Array | None


def _prepared(arrays: _Arrays, store: SliceStore, name: str) -> _Arrays:
    image = prepare_image(arrays.image, store.settings, store.shape, name)
    if arrays.mask is None:
        return _Arrays(image, None)
    return _Arrays(image, prepare_mask(arrays.mask, store.settings, store.shape, name))


def _read(patient: PatientFiles, classes: Mapping[str, int]) -> _Arrays:
    source = patient.folder
    if source.suffix.lower() == ".npz" and source.is_file():
        return _read_npz(source, classes)
    image_file = file_named(source, "image") if source.is_dir() else source
    if image_file is None:
        raise CropError("there is no image", where=str(source), expected="a file named image.*")
    mask_file = image_file.parent / patient.roi if patient.roi else None
    if mask_file is None and source.is_dir():
        mask_file = file_named(source, "mask")
    image = _with_four_axes(load_image(image_file), image_file.name)
    mask = None if mask_file is None else _labels(load_mask(mask_file), classes, mask_file.name)
    return _same_size(image, mask, image_file.name)


def _read_npz(path: Path, classes: Mapping[str, int]) -> _Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            image, mask = archive["image"], archive.get("mask")
    except (OSError, ValueError, KeyError) as error:
        raise_machine_failure(error)
        raise unreadable(path, error) from None
    image = _with_four_axes(image, path.name)
    return _same_size(image, None if mask is None else _labels(mask, classes, path.name), path.name)


def _same_size(image: Array, mask: Array | None, name: str) -> _Arrays:
    if mask is not None and mask.shape != image.shape[1:]:
        raise CropError(
            "mask and image differ in size", where=name, expected=str(image.shape[1:]), got=str(mask.shape)
        )
    return _Arrays(image, mask)


def _with_four_axes(array: Array, name: str) -> Array:
    """(C, Z, Y, X) of an array of 2, 3 or 4 axes."""
    if array.ndim not in (2, 3, 4) or array.dtype.kind not in "buif":
        raise CropError(
            "an image has the wrong shape or data type",
            where=name,
            expected="numbers (Y, X), (Z, Y, X) or (C, Z, Y, X)",
            got=f"{array.dtype} {array.shape}",
        )
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def _labels(array: Array, classes: Mapping[str, int], name: str) -> Array:
    """Labels (Z, Y, X) of a mask as it was read."""
    return mask_labels(_with_four_axes(array, name), classes, name)
