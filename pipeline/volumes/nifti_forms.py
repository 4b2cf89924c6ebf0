"""The two forms in which a NIfTI header gives an image's place, held against each other (nifti1.h, methods 2 and 3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import product

import numpy as np

from pipeline.errors import GeometryError
from pipeline.volumes.volume import FloatArray

_MOST_VOXELS = 0.5


@dataclass(frozen=True)
class FormFields:
    """Places and formats of the header fields of both forms.

    Attributes:
        codes: qform_code and sform_code.
        quaternion: quatern_b, c, d and qoffset_x, y, z.
        rows: srow_x, srow_y and srow_z.
        pixdim: qfac, and the spacing along x, y, z.
    """

    codes: tuple[int, str]
    quaternion: tuple[int, str]
    rows: tuple[int, str]
    pixdim: tuple[int, str]


NIFTI1 = FormFields((252, "2h"), (256, "6f"), (280, "12f"), (76, "4f"))
NIFTI2 = FormFields((344, "2i"), (352, "6d"), (400, "12d"), (104, "4d"))


def has_place(order: str, head: bytes, fields: FormFields) -> bool:
    """Whether a header gives the image's place and the directions of its axes, by qform or sform."""
    return bool(max(struct.unpack_from(order + fields.codes[1], head, fields.codes[0])) > 0)


def require_one_place(order: str, head: bytes, fields: FormFields, shape: tuple[int, ...], name: str) -> None:
    """Refuse a header whose qform and sform put the image more than half a voxel apart.

    Args:
        order: Byte order, `<` or `>`.
        head: The header.
        fields: Where it has what.
        shape: Sizes along x, y, z.
        name: What messages call the file.

    Raises:
        GeometryError: Both are given, and contradict each other.
    """

    def field(place: tuple[int, str]) -> tuple[float, ...]:
        return struct.unpack_from(order + place[1], head, place[0])

    qform_code, sform_code = field(fields.codes)
    if sform_code > 0 >= qform_code:
        _require_own_spacing(np.reshape(field(fields.rows), (3, 4)), field(fields.pixdim)[1:], shape, name)
    if min(qform_code, sform_code) <= 0:
        return
    pixdim = np.abs(field(fields.pixdim)[1:])
    corners = np.array([(*corner, 1.0) for corner in product(*[(0, n - 1) for n in shape])]).T
    sform = np.reshape(field(fields.rows), (3, 4))
    apart = np.abs((_qform(field(fields.quaternion), field(fields.pixdim)) - sform) @ corners).max()
    if not apart <= _MOST_VOXELS * pixdim.min():
        raise GeometryError(
            "an image file's header gives two places",
            where=f"{name}, qform and sform",
            expected="forms that agree within half a voxel, or one of them",
            got=f"{apart:.4g} apart, voxels of {', '.join(f'{v:.4g}' for v in pixdim)}",
            action="set the code of the wrong one to 0",
        )


def _require_own_spacing(
    sform: FloatArray, pixdim: tuple[float, ...], shape: tuple[int, ...], name: str
) -> None:
    """Refuse a spacing that contradicts an sform which stands alone.

    By method 3 the sform alone gives the place, while readers take the spacing from pixdim.
    """
    steps = np.linalg.norm(sform[:, :3], axis=0)
    # Over fewer voxels, as of a cropped image, half a voxel would be more than 1 % of the spacing.
    apart = np.abs(steps - pixdim) * np.maximum(np.array(shape) - 1, 50)
    if not (apart <= _MOST_VOXELS * steps).all():
        raise GeometryError(
            "an image file's header gives two spacings",
            where=f"{name}, pixdim and sform",
            expected="spacings that agree within half a voxel over the volume",
            got=f"pixdim {', '.join(f'{v:.4g}' for v in pixdim)}, "
            f"sform {', '.join(f'{v:.4g}' for v in steps)}",
            action="write the file again from its source",
        )


def _qform(quaternion: tuple[float, ...], pixdim: tuple[float, ...]) -> FloatArray:
    """(3, 4) from voxel index to position, by the unit quaternion of nifti1.h, method 2."""
    b, c, d = quaternion[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    steps = np.abs(pixdim[1:]) * (1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0)
    return np.column_stack([rotation * steps, quaternion[3:]])
