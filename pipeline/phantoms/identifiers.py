"""Identifiers planted in the phantom's DICOM, so that a test can look for leaks of them."""

from __future__ import annotations

import hashlib

PLANTED: dict[str, str] = {
    "PatientName": "Zyxwhart^Quillon",
    "PatientID": "MRN5528406",
    "PatientBirthDate": "19470307",
    "AccessionNumber": "ACC7730915",
    "ReferringPhysicianName": "Brekkendorf^Ishbel",
    "InstitutionName": "Kestrelmoor Infirmary",
    "StationName": "KMPETCT04",
}
"""DICOM keyword → text that every phantom file holds (names and numbers go on with the patient's number)."""

UID_ROOT = "2.25.77309155284"
"""How every UID of the phantom that names an object begins (UUID-derived root, PS3.5 B.2)."""

NUMBERED = ("PatientName", "PatientID", "AccessionNumber")


def planted(number: int) -> dict[str, str]:
    """Identifiers of one patient: :data:`PLANTED`, made unique by the patient's number."""
    return {key: f"{text}{number:03d}" if key in NUMBERED else text for key, text in PLANTED.items()}


def uid(seed: int, number: int, what: str) -> str:
    """A UID that depends on nothing but its arguments (no clock, no host).

    Args:
        seed: Seed of the cohort.
        number: Patient's number.
        what: Which object, e.g. `CT/0012`.
    """
    digest = hashlib.sha256(f"suvival phantom/{seed}/{number}/{what}".encode()).digest()
    return f"{UID_ROOT}{int.from_bytes(digest[:11], 'big') % 10**26:026d}"
