"""2D slices with masks in parallel folders, and a sheet that says which volume each slice is of."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import TableError
from pipeline.releases.release import Release, ReleasedPatient
from pipeline.releases.sheets import ReleaseSheet, sheets_below

IMAGES = ("ct", "images", "image", "img", "slices")
MASKS = ("lesion", "lesions", "masks", "mask", "labels", "label")
IDS = ("slice_id", "patient_id", "image", "id", "filename")
VOLUMES = ("group", "volume", "volume_id", "patient", "case", "subject")
ENDINGS = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
BASE = "papers/chest_slices"


def read_slices(data: Path, time_unit: str) -> Release:
    """Folders of images and of masks with equal names of files, beside a CSV with each slice's volume.

    Slices of one volume are alike; a release that does not say which are of one volume is refused, since
    a network would be tested on neighbours of the slices that it has learned.

    Args:
        data: Folder that holds the folders and the sheet.
        time_unit: Not used: slices have no times.

    Raises:
        TableError: There are no images or masks, or no sheet tells the volumes.
    """
    images, masks = _files(_folder(data, IMAGES, "images")), _files(_folder(data, MASKS, "masks"))
    volumes = _volumes(data)
    patients, left_out = [], {}
    for name, image in images.items():
        if name not in volumes:
            left_out[name] = "no sheet tells the volume of the slice"
        elif name not in masks:
            left_out[name] = "there is no mask of this name"
        else:
            roi = f"../{masks[name].parent.name}/{masks[name].name}"
            patients.append(ReleasedPatient(name, image, roi, {"group": volumes[name]}))
    left_out |= {name: "there is no image of this name" for name in masks if name not in images}
    if not patients:
        raise TableError(
            "no slice has an image, a mask and a volume",
            where=str(data),
            got="; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3]),
        )
    return Release(tuple(patients), left_out, BASE, {})


def _folder(data: Path, names: tuple[str, ...], what: str) -> Path:
    found = sorted(path for path in data.iterdir() if path.is_dir() and path.name.lower() in names)
    if len(found) != 1:
        raise TableError(
            f"the folder of {what} is not one",
            where=str(data),
            expected=f"one folder named {', '.join(names)}",
            got=", ".join(path.name for path in found) or "none",
            action="rename the folder that holds them, or move the others away",
        )
    return found[0]


def _files(folder: Path) -> dict[str, Path]:
    """Name without ending → file, sorted."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), "")
        if not ending or path.name.startswith("."):
            continue
        other = files.setdefault(path.name[: -len(ending)], path)
        if other != path:
            raise TableError("two files have one name", where=str(folder), got=f"{other.name}, {path.name}")
    return files


def _volumes(data: Path) -> dict[str, str]:
    """Slice → its volume, from the one sheet that has both columns.

    Raises:
        TableError: No sheet or several have them; a slice stands twice with different volumes.
    """
    found = [(sheet, *columns) for sheet in sheets_below(data) if all(columns := _columns(sheet))]
    if len(found) != 1:
        raise TableError(
            "no sheet tells which slices are of one volume" if not found else "several sheets tell volumes",
            where=str(data),
            expected=f"one CSV with a column of slices ({', '.join(IDS)}) and one of volumes ({', '.join(VOLUMES)})",
            got=", ".join(sheet.label for sheet, *_ in found) or "none",
            action="write one; where slices are of different patients, give each a volume of its own",
        )
    sheet, slice_column, volume_column = found[0]
    volumes: dict[str, str] = {}
    for row in sheet.rows:
        name, volume = Path(row[slice_column]).name, row[volume_column]
        name = next((name[: -len(e)] for e in ENDINGS if name.lower().endswith(e)), name)
        if volume and volumes.setdefault(name, volume) != volume:
            raise TableError(
                "a slice is of two volumes", where=sheet.label, got=f"{name}: {volumes[name]}, {volume}"
            )
    return volumes


def _columns(sheet: ReleaseSheet) -> tuple[str, str]:
    """Names of the columns of slices and of volumes, empty where the sheet has none."""
    lower = {name.lower(): name for name in sheet.header}
    ids = next((lower[name] for name in IDS if name in lower), "")
    volumes = next((lower[name] for name in VOLUMES if name in lower), "")
    return ids, volumes
