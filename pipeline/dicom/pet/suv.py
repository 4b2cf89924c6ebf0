"""Stored PET values to standardised uptake values, with the reasoning beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.factor import SuvFactor, suv_factor
from pipeline.dicom.pet.given_measures import ct_weight_flags
from pipeline.dicom.pet.plausibility import image_flags, image_values, require_possible
from pipeline.dicom.pet.prerequisites import dose_as_read
from pipeline.dicom.pet.radionuclide import nuclide_of
from pipeline.dicom.pet.reference_region import body_on_ct, body_reference
from pipeline.errors import SuvError
from pipeline.settings.base import Policy
from pipeline.settings.dicom import SuvSettings
from pipeline.tables.failures import own_result
from pipeline.tables.status import patient_stage, propagate_exclusion
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Volume

SUV_JSON = "suv.json"
_HEADER, _CT_HEADER, _STORED = "pet.json", "ct.json", "pet_stored.nii.gz"


def suv_file(settings: SuvSettings) -> str:
    """Name of the file that `suv_patient` writes: it says what the SUV is normalised by."""
    return f"pet_suv{settings.normalisation}.nii.gz"


def suv_patient(
    convert: Path, out: Path, settings: SuvSettings, policy: Policy, *, needed: bool = True
) -> None:
    """Write a patient's SUV volume (float32; g/mL, for `bsa` cm²/mL) and `suv.json`.

    `suv.json` holds the factor, every header value used, the steps taken, the assumptions
    and the flags, so that a person can recompute it.

    Args:
        convert: The patient's folder of `convert_patient`.
        out: Folder of this patient's SUV.
        settings: Normalisation and limits.
        policy: What a patient whose headers give no SUV does.
        needed: Whether the study's crops hold the PET; where they hold the CT alone, the folder gets
            its status and nothing else.

    Raises:
        SuvError: (policy `stop`) the headers cannot give an SUV.
    """
    if propagate_exclusion(convert, out):
        return
    with patient_stage("suv", out.name, out, policy) as work:
        if not needed:
            return
        header = _read_header(convert / _HEADER)
        result = suv_factor(header, settings)
        for assumption in result.audit.assumptions:
            if "by suv." in assumption:  # a setting overruled the file: more than a convention
                work.warnings.warn(assumption)
        volume = _scaled(read_nifti(convert / _STORED, "pet_stored"), result)
        by_uptake = body_reference(volume)
        reference = body_on_ct(convert, volume) or by_uptake
        values = image_values(volume.array, reference.median, settings.normalisation)
        require_possible(values, settings)
        write_nifti(work.folder / suv_file(settings), volume, compression_level=1)
        odd = (*ct_weight_flags(header.weight_kg, _ct_weight_kg(convert)), *image_flags(values, settings))
        content = {
            **_account(header, result, settings),
            "suvmax": values.suv_max,
            "suv_999": values.high,
            "reference": asdict(reference),
            "reference_by_uptake": asdict(by_uptake),
            "flags": [*result.audit.flags, *odd],
        }
        (work.folder / SUV_JSON).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read_header(path: Path) -> PetHeader:
    """Header of the converted PET. The manifest was compared: where there is none, there is no PET."""
    if not path.is_file():
        raise SuvError(
            "the patient has no PET, and an SUV needs one",
            where="stage convert",
            got="a CT alone" if (path.parent / "ct.json").is_file() else "no image",
            action="send the PET; with index.modalities: [pet, ct] a patient without is refused at the start",
        )
    with own_result(path, "JSON with a PET header"):
        return PetHeader.from_json(json.loads(path.read_text(encoding="utf-8"))["header"])


def _ct_weight_kg(convert: Path) -> float | None:
    """Weight that the CT of the PET's examination (the one in its frame of reference) writes; None without."""
    path = convert / _CT_HEADER
    pet = json.loads((convert / _HEADER).read_text(encoding="utf-8"))
    if not path.is_file() or pet.get("pet_to_ct") != "same_frame":
        return None
    weight = json.loads(path.read_text(encoding="utf-8"))["header"].get("weight_kg")
    return None if weight is None else float(weight)


def _scaled(stored: Volume, result: SuvFactor) -> Volume:
    """Stored values × factor, multiplied in double precision slice by slice."""
    factors = np.asarray(result.factors, dtype=np.float64)
    if len(factors) not in (1, len(stored.array)):
        raise SuvError(
            "slices and their factors differ in number",
            expected=str(len(stored.array)),
            got=str(len(factors)),
        )
    factors = np.broadcast_to(factors, len(stored.array))
    suv = np.empty(stored.array.shape, dtype=np.float32)
    for number, factor in enumerate(factors):
        suv[number] = stored.array[number] * factor
    return stored.with_array(suv, "pet_suvbw")


def _account(header: PetHeader, result: SuvFactor, settings: SuvSettings) -> dict[str, Any]:
    """What `suv.json` says about the factor."""
    single = result.factors[0] if len(set(result.factors)) == 1 else None
    dose_bq = dose_as_read(header.total_dose_bq, settings)
    dose_mbq = None if dose_bq is None else round(dose_bq / 1e6, 3)
    values = asdict(header)
    slices = values.pop("slices")
    return {
        "normalisation": settings.normalisation,
        "unit": "cm2/mL" if settings.normalisation == "bsa" else "g/mL",
        "file": suv_file(settings),
        "factor": single,
        "factors_by_slice": None if single is not None else list(result.factors),
        "units": header.units,
        "decay_correction": header.decay_correction,
        "path": list(result.audit.path),
        "assumptions": list(result.audit.assumptions),
        "uptake_minutes": result.uptake_minutes,
        "tracer": header.radiopharmaceutical or nuclide_of(header.radionuclide, ""),
        "radionuclide": nuclide_of(header.radionuclide, header.radiopharmaceutical),
        "weight_kg": header.weight_kg,
        "dose_mbq": dose_mbq,
        "dose_mbq_per_kg": round(dose_mbq / header.weight_kg, 3) if dose_mbq and header.weight_kg else None,
        "time_evidence": [asdict(entry) for entry in result.evidence],
        "scanner": f"{header.manufacturer} {header.model}".strip(),
        "header": values,
        "slice_times": slices,
    }
