"""The embedded study `phantom`: small enough for two cores, whole in its stages."""

from __future__ import annotations

from pipeline.settings.root import Settings, load_settings

PHANTOM = {
    "study": {
        "name": "phantom",
        "title": "Embedded phantom cohort",
        "note": "Simulated patients: the figures say whether the software works, nothing of medicine.",
    },
    "cohort": {
        "source": "dicom",
        "table": "config/cohorts/phantom.csv",
        "image_root": "results/phantom/phantom",
    },
    "registration": {"working_mm": 4.0},
    "crop": {"shape": [40, 48, 48], "spacing_mm": [4.0, 4.0, 4.0]},
    "radiomics": {"feature_set": "demo"},
    "plan": {"folds": 3},
    "models": {
        "deepmts": {"kind": "deepmts", "width": 0.5, "clinical": ["clinical_performance"]},
        "radiomics_lasso": {"kind": "lasso_cox", "clinical": ["clinical_performance"]},
        "clinical": {"kind": "clinical_cox", "clinical": ["clinical_performance", "clinical_age"]},
        "volume": {"kind": "feature", "feature": "pet_index_volume_ml"},
        "true_hazard": {"kind": "column", "column": "truth_log_hazard"},
    },
    "ensembles": {"ensemble": ["deepmts", "radiomics_lasso"]},
    "training": {
        "iterations": 150,
        "schedule": {"kind": "cosine", "learning_rate": 1e-3},
        "augment": {"translation_voxels": 3.0, "rotation_deg": 5.0},
        "validate_every": 25,
        "checkpoint_every": 50,
    },
}


def phantom_study() -> Settings:
    """The embedded default."""
    return load_settings(PHANTOM)
