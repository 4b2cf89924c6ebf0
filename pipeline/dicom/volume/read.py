"""A chosen series as one volume, read file by file so that memory holds the volume once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.dicom.header.frames import Rescale, frame_values, planes_of
from pipeline.dicom.header.geometry import Plane, grid_of_planes, slice_order
from pipeline.dicom.header.values import quiet_reading
from pipeline.dicom.volume.gantry_tilt import straighten
from pipeline.dicom.volume.pixels import (
    AIR,
    Array,
    Padding,
    mapped_values,
    padding_of,
    put_integers,
    real_values,
    require_size,
)
from pipeline.dicom.volume.stored_frames import StoredFrames, frames_of
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.failures import raise_machine_failure
from pipeline.volumes.volume import Quantity, Volume

Header = Callable[[Dataset], None]


@dataclass
class Stack:
    """Slices in the order of reading.

    Attributes:
        quantity: What the values are.
        array: (n, rows, columns); int16 as long as every slice allows it, else float32.
        planes: The image plane of each slice.
        padded: Voxels that are no image by (0028,0120); None as long as there are none.
    """

    quantity: Quantity
    array: Array
    planes: list[Plane] = field(default_factory=list)
    padded: npt.NDArray[np.bool_] | None = None

    def add(self, frame: Array, rescales: Sequence[Rescale], plane: Plane, padding: Padding | None) -> None:
        """Put the next slice on the stack; what is padding becomes air, or no activity."""
        padded = padding.voxels(frame, rescales[0], self.quantity) if padding else None
        if padded is not None:
            image = frame[~padded]
            frame = np.where(padded, image.min() if image.size else frame.dtype.type(0), frame)
        number = len(self.planes)
        linear = len(rescales) == 1 and math.isinf(rescales[0].first) and math.isinf(rescales[0].last)
        if self.array.dtype == np.int16 and not (
            linear and put_integers(frame, rescales[0], self.array[number])
        ):
            self.array = self.array.astype(np.float32)
        if self.array.dtype == np.float32:
            where = f"{self.quantity} series"
            self.array[number] = (
                real_values(frame, rescales[0]) if linear else mapped_values(frame, rescales, padded, where)
            )
        if padded is not None:
            self.array[number][padded] = AIR[self.quantity]
            if self.padded is None:
                self.padded = np.zeros(self.array.shape, dtype=bool)
            self.padded[number] = padded
        self.planes.append(plane)


@dataclass(frozen=True)
class SeriesVolume:
    """A series as one volume.

    Attributes:
        volume: Values and grid.
        order: By slice of the volume, the number of the frame that it came from; frames are
            counted through the files in the order given.
        notes: What a person should know of it.
        imaged: Voxels that are image; None where all are. The others, padding by (0028,0120),
            hold air or 0.
    """

    volume: Volume
    order: list[int]
    notes: list[str]
    imaged: Volume | None = None


def read_series(
    files: Sequence[Path], quantity: Quantity, settings: ConvertSettings, header: Header
) -> SeriesVolume:
    """Read the files of a series.

    Args:
        files: All files of the series.
        quantity: `ct_hu` (int16 where the rescaled values are integers) or `pet_stored` (float32).
        settings: Tolerance of slice gaps, and what happens to stacks of a tilted gantry.
        header: Called with the headers of every file, in the order of `files`.

    Raises:
        DicomError: Files that cannot be read or do not make one regular volume.
    """
    where = f"{'CT' if quantity == 'ct_hu' else 'PET'} series"
    stack: Stack | None = None
    with quiet_reading():
        for dataset in _datasets(files, where):
            require_size(dataset, len(files), settings, where)
            header(dataset)
            planes, frames, padding = planes_of(dataset), frames_of(dataset, where), padding_of(dataset)
            _require_sizes(planes, frames, where)
            if stack is None:
                stack = _new_stack(quantity, frames, len(files))
            for plane, frame, values in zip(planes, frames.values, frame_values(dataset), strict=True):
                _require_shape(stack, frame, where)
                rescale = _usable_rescale(values.rescale, quantity, frame.dtype.kind in "iu", where)
                stack.add(frame, (rescale, *values.more), plane, padding)
    if stack is None:
        raise DicomError("the series has no files", where=where)
    return _in_order(stack, settings, where)


def _datasets(files: Sequence[Path], where: str) -> Iterable[Dataset]:
    for number, path in enumerate(files):
        try:
            yield _with_syntax(pydicom.dcmread(path, force=True))
        except Exception as error:  # whatever broken bytes provoke in the reader
            raise_machine_failure(error)
            # The message gives a number: files are often named by their UID, which stays in the index.
            raise DicomError(
                "a file of the series cannot be read",
                where=f"{where}, file {number + 1} of {len(files)} in series.json",
                got=type(error).__name__,
            ) from None


def _with_syntax(dataset: pydicom.FileDataset) -> Dataset:
    """Add the transfer syntax of a dataset without file meta information: that of its encoding."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _new_stack(quantity: Quantity, frames: StoredFrames, files: int) -> Stack:
    """An empty stack for the whole series, if every file holds as many frames as the first."""
    shape = (files * frames.count, *frames.shape)
    return Stack(quantity, np.empty(shape, np.int16 if quantity == "ct_hu" else np.float32))


def _require_sizes(planes: Sequence[Plane], frames: StoredFrames, where: str) -> None:
    if len(planes) != frames.count:
        raise DicomError(
            "frames and their positions differ in number",
            where=f"{where}, (0028,0008) Number of Frames, (5200,9230)",
            expected=str(len(planes)),
            got=str(frames.count),
        )


def _require_shape(stack: Stack, frame: Array, where: str) -> None:
    if frame.shape != stack.array.shape[1:]:
        raise DicomError(
            "slices of one series differ in matrix size",
            where=f"{where}, (0028,0010) Rows, (0028,0011) Columns",
            expected="{}×{}".format(*stack.array.shape[1:]),
            got="{}×{}".format(*frame.shape),
        )
    if len(stack.planes) >= len(stack.array):
        raise DicomError("files of one series differ in their number of frames", where=where)


def _usable_rescale(rescale: Rescale | None, quantity: Quantity, integers: bool, where: str) -> Rescale:
    """The rescale; stored floating-point numbers (7FE0,0008) of a PET need none."""
    if rescale is not None and rescale.slope != 0:
        return rescale
    if rescale is None and quantity == "pet_stored" and not integers:
        return Rescale(1.0, 0.0)
    meant = "Hounsfield units" if quantity == "ct_hu" else "activity or SUV"
    raise DicomError(
        f"stored values cannot be turned into {meant}" if rescale is None else "a rescale slope of 0",
        where=f"{where}, (0028,1052) Rescale Intercept, (0028,1053) Rescale Slope",
        expected="both in every slice (of a PET the slope alone will do)",
        got="one of them is missing in a slice" if rescale is None else "0",
        action="send the series as the scanner wrote it",
    )


def _in_order(stack: Stack, settings: ConvertSettings, where: str) -> SeriesVolume:
    """The stack sorted along its normal, on a regular grid."""
    count = len(stack.planes)
    array = stack.array[:count]
    broken = sum(not plane.is_complete() for plane in stack.planes)
    order = list(range(count)) if broken else slice_order(stack.planes)
    planes = [stack.planes[i] for i in order]
    resample = settings.gantry_tilt == "resample"
    stack_grid = grid_of_planes(planes, settings.spacing_tolerance_mm, where, allow_shear=resample)
    if order != list(range(count)):
        array = array[order]
    if array.dtype == np.float32 and not bool(np.isfinite(array).all()):
        raise DicomError("values that are not finite", where=f"{where}, (7FE0,0010) and the rescale")
    volume, shear_mm = Volume(array, stack_grid.grid, stack.quantity), stack_grid.shear_mm
    imaged = None
    if stack.padded is not None:
        imaged = Volume((~stack.padded[order]).astype(np.uint8), stack_grid.grid, "mask")
    if not shear_mm.any():
        return SeriesVolume(volume, order, [], imaged)
    volume = straighten(volume, shear_mm)
    imaged = straighten(imaged, shear_mm) if imaged is not None else None
    tilt = np.degrees(np.arctan2(np.linalg.norm(shear_mm), volume.grid.spacing_mm[0]))
    note = f"{where}: tilt of {tilt:.1f}° made straight by convert.gantry_tilt"
    return SeriesVolume(volume, order, [note], imaged)
