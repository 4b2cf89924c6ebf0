"""The registration of a patient as two pictures that take turns: the fixed image, and the moved one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OVERLAYS = {"pet_to_ct.png": "CT and PET", "quality.png": "template and patient"}
"""Overlay of the stage `register` → what takes turns; the first that a patient has is shown."""
COLUMNS = 4
"""Columns of an overlay: the fixed image, the moved one after registration, both overlaid before and after."""


@dataclass(frozen=True)
class Blink:
    """Two pictures side by side in one file.

    Attributes:
        file: Its name.
        what: What takes turns.
        width: Pixels of one picture.
        height: Pixels.
    """

    file: str
    what: str
    width: int
    height: int


def write_blink(registration: Path, path: Path) -> Blink | None:
    """Cut the fixed and the moved image out of a patient's overlay; None where nothing was registered.

    Args:
        registration: Folder of the patient's registration.
        path: PNG file, in grey levels.
    """
    from PIL import Image

    for name, what in OVERLAYS.items():
        if (registration / name).is_file():
            with Image.open(registration / name) as sheet:
                width = sheet.width // COLUMNS
                part = sheet.crop((0, 0, 2 * width, sheet.height)).convert("L")
                # 64 grey levels halve the file.
                part.quantize(64).save(path, optimize=False, compress_level=6)
                return Blink(path.name, what, width, sheet.height)
    return None
