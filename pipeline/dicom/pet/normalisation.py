"""Body measures that uptake is normalised by: pure formulas of weight (kg), height (m) and sex."""

from __future__ import annotations

from pipeline.errors import SuvError

_HEIGHT_M = (0.4, 2.5)


def suv_scale(normalisation: str) -> float:
    """About what an SUV by a normalisation is over SUVbw, for limits that are given for SUVbw.

    SUVbsa in cm²/mL over SUVbw in g/mL is body surface (cm²) over weight (g): 0.26 for 70 kg and
    1.75 m.
    """
    return 0.25 if normalisation == "bsa" else 1.0


def normalising_mass_g(normalisation: str, weight_kg: float, height_m: float | None, sex: str) -> float:
    """The body measure that takes the place of the weight, in grams (cm² for `bsa`).

    Formulas as in the DICOM standard's PS3.3 C.8.9.1.1.3.1 references and CID 85:
    `lbm_james` 1.10 W − 128 (W/H)² (male), 1.07 W − 148 (W/H)² (female), H in cm;
    `lbm_janmahasatian` 9270 W / (6680 + 216 BMI), 9270 W / (8780 + 244 BMI) (Janmahasatian
    2005); `lbm_james120` with 120 for 128 (the form in which James' formula for men was often
    quoted); `bsa` W^0.425 H^0.725 × 0.007184 m², H in cm (Du Bois 1916); `ibw`
    48.0 + 1.06 (H − 152), 45.5 + 0.91 (H − 152), H in cm (Sugawara 1999). For the sex `O` the mean
    of both formulas is taken (IBSI-SUV manual).

    Args:
        normalisation: As in `suv.normalisation`; `bw` is the weight itself.
        weight_kg: (0010,1030) Patient's Weight.
        height_m: (0010,1020) Patient's Size.
        sex: (0010,0040) Patient's Sex.

    Raises:
        SuvError: Height or sex is missing or impossible, or the formula leaves its range.
    """
    if normalisation == "bw":
        return weight_kg * 1000.0
    height_cm = _usable_height(normalisation, height_m) * 100.0
    if normalisation == "bsa":
        return float(weight_kg**0.425 * height_cm**0.725 * 0.007184 * 1e4)
    men = {"M": (True,), "F": (False,), "O": (True, False)}[_usable_sex(normalisation, sex)]
    mass = sum(_mass_kg(normalisation, weight_kg, height_cm, male) for male in men) / len(men)
    if not 0.2 * weight_kg < mass:
        raise SuvError(
            f"SUV by {normalisation} leaves the formula's range",
            where="(0010,1030) Patient's Weight, (0010,1020) Patient's Size",
            got=f"{mass:.3g} kg for a weight of {weight_kg:g} kg and a height of {height_cm:g} cm",
            action="choose another suv.normalisation",
        )
    return mass * 1000.0


def _mass_kg(normalisation: str, weight_kg: float, height_cm: float, male: bool) -> float:
    if normalisation in ("lbm_james", "lbm_james120"):
        a, b = (1.10, 128.0 if normalisation == "lbm_james" else 120.0) if male else (1.07, 148.0)
        return a * weight_kg - b * (weight_kg / height_cm) ** 2
    if normalisation == "lbm_janmahasatian":
        index = weight_kg / (height_cm / 100.0) ** 2
        return 9270.0 * weight_kg / (6680.0 + 216.0 * index if male else 8780.0 + 244.0 * index)
    if normalisation == "ibw":
        return 48.0 + 1.06 * (height_cm - 152.0) if male else 45.5 + 0.91 * (height_cm - 152.0)
    raise ValueError(f"no normalisation {normalisation}")


def _usable_height(normalisation: str, height_m: float | None) -> float:
    if height_m is None or not _HEIGHT_M[0] <= height_m <= _HEIGHT_M[1]:
        raise SuvError(
            f"missing or impossible height, which SUV by {normalisation} needs",
            where="(0010,1020) Patient's Size",
            expected=f"{_HEIGHT_M[0]:g} to {_HEIGHT_M[1]:g} m",
            got="none" if height_m is None else f"{height_m:g}",
        )
    return height_m


def _usable_sex(normalisation: str, sex: str) -> str:
    if sex.upper() not in ("M", "F", "O"):
        raise SuvError(
            f"missing sex, which SUV by {normalisation} needs",
            where="(0010,0040) Patient's Sex",
            expected="M, F or O",
            got=sex or "none",
        )
    return sex.upper()
