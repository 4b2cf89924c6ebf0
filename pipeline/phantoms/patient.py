"""Phantom patients, each drawn from (seed, number) alone and so independent of the others."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np

from pipeline.errors import TableError
from pipeline.phantoms.canvas import Ellipsoid
from pipeline.phantoms.tumour import RIM_MM, RIPPLES, Tumour, TumourField
from pipeline.settings.phantom import PhantomSettings

CENTRES = ("north", "south")
VOLUME_ML = (1.5, 30.0)
HETEROGENEITY = (0.05, 0.40)
RIM_SUV = (1.0, 3.0)
MEAN_SUV = (4.0, 14.0)
PERFORMANCE = (0.50, 0.35, 0.15)
"""Shares of performance status 0, 1 and 2."""
SECOND_SHAPE = (0.75, 0.75, 1.8)
"""Factors (x, y, z) on the semi-axes of the second cancer, whose tumours are long; volumes are the same."""
SITE_MM = (0.0, -20.0, -46.0)
"""Where tumours lie on average, in template space (LPS mm): the oropharynx."""
SITE_SPREAD_MM = (15.0, 9.0, 13.0)
SCANNER_CENTRE_MM = {"north": (0.0, -170.0, -400.0), "south": (4.0, -150.0, -280.0)}
"""Centre of each scanner's field of view (LPS mm)."""
FIELD_CENTRE_MM = (0.0, 0.0, -8.0)
"""Template point at the centre of the field of view of a patient that is not shifted."""


@dataclass(frozen=True)
class Node:
    """A hot lymph node outside the contour: sphere in template space (LPS mm, mm, g/mL)."""

    centre_mm: tuple[float, float, float]
    radius_mm: float
    suv: float

    def solid(self) -> Ellipsoid:
        """The sphere."""
        return Ellipsoid(self.centre_mm, (self.radius_mm,) * 3)


@dataclass(frozen=True)
class PhantomPatient:
    """The truth about one patient.

    Attributes:
        number: 1, 2, …
        patient_id: P001, P002, …
        set: `development` or `external`.
        centre: Centre (scanner) where the patient was imaged.
        performance: Performance status 0 to 2; raises the hazard.
        age_years: Age; without effect.
        sex: `M` or `F`; without effect.
        weight_kg: Body weight.
        size_m: Height.
        dose_bq: Injected activity at injection.
        uptake_s: Time from injection to the start of the PET.
        tumour: The tumour.
        nodes: Hot nodes outside the contour.
        brain_suv: Uptake of the brain (g/mL).
        rotation_deg: Rotations about x, y, z.
        shift_mm: Shift in the field of view (x, y, z).
        pathology: 0, or 1 = the second cancer (`phantom.second`).
        hazard_parts: Terms of the log-hazard by name.
        time_days: Time to event or censoring.
        event: 1 = occurred.
    """

    number: int
    patient_id: str
    set: str
    centre: str
    performance: int
    age_years: int
    sex: str
    weight_kg: float
    size_m: float
    dose_bq: float
    uptake_s: int
    tumour: Tumour
    nodes: tuple[Node, ...]
    brain_suv: float
    rotation_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    pathology: int
    hazard_parts: dict[str, float]
    time_days: float
    event: int

    @property
    def log_hazard(self) -> float:
        """Sum of the terms of the log-hazard; higher is worse."""
        return sum(self.hazard_parts.values())


def patient_number(patient_id: str, settings: PhantomSettings) -> int:
    """Number of a patient id.

    Raises:
        TableError: There is no such patient in the cohort.
    """
    last = settings.development + settings.external
    match = re.fullmatch(r"P(\d{3})", patient_id)
    number = int(match.group(1)) if match else 0
    if not 1 <= number <= last:
        raise TableError(
            "the phantom cohort has no such patient",
            where="column patient_id",
            expected=f"P001 to P{last:03d}",
            got=repr(patient_id),
            action="regenerate the cohort table for these settings",
        )
    return number


def draw_patient(number: int, settings: PhantomSettings) -> PhantomPatient:
    """Draw a patient from (seed, number)."""
    rng = np.random.default_rng([settings.seed, number, 1])
    centre = CENTRES[int(rng.integers(2))]
    performance = int(rng.choice(len(PERFORMANCE), p=PERFORMANCE))
    age = int(np.clip(round(rng.normal(62, 9)), 35, 88))
    sex = "M" if rng.random() < 0.75 else "F"
    weight = round(float(np.clip(rng.normal(82 if sex == "M" else 66, 12), 45, 130)), 1)
    size = round(float(rng.normal(1.77 if sex == "M" else 1.65, 0.07)), 2)
    dose = round(float(rng.uniform(220e6, 420e6)), -4)
    uptake = int(rng.integers(3300, 4800))
    tumour, pathology = _draw_tumour(rng), draw_pathology(number, settings)
    if pathology:
        x, y, z = tumour.semi_axes
        tumour = replace(tumour, semi_axes=(SECOND_SHAPE[0] * x, SECOND_SHAPE[1] * y, SECOND_SHAPE[2] * z))
    parts = hazard_parts(tumour, performance, settings, pathology)
    time, event = _draw_outcome(rng, sum(parts.values()), settings)
    return PhantomPatient(
        number=number,
        patient_id=f"P{number:03d}",
        set="development" if number <= settings.development else "external",
        centre=centre,
        performance=performance,
        age_years=age,
        sex=sex,
        weight_kg=weight,
        size_m=size,
        dose_bq=dose,
        uptake_s=uptake,
        tumour=tumour,
        nodes=_draw_nodes(rng, tumour),
        brain_suv=float(rng.uniform(7.0, 9.0)),
        rotation_deg=_three(rng.uniform(-1, 1, 3) * settings.max_rotation_deg),
        shift_mm=_three(rng.uniform(-1, 1, 3) * settings.max_shift_mm),
        pathology=pathology,
        hazard_parts=parts,
        time_days=time,
        event=event,
    )


def draw_pathology(number: int, settings: PhantomSettings) -> int:
    """0, or 1 of a patient with the second cancer; drawn apart, so that the others' numbers stay."""
    if settings.second is None:
        return 0
    return int(np.random.default_rng([settings.seed, number, 2]).random() < settings.second.share)


def hazard_parts(
    tumour: Tumour, performance: int, settings: PhantomSettings, pathology: int = 0
) -> dict[str, float]:
    """Terms of the log-hazard (higher is worse), with the weights of the patient's cancer.

    Each is a weight times a Z-score against the population the value is drawn from:
    uniform laws have mean (a+b)/2 and SD (b−a)/√12; performance status its own shares.
    """
    mean = sum(i * share for i, share in enumerate(PERFORMANCE))
    deviation = sqrt(sum(i * i * share for i, share in enumerate(PERFORMANCE)) - mean**2)
    low, high = VOLUME_ML
    weights = settings.second if pathology and settings.second is not None else settings
    return {
        "volume": weights.weight_volume * _uniform_z(log(tumour.volume_ml), (log(low), log(high))),
        "heterogeneity": weights.weight_heterogeneity * _uniform_z(tumour.heterogeneity, HETEROGENEITY),
        "rim": weights.weight_rim * _uniform_z(tumour.rim_suv, RIM_SUV),
        "clinical": weights.weight_clinical * (performance - mean) / deviation,
    }


def _uniform_z(value: float, bounds: tuple[float, float]) -> float:
    return (value - (bounds[0] + bounds[1]) / 2) / ((bounds[1] - bounds[0]) / sqrt(12))


def _draw_outcome(
    rng: np.random.Generator, log_hazard: float, settings: PhantomSettings
) -> tuple[float, int]:
    """Weibull survival, S(t) = exp(−ln 2 · exp(log_hazard) · (t / median)^shape), censored."""
    exposure = -log(1.0 - rng.random()) / (log(2.0) * np.exp(log_hazard))
    survival = settings.median_days * exposure ** (1.0 / settings.weibull_shape)
    censoring = rng.uniform(*settings.censoring_days)
    return max(1.0, round(float(min(survival, censoring)))), int(survival <= censoring)


def _draw_tumour(rng: np.random.Generator) -> Tumour:
    volume = float(np.exp(rng.uniform(log(VOLUME_ML[0]), log(VOLUME_ML[1]))))
    return Tumour(
        centre_mm=_three(np.asarray(SITE_MM) + rng.uniform(-1, 1, 3) * SITE_SPREAD_MM),
        volume_ml=volume,
        semi_axes=_three(np.exp(rng.uniform(-0.18, 0.18, 3))),
        lobes=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.12, 0.12))),
        lobe_axes=tuple(_unit(rng) for _ in range(2)),
        mean_suv=float(rng.uniform(*MEAN_SUV)),
        heterogeneity=float(rng.uniform(*HETEROGENEITY)),
        waves=tuple(_unit(rng) for _ in range(RIPPLES)),
        phases=tuple(float(p) for p in rng.uniform(0, 2 * np.pi, RIPPLES)),
        rim_suv=float(rng.uniform(*RIM_SUV)),
    )


def _draw_nodes(rng: np.random.Generator, tumour: Tumour) -> tuple[Node, ...]:
    """One to three nodes beside the neck's vessels, clear of the tumour and its rim."""
    field = TumourField(tumour)
    nodes: list[Node] = []
    number = int(rng.integers(1, 4))
    for _ in range(50 * number):
        side = 1.0 if rng.random() < 0.5 else -1.0
        centre = np.array([side * rng.uniform(32, 40), rng.uniform(20, 34), rng.uniform(-95, -30)])
        node = Node(_three(centre), float(rng.uniform(5.0, 8.0)), float(rng.uniform(5.0, 8.0)))
        clear = float(field.distance(centre)) > RIM_MM + node.radius_mm + 2
        if clear and all(np.linalg.norm(np.subtract(centre, n.centre_mm)) > 18 for n in nodes):
            nodes.append(node)
        if len(nodes) == number:
            break
    return tuple(nodes)


def _unit(rng: np.random.Generator) -> tuple[float, float, float]:
    vector = rng.normal(size=3)
    return _three(vector / np.linalg.norm(vector))


def _three(values: object) -> tuple[float, float, float]:
    x, y, z = np.asarray(values, dtype=float)
    return float(x), float(y), float(z)


def rigid_matrix(patient: PhantomPatient) -> np.ndarray:
    """4×4 from template points to patient points (LPS mm): rotation about x, y, z, then shift."""
    a, b, c = np.deg2rad(patient.rotation_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    field = np.asarray(SCANNER_CENTRE_MM[patient.centre]) - FIELD_CENTRE_MM
    matrix[:3, 3] = field + patient.shift_mm
    return matrix
