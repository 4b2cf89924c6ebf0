"""Filters scaled by a width, and image sizes a network can take."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipeline.errors import SettingsError


def scaled(filters: int, width: float) -> int:
    """Number of filters at a width: rounded half up, at least 1."""
    return max(1, int(filters * width + 0.5))


def require_divisible(image: Tensor, divisor: int, name: str, smallest: int = 0) -> None:
    """Refuse an image whose sides are not multiples of a network's total pooling.

    Args:
        image: (B, C, *sides).
        divisor: What every side must be a multiple of.
        name: The network, for the message.
        smallest: The least side that leaves something after every pooling; 0: the divisor.

    Raises:
        SettingsError: With the nearest sizes that work.
    """
    sides = tuple(int(side) for side in image.shape[2:])
    least = max(divisor, smallest)
    if all(side >= least and side % divisor == 0 for side in sides):
        return
    raise SettingsError(
        "the crop's size does not fit the network",
        where=name,
        expected=f"every side a multiple of {divisor} and at least {round_up(least, divisor)}",
        got=_text(sides),
        action=f"set crop.shape to {_text(sizes_that_work(sides, divisor, least))}",
    )


def sizes_that_work(sides: Sequence[int], divisor: int, least: int) -> tuple[int, ...]:
    """The next size upwards in which every side works."""
    return tuple(round_up(max(side, least), divisor) for side in sides)


def round_up(side: int, divisor: int) -> int:
    """The least multiple of `divisor` that is not below `side`."""
    return -(-side // divisor) * divisor


def require_2d(image: Tensor, name: str) -> Tensor:
    """A slice (B, C, Y, X) from an image (B, C, 1, Y, X).

    Raises:
        SettingsError: The image has more than one slice.
    """
    if image.shape[2] != 1:
        raise SettingsError(
            "a 2D network was given a volume",
            where=name,
            expected="one slice, crop.shape (1, y, x)",
            got=f"{image.shape[2]} slices",
            action="use a cohort of slices or a 3D network",
        )
    return image.squeeze(2)


def _text(sides: Sequence[int]) -> str:
    return " × ".join(str(side) for side in sides)
