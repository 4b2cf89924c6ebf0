"""From PET headers to the factor that turns stored values into SUV (g/mL); pure, no files."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.dicom.header.pet_header import PetHeader, SuvAudit
from pipeline.dicom.pet.decay_timing import decay_reference, injection_moment
from pipeline.dicom.pet.normalisation import normalising_mass_g
from pipeline.dicom.pet.plausibility import flag_odd_measures, require_usable, usable_dose, usable_weight
from pipeline.dicom.pet.radionuclide import average_time, decay_fraction, usable_half_life
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

# (0054,1006) SUV Type by the normalisation it stands for. LBM alone does not name its formula
# (James' factor for men is 120 or 128), and BSA is in cm²/mL, which GML contradicts.
_TYPES = {"BW": "bw", "LBMJAMES128": "lbm_james", "LBMJANMA": "lbm_janmahasatian", "IBW": "ibw"}


# A real scanner's two factors agree to 0.06 %.
_FACTORS_APART = 0.05


@dataclass(frozen=True)
class SuvFactor:
    """How stored values become SUV.

    Attributes:
        factors: One for the series, or one per slice (decay correction NONE); g/mL per
            stored unit (cm²/mL per stored unit for `bsa`).
        uptake_minutes: From injection to scan; None where the headers don't tell.
        trace: The reasoning.
    """

    factors: tuple[float, ...]
    uptake_minutes: float | None
    trace: SuvAudit


def suv_factor(header: PetHeader, settings: SuvSettings) -> SuvFactor:
    """The factor of a PET series: SUV = stored value (rescale applied) × factor.

    SUVbw = activity concentration [Bq/mL] × weight [g] / (dose [Bq] × 2^(−t / T½)), t from
    injection to the moment that decay was corrected to.

    Raises:
        SuvError: The headers cannot give an SUV; the message names the elements.
    """
    trace = SuvAudit()
    require_usable(header)
    factors: tuple[float, ...]
    if header.units == "GML":
        factors = (_stored_suv(header, settings, trace),)
    elif header.units == "CNTS":
        factors = _counts(header, settings, trace)
    else:
        trace.path.append("units BQML: stored values are Bq/mL")
        factors = _activity(header, settings, trace, 1.0)
    uptake = _uptake_minutes(header, settings, trace)
    _flag_uptake(uptake, settings, trace)
    flag_odd_measures(header, trace)
    return SuvFactor(factors, uptake, trace)


def _stored_suv(header: PetHeader, settings: SuvSettings, trace: SuvAudit) -> float:
    kind = header.suv_type
    if not kind:
        trace.assumptions.append(
            "SUV by body weight: (0054,1006) SUV Type is absent, which PS3.3 C.8.9.1 reads as BW"
        )
        kind = "BW"
    stored = _TYPES.get(kind)
    if stored is None:
        raise SuvError(
            "stored SUV of a kind that cannot be told",
            where="(0054,1006) SUV Type",
            expected=", ".join(_TYPES),
            got=kind,
        )
    trace.path.append(f"units GML, SUV type {kind}: stored values are SUV already")
    if header.decay_correction == "NONE":
        trace.flags.append("stored SUV of values that (0054,1102) says were not corrected for decay")
    return _other_normalisation(header, stored, settings, trace)


def _other_normalisation(header: PetHeader, stored: str, settings: SuvSettings, trace: SuvAudit) -> float:
    """Ratio that turns an SUV of one normalisation into the settings' one."""
    wanted = settings.normalisation
    if stored == wanted:
        return 1.0
    weight = usable_weight(header)
    masses = [normalising_mass_g(kind, weight, header.height_m, header.sex) for kind in (wanted, stored)]
    trace.path.append(f"SUV by {stored} × {masses[0]:.6g} / {masses[1]:.6g}: SUV by {wanted}")
    return masses[0] / masses[1]


def _counts(header: PetHeader, settings: SuvSettings, trace: SuvAudit) -> tuple[float, ...]:
    """Philips writes counts, with factors in (7053,xx00) to SUVbw and (7053,xx09) to Bq/mL."""
    direct, activity = header.philips_suv_factor, header.philips_activity_factor
    if direct is not None and direct > 0:
        trace.path.append(f"units CNTS: Philips private (7053,xx00) SUV scale factor {direct:g}")
        _require_corrected_counts(header, trace)
        _compare_factors(header, settings, trace)
        return (direct * _other_normalisation(header, "bw", settings, trace),)
    if activity is not None and activity > 0:
        trace.path.append(
            f"units CNTS: Philips private (7053,xx09) activity concentration scale factor {activity:g}"
        )
        return _activity(header, settings, trace, activity)
    raise SuvError(
        "counts without a factor to activity or SUV",
        where="(0054,1001) Units; (7053,xx00), (7053,xx09) of Philips PET Private Group",
        expected="a positive factor",
        got="CNTS with " + ("none" if direct is None and activity is None else f"{direct} and {activity}"),
    )


def _activity(header: PetHeader, settings: SuvSettings, trace: SuvAudit, bqml: float) -> tuple[float, ...]:
    """Factors for stored values that become Bq/mL by one factor."""
    weight = usable_weight(header)
    dose = usable_dose(header, settings, trace)
    mass = normalising_mass_g(settings.normalisation, weight, header.height_m, header.sex)
    _require_consistent_decay(header, trace)
    undecayed = bqml * mass / dose
    if header.decay_correction == "ADMIN":
        trace.path.append("decay correction ADMIN: values refer to the injection, no decay to add")
        return (undecayed,)
    half_life = usable_half_life(header, trace)
    if header.decay_correction == "NONE":
        return _uncorrected(header, settings, trace, (undecayed, half_life))
    scan = decay_reference(header.times, half_life, trace)
    injection = injection_moment(header.times, scan, settings, trace)
    seconds = scan.seconds_since(injection)
    trace.path.append(f"decay correction START: dose decayed over {seconds:.6f} s, half-life {half_life:g} s")
    return (undecayed / decay_fraction(seconds, half_life),)


def _compare_factors(header: PetHeader, settings: SuvSettings, trace: SuvAudit) -> None:
    """Flag an SUV factor that weight, dose and times of the same headers contradict.

    Weight or dose was then corrected after the reconstruction, or not written into it.
    """
    direct, activity = header.philips_suv_factor, header.philips_activity_factor
    if not direct or not activity or activity < 0:
        return
    try:
        by_weight = settings.model_copy(update={"normalisation": "bw"})
        found = _activity(header, by_weight, SuvAudit(), activity)
    except SuvError:
        return  # what the SUV factor does not need is no reason to refuse
    apart = found[0] / direct - 1.0
    if abs(apart) > _FACTORS_APART:
        trace.flags.append(
            f"weight, dose and times make an SUV that differs by {100 * apart:+.0f} % from (7053,xx00), which is used"
        )


def _require_corrected_counts(header: PetHeader, trace: SuvAudit) -> None:
    """The SUV factor is one for all slices, so that the counts must be corrected for decay."""
    if header.decay_correction:
        _require_consistent_decay(header, trace)
    elif not header.corrected_image:
        trace.assumptions.append("counts taken as corrected for decay: (0054,1102), (0028,0051) are absent")
    if header.decay_correction == "NONE" or (header.corrected_image and "DECY" not in header.corrected_image):
        raise SuvError(
            "one SUV factor for counts that were not corrected for decay",
            where="(0054,1102) Decay Correction, (0028,0051) Corrected Image, (7053,xx00)",
            expected="counts corrected for decay",
            got=header.decay_correction or "no (0054,1102), and (0028,0051) without DECY",
            action="export the decay-corrected reconstruction",
        )


def _require_consistent_decay(header: PetHeader, trace: SuvAudit) -> None:
    kind, corrected = header.decay_correction, header.corrected_image
    where = "(0054,1102) Decay Correction, (0028,0051) Corrected Image"
    if kind not in ("START", "ADMIN", "NONE"):
        raise SuvError(
            "missing or unknown decay correction",
            where="(0054,1102) Decay Correction",
            expected="START, ADMIN or NONE",
            got=kind or "none",
        )
    applied = {s.decay_factor for s in header.slices if s.decay_factor not in (None, 0.0, 1.0)}
    if kind == "NONE" and applied:
        raise SuvError(
            "decay fields contradict each other",
            where="(0054,1102) Decay Correction, (0054,1321) Decay Factor",
            expected="factors of 1 where decay was not corrected",
            got=f"NONE with factors up to {max(a for a in applied if a is not None):g}",
        )
    if not corrected:
        trace.assumptions.append("corrections as by (0054,1102): (0028,0051) Corrected Image is absent")
        return
    if ("DECY" in corrected) == (kind == "NONE"):
        raise SuvError(
            "decay fields contradict each other",
            where=where,
            expected="DECY exactly where decay was corrected",
            got=f"{kind} with " + "\\".join(corrected),
        )


def _uncorrected(
    header: PetHeader, settings: SuvSettings, trace: SuvAudit, known: tuple[float, float]
) -> tuple[float, ...]:
    """A factor per slice: each slice's values refer to the average time of its own frame."""
    undecayed, half_life = known
    first = header.times.first_acquisition
    moments = [frame.acquired for frame in header.times.frames]
    durations = [frame.duration_ms for frame in header.times.frames]
    if first is None or any(m is None for m in moments) or not all(durations):
        raise SuvError(
            "values without decay correction need each slice's own times",
            where="(0008,0032) Acquisition Time, (0018,1242) Actual Frame Duration",
            expected="both in every slice",
            got="missing in some",
        )
    injection = injection_moment(header.times, first, settings, trace)
    trace.path.append("decay correction NONE: each slice decayed to the average time of its frame")
    pairs = zip(moments, durations, strict=True)
    return tuple(
        undecayed
        / decay_fraction(m.seconds_since(injection) + average_time(duration / 1000.0, half_life), half_life)
        for m, duration in pairs
        if m is not None and duration
    )


def _uptake_minutes(header: PetHeader, settings: SuvSettings, trace: SuvAudit) -> float | None:
    """Minutes from injection to the first acquisition, for the audit; no reason to refuse here."""
    scan = header.times.first_acquisition
    if scan is None:
        return None
    try:
        return scan.seconds_since(injection_moment(header.times, scan, settings, SuvAudit())) / 60.0
    except SuvError as error:
        reason = error.problem
    by_clock = settings.model_copy(update={"date_shift": "use_times"})
    try:
        uptake = scan.seconds_since(injection_moment(header.times, scan, by_clock, SuvAudit())) / 60.0
    except SuvError:
        trace.flags.append(f"uptake time unknown: {reason}")
        return None
    trace.flags.append(f"uptake time by the times of day alone: by their dates, {reason}")
    return uptake


def _flag_uptake(uptake: float | None, settings: SuvSettings, trace: SuvAudit) -> None:
    low, high = settings.uptake_minutes
    if uptake is not None and not low <= uptake <= high:
        trace.flags.append(f"uptake time {uptake:.1f} min is outside {low:g} to {high:g} min")
