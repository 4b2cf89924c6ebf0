"""Phantom patients: their outcomes and their population."""

from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import TableError
from pipeline.phantoms.anatomy import BRAIN, Anatomy
from pipeline.phantoms.patient import draw_patient, hazard_parts, patient_number
from pipeline.phantoms.phantom import cohort
from pipeline.phantoms.tumour import RIM_MM, TumourField, relative_radius, sphere_rule
from pipeline.settings.phantom import PhantomSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = PhantomSettings()
PATIENTS = cohort(SETTINGS)


def c_index(risk: list[float], which: str) -> float:
    """Harrell's C over all comparable pairs, written out from its definition."""
    rows = [(p.time_days, p.event, r) for p, r in zip(PATIENTS, risk, strict=True) if p.set == which]
    good, pairs = 0.0, 0
    for t, event, r in rows:
        for other_t, other_event, other_r in rows:
            if event and (t < other_t or (t == other_t and not other_event)):
                pairs += 1
                good += 1.0 if r > other_r else 0.5 if r == other_r else 0.0
    return good / pairs


def test_enough_events() -> None:
    # The study's issue asks for at least 24 external events.
    assert sum(p.event for p in PATIENTS if p.set == "external") >= 24
    assert sum(p.event for p in PATIENTS if p.set == "development") >= 24


@pytest.mark.parametrize("which", ["development", "external"])
def test_hazard_ranks_patients_and_no_part_of_it_does_alone(which: str) -> None:
    truth = c_index([p.log_hazard for p in PATIENTS], which)
    assert truth > 0.75  # measured: 0.787 development, 0.849 external
    for part in ("volume", "heterogeneity", "rim", "clinical"):
        alone = c_index([p.hazard_parts[part] for p in PATIENTS], which)
        assert alone < truth - 0.05, part  # volume: 0.636 and 0.721
    assert abs(c_index([float(p.age_years) for p in PATIENTS], which) - 0.5) < 0.12


def test_hazard_parts_by_hand() -> None:
    # Volume √(1.5·30) mL, heterogeneity 0.225 and rim 2 are the population's means.
    middle = PATIENTS[0].tumour.__class__(
        **{**PATIENTS[0].tumour.__dict__, "volume_ml": sqrt(45), "heterogeneity": 0.225, "rim_suv": 2.0}
    )
    parts = hazard_parts(middle, 1, SETTINGS)
    assert parts["volume"] == pytest.approx(0, abs=1e-12)
    assert parts["heterogeneity"] == pytest.approx(0, abs=1e-12)
    assert parts["rim"] == pytest.approx(0, abs=1e-12)
    # Performance: mean 0.35 + 2·0.15 = 0.65, variance 0.35 + 4·0.15 − 0.65² = 0.5275.
    assert parts["clinical"] == pytest.approx(0.5 * 0.35 / sqrt(0.5275))
    top = middle.__class__(**{**middle.__dict__, "rim_suv": 3.0, "volume_ml": 30.0})
    # The end of a uniform law lies √3 SD from its mean.
    assert hazard_parts(top, 1, SETTINGS)["rim"] == pytest.approx(0.9 * sqrt(3))
    assert hazard_parts(top, 1, SETTINGS)["volume"] == pytest.approx(0.6 * sqrt(3))


def test_population_z_scores_have_the_stated_weights() -> None:
    many = [draw_patient(n, SETTINGS).hazard_parts for n in range(1, 801)]
    for name, weight in (("volume", 0.6), ("heterogeneity", 0.9), ("rim", 0.9), ("clinical", 0.5)):
        values = np.array([parts[name] for parts in many])
        assert abs(values.mean()) < 4 * weight / sqrt(len(many))
        assert values.std() == pytest.approx(weight, rel=0.1)


def test_survival_has_the_stated_median() -> None:
    # At log-hazard 0 half survive `median_days`; log-hazard ln 2 halves the survival at it to 1/4.
    flat = SETTINGS.model_copy(
        update={
            "weight_volume": 0.0,
            "weight_heterogeneity": 0.0,
            "weight_rim": 0.0,
            "weight_clinical": 0.0,
            "censoring_days": (1e7, 1e7),
        }
    )
    times = np.array([draw_patient(n, flat).time_days for n in range(1, 801)])
    alive = (times > flat.median_days).mean()
    assert alive == pytest.approx(0.5, abs=4 * 0.5 / sqrt(800))
    # Weibull: S(2·median) = exp(−ln 2 · 2^shape).
    later = (times > 2 * flat.median_days).mean()
    assert later == pytest.approx(exp(-log(2) * 2**flat.weibull_shape), abs=4 * 0.5 / sqrt(800))


@pytest.mark.parametrize("patient_id", ["P000", "P081", "P1", "p001", "../P001", "P001x"])
def test_unknown_patients_are_refused(patient_id: str) -> None:
    with pytest.raises(TableError, match="no such patient"):
        patient_number(patient_id, SETTINGS)


def test_tumours_lie_inside_the_throat_clear_of_brain_and_nodes() -> None:
    units, _ = sphere_rule()
    for patient in PATIENTS:
        field = TumourField(patient.tumour)
        surface = units * relative_radius(patient.tumour, units) * field.scale
        surface = surface + np.array(patient.tumour.centre_mm)[:, None]
        assert Anatomy().distance(surface).max() < -5
        assert BRAIN.distance(surface).min() > 5
        assert 1 <= len(patient.nodes) <= 3
        for node in patient.nodes:
            assert field.distance(np.array(node.centre_mm)) > RIM_MM + node.radius_mm


def test_all_tumours_fit_one_crop_after_alignment() -> None:
    # The embedded study cuts 40×48×48 voxels of 4 mm around the development lesions' mean.
    site = np.mean([p.tumour.centre_mm for p in PATIENTS if p.set == "development"], axis=0)
    for patient in PATIENTS:
        reach = np.abs(np.array(patient.tumour.centre_mm) - site) + TumourField(patient.tumour).reach_mm
        assert (reach < np.array([96, 96, 80]) - 10).all()
