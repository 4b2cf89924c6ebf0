"""Reading slices and arrays from image files: PNG, JPEG, TIFF, NPY, NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError
from pipeline.tables.failures import raise_machine_failure
from pipeline.volumes.nifti import read_nifti

Array = npt.NDArray[Any]
LOSSY = (".jpg", ".jpeg")
"""Formats that change values, most at edges: good enough for an image, not for a mask."""


def load_image(path: Path) -> Array:
    """Values of an image file: (Y, X), (Z, Y, X) or (C, Z, Y, X); colours are channels.

    Raises:
        CropError: The file is missing, of another format, or cannot be read.
        GeometryError: A NIfTI file that is cut, damaged or not 3D.
    """
    reader = READERS.get(ending(path))
    if reader is None or not path.is_file():
        raise CropError(
            "an image is missing or has a format that is not supported",
            where=str(path),
            expected=", ".join(sorted(READERS)),
        )
    try:
        return reader(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise_machine_failure(error)
        raise unreadable(path, error) from None


def load_mask(path: Path) -> Array:
    """Values of a mask file, as :func:`load_image`.

    Raises:
        CropError: The file is a JPEG, whose values near edges are not those that were drawn; or see
            :func:`load_image`.
    """
    if ending(path) in LOSSY:
        raise CropError(
            "a mask is a JPEG, which changes values near edges",
            where=str(path),
            expected=", ".join(sorted(set(READERS) - set(LOSSY))),
            action="save the mask without loss, from its source",
        )
    return load_image(path)


def ending(path: Path) -> str:
    """Ending of a file's name in lower case, `.nii.gz` as a whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def file_named(folder: Path, stem: str) -> Path | None:
    """The image file of a folder with a name before its ending, e.g. `image`; None where there is none.

    Raises:
        CropError: There is more than one.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if ending(path) in READERS and path.name[: -len(ending(path))] == stem
    )
    if len(files) > 1:
        raise CropError(
            f"there is more than one {stem}", where=str(folder), got=", ".join(p.name for p in files)
        )
    return files[0] if files else None


def unreadable(path: Path, error: Exception) -> CropError:
    """The error of a file that a library could not read."""
    return CropError("an image cannot be read", where=str(path), got=f"{type(error).__name__}: {error}")


def _load_npy(path: Path) -> Array:
    array: Array = np.load(path, allow_pickle=False)
    return array


def _load_nifti(path: Path) -> Array:
    return np.asarray(read_nifti(path).array)


def _load_image_file(path: Path) -> Array:
    from PIL import Image

    with Image.open(path) as file:
        pages = []
        for page in range(getattr(file, "n_frames", 1)):
            file.seek(page)
            # Palettes, transparency and inks are ways to say colours.
            indirect = file.mode in ("P", "PA", "RGBA", "CMYK", "YCbCr")
            pages.append(np.asarray(file.convert("RGB") if indirect else file))
    stacked = np.stack(pages)
    # Colour: (Z, Y, X, 3) → (3, Z, Y, X)
    return np.moveaxis(stacked, -1, 0) if stacked.ndim == 4 else stacked


READERS: dict[str, Callable[[Path], Array]] = {
    ".npy": _load_npy,
    ".png": _load_image_file,
    ".jpg": _load_image_file,
    ".jpeg": _load_image_file,
    ".tif": _load_image_file,
    ".tiff": _load_image_file,
    ".nii": _load_nifti,
    ".nii.gz": _load_nifti,
}
