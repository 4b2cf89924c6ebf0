"""Slices of different sources alike: grey, equalised, of one size, in one range of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError
from pipeline.settings.ingest import IngestSettings

Array = npt.NDArray[Any]
LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601-7, section 2.5.1), as Pillow's mode L has them."""
BINS = 256
"""Bins of the histogram that is equalised, as an 8-bit image has grey levels."""


def prepare_image(image: Array, settings: IngestSettings, shape: tuple[int, int, int], name: str) -> Array:
    """An image (C, Z, Y, X) as the study stores it: grey, equalised, resized, scaled, in this order.

    Args:
        image: (C, Z, Y, X).
        settings: What is done.
        shape: (z, y, x) that it is resized to.
        name: Name of the file, for messages.

    Raises:
        CropError: An image in colours has not three channels, a volume is to be resized, or an image of
            a single value is to be equalised or scaled.
    """
    if settings.grey and len(image) > 1:
        image = _grey(image, name)
    if settings.equalise == "histogram":
        image = np.stack([_equalised(channel, name) for channel in image])
    if settings.resize and image.shape[1:] != shape:
        _require_slice(image, shape, name)
        image = np.stack([_resized(channel[0], shape[1:])[np.newaxis] for channel in image])
    if settings.scale == "unit":
        image = np.stack([_unit(channel, name) for channel in image])
    return image


def prepare_mask(mask: Array, settings: IngestSettings, shape: tuple[int, int, int], name: str) -> Array:
    """A mask (Z, Y, X) of labels at the size that the study stores, by the nearest pixel.

    Raises:
        CropError: A volume is to be resized.
    """
    if not settings.resize or mask.shape == shape:
        return mask
    _require_slice(mask[np.newaxis], shape, name)
    from skimage.transform import resize

    resized = resize(mask[0], shape[1:], order=0, mode="edge", anti_aliasing=False, preserve_range=True)
    return np.asarray(resized)[np.newaxis].astype(mask.dtype)


def _grey(image: Array, name: str) -> Array:
    if len(image) != 3:
        raise CropError(
            "an image is to be made grey and is not in three colours",
            where=name,
            expected="1 or 3 channels",
            got=f"{len(image)} channels",
            action="set ingest.grey: false",
        )
    return np.tensordot(LUMINANCE, image.astype(np.float64), axes=1)[np.newaxis]


def _equalised(channel: Array, name: str) -> Array:
    """Cumulative share of the values up to each one (Z, Y, X), in (0, 1]."""
    from skimage.exposure import equalize_hist

    _require_contrast(channel, name)
    return np.asarray(equalize_hist(channel.astype(np.float64), nbins=BINS))


def _resized(channel: Array, shape: tuple[int, ...]) -> Array:
    from skimage.transform import resize

    shrinks = any(new < old for new, old in zip(shape, channel.shape, strict=True))
    image = channel.astype(np.float64)
    return np.asarray(resize(image, shape, order=1, mode="edge", anti_aliasing=shrinks, preserve_range=True))


def _unit(channel: Array, name: str) -> Array:
    _require_contrast(channel, name)
    values = channel.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low))


def _require_contrast(channel: Array, name: str) -> None:
    # Values that are not finite are told by the store, with their place.
    if np.isfinite(channel).all() and channel.min() == channel.max():
        raise CropError(
            "an image has a single value, so that its range cannot be spread",
            where=name,
            got=f"{float(channel.min()):g} everywhere",
            action="look whether the file is empty; leave it out, or set ingest.equalise and ingest.scale: none",
        )


def _require_slice(image: Array, shape: tuple[int, int, int], name: str) -> None:
    if image.shape[1] != 1 or shape[0] != 1:
        raise CropError(
            "slices are resized, and this is a volume",
            where=name,
            expected=f"one slice, to be brought to crop.shape {list(shape)}",
            got=f"(z, y, x) {image.shape[1:]}",
            action="set ingest.resize: false, or store its slices one by one",
        )
