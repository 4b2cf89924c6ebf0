"""From PET headers to the factor that turns stored values into SUV (g/mL); pure, no files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.dicom.header.dicom_time import PetTimes
from pipeline.dicom.header.pet_header import PetHeader, SuvAudit
from pipeline.dicom.pet.agreement import agreed_reference
from pipeline.dicom.pet.decay_by_slice import Decay, decay_by_slice
from pipeline.dicom.pet.decay_timing import ReferenceTime, reference_time
from pipeline.dicom.pet.given_measures import dose_flags, measure_flags, philips_flags
from pipeline.dicom.pet.injection_time import injection_time, uptake_time
from pipeline.dicom.pet.normalisation import normalising_mass_g
from pipeline.dicom.pet.plausibility import reference_flags, uptake_flags
from pipeline.dicom.pet.prerequisites import (
    DecayFields,
    dose_as_read,
    require_consistent_decay,
    require_corrected_counts,
    require_possible_frames,
    require_usable,
    usable_dose,
    usable_weight,
)
from pipeline.dicom.pet.radionuclide import decay_fraction, nuclide_of, usable_half_life
from pipeline.dicom.pet.time_evidence import TimeEvidence, time_evidence
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

# (0054,1006) SUV Type by the normalisation it stands for, in each of the units. LBM alone does not
# name its formula (James' factor for men is 120 or 128), and BSA is in cm²/mL.
_TYPES = {
    "GML": {"BW": "bw", "LBMJAMES128": "lbm_james", "LBMJANMA": "lbm_janmahasatian", "IBW": "ibw"},
    "CM2ML": {"BSA": "bsa"},
}
_LBM = {"james_120": "lbm_james120", "james_128": "lbm_james", "janmahasatian": "lbm_janmahasatian"}


@dataclass(frozen=True)
class SuvFactor:
    """How stored values become SUV.

    Attributes:
        factors: One for the series, or one per slice (decay correction NONE); g/mL per
            stored unit (cm²/mL per stored unit for `bsa`).
        uptake_minutes: From injection to scan; None where the headers don't say.
        audit: The reasons.
        evidence: What each element says of the time that values refer to.
    """

    factors: tuple[float, ...]
    uptake_minutes: float | None
    audit: SuvAudit
    evidence: tuple[TimeEvidence, ...] = ()


@dataclass(frozen=True)
class _Factors:
    """Factors of one series, or one per slice, and how they came about."""

    values: tuple[float, ...]
    audit: SuvAudit
    evidence: tuple[TimeEvidence, ...] = ()


def suv_factor(header: PetHeader, settings: SuvSettings) -> SuvFactor:
    """The factor of a PET series: SUV = stored value (rescale applied) × factor.

    SUVbw = activity concentration [Bq/mL] × weight [g] / (dose [Bq] × 2^(−t / T½)), t from
    injection to the time that decay was corrected to.

    Raises:
        SuvError: The headers cannot give an SUV; the message names the elements.
    """
    require_usable(header)
    if header.units in _TYPES:
        factors = _from_stored_suv(header, settings)
    elif header.units == "CNTS":
        factors = _from_counts(header, settings)
    else:
        factors = _after("units BQML: stored values are Bq/mL", _from_activity(header, settings, 1.0))
    uptake = uptake_time(header.times, settings)
    nuclide = nuclide_of(header.radionuclide, header.radiopharmaceutical)
    dose_bq = dose_as_read(header.total_dose_bq, settings)
    odd = (
        *_type_flags(header),
        *uptake_flags(uptake.minutes, settings),
        *measure_flags(header.weight_kg, header.height_m),
        *dose_flags(header.weight_kg, dose_bq, nuclide),
    )
    audit = factors.audit + uptake.audit + SuvAudit((), _orphaned(header), odd)
    return SuvFactor(factors.values, uptake.minutes, audit, factors.evidence)


def _type_flags(header: PetHeader) -> tuple[str, ...]:
    """Flag a kind of SUV beside units of activity: the values may be SUV already."""
    if header.units in _TYPES or not header.suv_type:
        return ()
    return (f"(0054,1006) SUV Type {header.suv_type} beside units {header.units}: are values SUV already?",)


def _orphaned(header: PetHeader) -> tuple[str, ...]:
    """Say which private elements were read without the private creator that vouches for them."""
    places = {
        "ge_scan_datetime": "(0009,100D) as GE's scan date and time",
        "philips_suv_factor": "(7053,1000) as Philips' SUV scale factor",
        "philips_activity_factor": "(7053,1009) as Philips' activity concentration scale factor",
    }
    return tuple(
        f"{places[name]}: the manufacturer is right, the private creator is absent"
        for name in header.without_creator
    )


def _after(step: str, factors: _Factors) -> _Factors:
    """Factors whose derivation began with a step."""
    return replace(factors, audit=SuvAudit(path=(step,)) + factors.audit)


def _from_stored_suv(header: PetHeader, settings: SuvSettings) -> _Factors:
    """Stored values are SUV already; at most the normalisation changes."""
    stored = _stored_normalisation(header, settings)
    flags: tuple[str, ...] = ()
    if header.decay_correction == "NONE":
        flags = ("stored SUV of values that (0054,1102) says were not corrected for decay",)
    path = (f"units {header.units}, SUV type {stored.suv_type}: stored values are SUV already",)
    ratio = _other_normalisation(header, stored.normalisation, settings)
    return replace(ratio, audit=SuvAudit(path, stored.assumptions, flags) + ratio.audit)


@dataclass(frozen=True)
class _StoredSuv:
    """What stored SUV are normalised by."""

    suv_type: str
    normalisation: str
    assumptions: tuple[str, ...] = ()


def _stored_normalisation(header: PetHeader, settings: SuvSettings) -> _StoredSuv:
    """The normalisation of stored SUV by their units and (0054,1006) SUV Type."""
    types = _TYPES[header.units]
    if not header.suv_type:
        suv_type = next(iter(types))
        reason = "which PS3.3 C.8.9.1 reads as BW" if suv_type == "BW" else "and units are cm²/mL"
        return _StoredSuv(
            suv_type,
            types[suv_type],
            (f"SUV by {types[suv_type]}: (0054,1006) SUV Type is absent, {reason}",),
        )
    if header.suv_type == "LBM" and header.units == "GML" and settings.stored_lbm != "refuse":
        formula = _LBM[settings.stored_lbm]
        return _StoredSuv("LBM", formula, (f"SUV type LBM read as {formula} by suv.stored_lbm",))
    if header.suv_type not in types:
        lean = header.suv_type == "LBM" and header.units == "GML"
        raise SuvError(
            "stored SUV of an unknown type",
            where="(0054,1006) SUV Type, (0054,1001) Units",
            expected=f"{', '.join(types)} in {header.units}",
            got=header.suv_type,
            action="set suv.stored_lbm to the formula that the scanner used" if lean else "",
        )
    return _StoredSuv(header.suv_type, types[header.suv_type])


def _other_normalisation(header: PetHeader, stored: str, settings: SuvSettings) -> _Factors:
    """Ratio that turns an SUV of one normalisation into the settings' one."""
    wanted = settings.normalisation
    if stored == wanted:
        return _Factors((1.0,), SuvAudit())
    weight = usable_weight(header.weight_kg, header.height_m)
    wanted_g = normalising_mass_g(wanted, weight, header.height_m, header.sex)
    stored_g = normalising_mass_g(stored, weight, header.height_m, header.sex)
    step = f"SUV by {stored} × {wanted_g:.6g} / {stored_g:.6g}: SUV by {wanted}"
    audit = SuvAudit(path=(step,)) + _sex_audit(header, (stored, wanted))
    return _Factors((wanted_g / stored_g,), audit)


def _sex_audit(header: PetHeader, normalisations: tuple[str, ...]) -> SuvAudit:
    """Say that the mean of both sexes' formulas was taken."""
    if header.sex.upper() != "O" or all(name in ("bw", "bsa") for name in normalisations):
        return SuvAudit()
    return SuvAudit(assumptions=("(0010,0040) Patient's Sex O: the mean of both sexes' formulas",))


def _from_counts(header: PetHeader, settings: SuvSettings) -> _Factors:
    """Philips writes counts, with factors in (7053,xx00) to SUVbw and (7053,xx09) to Bq/mL."""
    direct, activity = header.philips_suv_factor, header.philips_activity_factor
    if direct is not None and direct > 0:
        step = f"units CNTS: Philips private (7053,xx00) SUV scale factor {direct:g}"
        return _after(step, _from_philips_suv(header, settings, direct))
    if activity is not None and activity > 0:
        step = f"units CNTS: Philips private (7053,xx09) activity concentration scale factor {activity:g}"
        return _after(step, _from_activity(header, settings, activity))
    raise SuvError(
        "counts without a factor to activity or SUV",
        where="(0054,1001) Units; (7053,xx00), (7053,xx09) of Philips PET Private Group",
        expected="a positive factor",
        got="CNTS with " + ("none" if direct is None and activity is None else f"{direct} and {activity}"),
    )


def _from_philips_suv(header: PetHeader, settings: SuvSettings, direct: float) -> _Factors:
    audit = require_corrected_counts(_decay_fields(header))
    audit += SuvAudit(flags=philips_flags(direct, _derived_suvbw_factor(header, settings)))
    ratio = _other_normalisation(header, "bw", settings)
    return _Factors((direct * ratio.values[0],), audit + ratio.audit)


def _derived_suvbw_factor(header: PetHeader, settings: SuvSettings) -> float | None:
    """The factor that the activity, weight, dose and times of Philips' counts give; None without them."""
    activity = header.philips_activity_factor
    if not activity or activity < 0:
        return None
    try:
        by_weight = settings.model_copy(update={"normalisation": "bw"})
        return _from_activity(header, by_weight, activity).values[0]
    except SuvError:
        return None  # what the SUV factor does not need is no reason to refuse


def _from_activity(header: PetHeader, settings: SuvSettings, bqml: float) -> _Factors:
    """Factors for stored values that become Bq/mL by one factor."""
    weight = usable_weight(header.weight_kg, header.height_m)
    dose = usable_dose(header.total_dose_bq, weight, header.radiopharmaceutical_items, settings)
    mass = normalising_mass_g(settings.normalisation, weight, header.height_m, header.sex)
    audit = dose.audit + _sex_audit(header, (settings.normalisation,))
    audit += require_consistent_decay(_decay_fields(header))
    require_possible_frames(header.times)
    undecayed = bqml * mass / dose.bq
    if header.decay_correction == "ADMIN":
        decay = _decay_of_injection(header, settings)
        if decay is None:
            step = "decay correction ADMIN: values refer to the injection, no decay to add"
            return _Factors((undecayed,), audit + SuvAudit(path=(step,)))
    else:
        half_life = usable_half_life(header.half_life_s, header.radionuclide, header.radiopharmaceutical)
        audit += half_life.audit
        decay_of = decay_by_slice if header.decay_correction == "NONE" else _decay_of_series
        decay = decay_of(header.times, half_life.seconds, settings)
    factors = tuple(undecayed / fraction for fraction in decay.fractions)
    return _Factors(factors, audit + decay.audit, decay.evidence)


def _decay_fields(header: PetHeader) -> DecayFields:
    factors = tuple(frame.decay_factor for frame in header.times.frames)
    return DecayFields(header.decay_correction, header.corrected_image, factors)


def _decay_of_series(times: PetTimes, half_life_s: float, settings: SuvSettings) -> Decay:
    """Decay from injection to the time that all slices were corrected to."""
    reference = agreed_reference(times, reference_time(times, half_life_s), half_life_s, settings)
    injection = injection_time(times, reference.time, settings, half_life_s, reference.element)
    seconds = reference.time.seconds_since(injection.time)
    step = f"decay correction START: dose decayed over {seconds:.6f} s, half-life {half_life_s:g} s"
    odd = SuvAudit(flags=reference_flags(times, reference, half_life_s))
    audit = reference.audit + odd + injection.audit + SuvAudit(path=(step,))
    evidence = time_evidence(times, reference, injection.time, half_life_s)
    return Decay((decay_fraction(seconds, half_life_s),), audit, evidence)


def _decay_of_injection(header: PetHeader, settings: SuvSettings) -> Decay | None:
    """Values that refer to the injection, checked against (0054,1321); None where nothing can be checked."""
    times = header.times
    scan = times.first_acquisition or times.series
    if scan is None:
        return None
    try:
        half_life = usable_half_life(header.half_life_s, header.radionuclide, header.radiopharmaceutical)
        injection = injection_time(times, scan, settings, half_life.seconds)
    except SuvError:
        return None  # what no decay is computed from is no reason to refuse
    path = ("decay correction ADMIN: values refer to the injection, no decay to add",)
    element = "(0054,1102) Decay Correction ADMIN"
    administered = ReferenceTime(injection.time, "injection", element, SuvAudit(path))
    reference = agreed_reference(times, administered, half_life.seconds, settings)
    seconds = reference.time.seconds_since(injection.time)
    odd = SuvAudit(flags=reference_flags(times, reference, half_life.seconds))
    evidence = time_evidence(times, reference, injection.time, half_life.seconds)
    fraction = 1.0 if reference is administered else decay_fraction(seconds, half_life.seconds)
    return Decay((fraction,), reference.audit + odd, evidence)
