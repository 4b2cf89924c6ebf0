"""Doses, weights and factors that nobody has: flags for a person, never a refusal."""

from __future__ import annotations

from pipeline.dicom.header.readable import percent_of_suv
from pipeline.dicom.pet.prerequisites import LEAST_DOSE_BQ

Flags = tuple[str, ...]
_HEIGHT_CM, _HEIGHT_M = (30.0, 260.0), (0.3, 2.6)
_BODY_MASS_INDEX = (9.0, 90.0)
# A real scanner's two factors agree to 0.06 %.
_FACTORS_APART = 0.005
# Weights of one examination that are rounded differently, or with and without clothes.
_WEIGHTS_APART = 0.03
# Usual doses per kg, lowest and highest, of adults' and children's protocols.
_MBQ_KG = {
    # FDG: 2 to 7 (EANM 2.0, Boellaard 2015), 370 to 740 MBq (SNMMI, Delbeke 2006); long fields of view a tenth.
    "F-18": (0.2, 10.0),
    # Choline 370 to 740 MBq (label), methionine and acetate alike.
    "C-11": (0.5, 12.0),
    # Ammonia 370 to 740 MBq (ASNC/SNMMI 2016).
    "N-13": (0.5, 15.0),
    # Water 500 to 1,100 MBq a scan (EANM/ESC 2021).
    "O-15": (1.0, 30.0),
    # PSMA 1.8 to 2.2 MBq/kg (EANM/SNMMI, Fendler 2017), DOTATATE 100 to 200 MBq (EANM, Bozkurt 2017).
    "Ga-68": (0.3, 6.0),
    # Chloride 1,110 to 2,220 MBq (label), 5 to 30 MBq/kg with 3D scanners.
    "Rb-82": (2.0, 35.0),
    # DOTATATE 148 MBq (label), PSMA 200 MBq.
    "Cu-64": (0.3, 8.0),
    # Antibodies 37 to 74 MBq (EANM, Makris 2014).
    "Zr-89": (0.1, 3.0),
    # Iodide 25 to 74 MBq, antibodies up to 185 MBq.
    "I-124": (0.1, 5.0),
}
_ANY_MBQ_KG = (0.05, 35.0)


def philips_flags(direct: float, derived: float | None) -> Flags:
    """Flag an SUV factor that weight, dose and times of the same headers contradict, or that nothing checks.

    Weight or dose was then corrected after the reconstruction, or not written into it.

    Args:
        direct: (7053,xx00) SUV scale factor.
        derived: The factor by body weight that weight, dose and times give; None where (7053,xx09), the factor to
            Bq/mL, or one of them is missing.
    """
    if derived is None:
        return ("nothing checks (7053,xx00): (7053,xx09), weight, dose or times are missing or unusable",)
    apart = derived / direct - 1.0
    if abs(apart) <= _FACTORS_APART:
        return ()
    return (
        f"weight, dose and times make an SUV that differs by {percent_of_suv(100 * apart)} from (7053,xx00), "
        "which is used",
    )


def measure_flags(weight_kg: float | None, height_m: float | None) -> Flags:
    """Flag a weight that the height contradicts: SUVbw needs no height, so that it is no reason to refuse.

    Args:
        weight_kg: (0010,1030) Patient's Weight.
        height_m: (0010,1020) Patient's Size; one in cm is read as such.
    """
    if not weight_kg or weight_kg <= 0 or height_m is None:
        return ()
    if _HEIGHT_CM[0] <= height_m <= _HEIGHT_CM[1]:
        height_m /= 100.0
    if not _HEIGHT_M[0] <= height_m <= _HEIGHT_M[1]:
        return ()
    index = weight_kg / height_m**2
    if _BODY_MASS_INDEX[0] <= index <= _BODY_MASS_INDEX[1]:
        return ()
    return (f"weight {weight_kg:g} kg and height {height_m:g} m make a body mass index of {index:.1f}",)


def ct_weight_flags(weight_kg: float | None, ct_kg: float | None) -> Flags:
    """Flag a weight that the CT of the same examination contradicts.

    Args:
        weight_kg: (0010,1030) Patient's Weight of the PET.
        ct_kg: The CT's; 0 or None where it has none.
    """
    if not weight_kg or weight_kg <= 0 or not ct_kg or ct_kg < 1:
        return ()
    if abs(ct_kg / weight_kg - 1.0) <= _WEIGHTS_APART:
        return ()
    return (f"weight {weight_kg:g} kg in the PET, {ct_kg:g} kg in the CT of the same examination",)


def dose_flags(weight_kg: float | None, dose_bq: float | None, nuclide: str) -> Flags:
    """Flag a dose per kg that nobody gives: a factor in weight or dose shows here and nowhere else.

    Args:
        weight_kg: (0010,1030) Patient's Weight.
        dose_bq: Activity as it was read, in Bq.
        nuclide: The radionuclide, e.g. `F-18`; empty if none is known.
    """
    if not weight_kg or weight_kg <= 0 or dose_bq is None or dose_bq < LEAST_DOSE_BQ:
        return ()
    low, high = _MBQ_KG.get(nuclide, _ANY_MBQ_KG)
    mbq_per_kg = dose_bq / 1e6 / weight_kg
    if low <= mbq_per_kg <= high:
        return ()
    return (
        f"dose of {dose_bq / 1e6:.5g} MBq is {mbq_per_kg:.3g} MBq per kg of body weight; usual of "
        f"{nuclide or 'PET tracers'} are {low:g} to {high:g}",
    )
