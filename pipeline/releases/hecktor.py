"""The HECKTOR challenge's releases of 2021, 2022, 2025 and 2026, read as they were published.

PET in these releases is SUV by body weight (g/mL) already, as their descriptions say; NIfTI cannot, so
the drafted study declares it, and values that cannot be SUV are refused when they are read.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import TableError
from pipeline.releases.hecktor_sheets import FoundFiles, HecktorYear, join_release
from pipeline.releases.release import Release

CLASSES = {"gtvp": 1, "gtvn": 2}
"""Primary tumour and lymph nodes, by their values in the label files from 2022 on."""
NO_BOXES = {"position": "brain_anchored", "boxes": None}
TITLE = "Multi-task segmentation and prognosis, HECKTOR {}"
YEAR_2021 = HecktorYear(
    TITLE.format("2021"), "Progression-free survival", "*_ct.nii*", "*_pt.nii*", boxes=True, paper=True
)


def _later(year: str) -> HecktorYear:
    """The releases without boxes, whose crops hang below the brain, and whose masks tell tumour and nodes apart."""
    return HecktorYear(
        TITLE.format(year),
        "Recurrence-free survival",
        "*__ct.nii*",
        "*__pt.nii*",
        crop=NO_BOXES,
        classes=CLASSES,
    )


def read_hecktor2021(data: Path, time_unit: str) -> Release:
    """The release of 2021: `hecktor_nii/{id}_ct|_pt|_gtvt.nii.gz` beside its sheets, boxes among them.

    Args:
        data: Folder that holds `hecktor_nii`.
        time_unit: `days` or `months`, as the user declared; empty: days, if that can be.

    Raises:
        TableError: Nobody can be used, events are coded otherwise, or sheets contradict one another.
    """
    folder = _require_folder(data, "hecktor_nii")
    found = {
        patient_id: FoundFiles(*(_file(folder, f"{patient_id}_{kind}") for kind in ("ct", "pt", "gtvt")))
        for patient_id in _ids(folder, ("_ct", "_pt"))
    }
    return join_release(data, found, YEAR_2021, time_unit)


def read_hecktor2022(data: Path, time_unit: str) -> Release:
    """The release of 2022: `imagesTr/{id}__CT|__PT.nii.gz`, `labelsTr/{id}.nii.gz` (1 GTVp, 2 GTVn), sheets.

    Args:
        data: Folder that holds `imagesTr`.
        time_unit: As of :func:`read_hecktor2021`.

    Raises:
        TableError: As :func:`read_hecktor2021`.
    """
    images, labels = _require_folder(data, "imagesTr"), data / "labelsTr"
    found = {
        patient_id: FoundFiles(
            _file(images, f"{patient_id}__CT"), _file(images, f"{patient_id}__PT"), _file(labels, patient_id)
        )
        for patient_id in _ids(images, ("__CT", "__PT"))
    }
    return join_release(data, found, _later("2022"), time_unit)


def read_hecktor_by_patient(data: Path, time_unit: str) -> Release:
    """The releases of 2025 and 2026: a folder per patient with `{id}__CT|__PT.nii.gz` and `{id}.nii.gz`.

    The folders lie in `data` or in its subfolders (`Task 1`, `Task 2`, …). A patient who is in several
    has contours in one of them, which is the one that is taken.

    Args:
        data: Folder that the release was unpacked into.
        time_unit: As of :func:`read_hecktor2021`.

    Raises:
        TableError: As :func:`read_hecktor2021`, or a patient has contours in two folders.
    """
    found: dict[str, FoundFiles] = {}
    for place in (data, *_folders(data)):
        for folder in _folders(place):
            name = folder.name
            files = FoundFiles(
                _file(folder, f"{name}__CT"), _file(folder, f"{name}__PT"), _file(folder, name), folder
            )
            if files.ct is None and files.pet is None:
                continue
            found[name] = _with_contour(name, found.get(name), files)
    return join_release(data, found, _later("2025 or 2026"), time_unit)


def _with_contour(patient_id: str, first: FoundFiles | None, second: FoundFiles) -> FoundFiles:
    """Of two folders of a patient the one with the contour."""
    if first is None or first.contour is None:
        return second if first is None or second.contour is not None else first
    if second.contour is not None:
        raise TableError(
            f"patient {patient_id!r} has contours in two folders",
            where=f"{first.own_folder} and {second.own_folder}",
            action="name the one that is meant as DATA",
        )
    return first


def _require_folder(data: Path, name: str) -> Path:
    folder = data / name
    if not folder.is_dir():
        inside = sorted(path.name for path in data.iterdir() if path.is_dir())
        raise TableError(
            f"the release has no folder {name}",
            where=str(data),
            got=", ".join(inside[:8]) or "no folders",
            action=f"give the folder that holds {name} as DATA, or another LAYOUT",
        )
    return folder


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and path.name[0] != ".")


def _ids(folder: Path, endings: tuple[str, str]) -> list[str]:
    """Patients with at least one image in a folder of all patients' files."""
    stems = (_stem(path) for path in folder.iterdir())
    return sorted({stem.removesuffix(end) for stem in stems for end in endings if stem.endswith(end)})


def _stem(path: Path) -> str:
    """Name of a NIfTI file without its ending; empty of any other file."""
    for ending in (".nii.gz", ".nii"):
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return ""


def _file(folder: Path, stem: str) -> Path | None:
    paths = [folder / f"{stem}{ending}" for ending in (".nii.gz", ".nii")]
    return next((path for path in paths if path.is_file()), None)
