"""A manifest made up by hand."""

from __future__ import annotations

from typing import Any

from pipeline.deploy.manifest import CohortFacts, Hazard, LinearFold, LinearMember, Manifest, Span, ZScale

HOSTILE = '<script>alert("taken")</script> & {{ 7 * 7 }}'
CLINICAL = {
    "numbers": {"clinical_age": [60.0, 61.0, 10.0]},
    "levels": {"clinical_stage": ["III", "IV"]},
    "order": ["clinical_age", "clinical_stage"],
}


def make_fold(mean: float = 0.0, sd: float = 1.0) -> LinearFold:
    """Risk = 0.5·(age − 61)/10 + 1·[stage III] + 2·(volume − 4)/2."""
    return LinearFold(
        coefficients={"clinical_age": 0.5, "clinical_stage=III": 1.0, "pet_index_volume_ml": 2.0},
        features=(("pet_index_volume_ml", 5.0, 4.0, 2.0),),
        clinical=CLINICAL,
        scale=ZScale(mean=mean, sd=sd),
        hazard=Hazard(times_days=(100.0, 300.0), cumulative_hazard=(0.1, 0.4), centre=0.0, last_days=800.0),
    )


def make_manifest(**changes: Any) -> Manifest:
    """Two folds of one linear member; further fields by name."""
    values: dict[str, Any] = {
        "format": 2,
        "software": {"version": "0", "code": "abc"},
        "study": {"name": "made_up", "title": HOSTILE, "note": HOSTILE, "endpoint_name": HOSTILE},
        "model": "linear",
        "source": "dicom",
        "sections": {},
        "members": {"linear": LinearMember(kind="feature", folds=(make_fold(), make_fold(1.0, 2.0)))},
        "channels": ("pet", "ct"),
        "shape": (4, 6, 8),
        "spacing_mm": (2.0, 2.0, 2.0),
        "clinical": ("clinical_age", "clinical_stage"),
        "needs_contour": "",
        "uses_radiomics": True,
        "horizons_days": (365.25, 1000.0),
        "risk_cuts": (0.0,),
        "threshold": 0.5,
        "cohort": CohortFacts(
            spans={"suvmax": Span(low=5.0, high=20.0, patients=40)},
            scanners=("Maker One",),
            levels={"clinical_stage": ("II", "III", "IV")},
            risk_percentiles=tuple(-2.0 + 0.2 * i for i in range(21)),
            patients=40,
            events=20,
        ),
        "privacy": ("template.nii.gz is a patient's image",),
        "files": {},
    }
    return Manifest(**{**values, **changes})
