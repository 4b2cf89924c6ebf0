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
    "phantom": {},
    "registration": {"working_mm": 4.0},
    "crop": {"shape": [32, 40, 40], "spacing_mm": [4.0, 4.0, 4.0]},
    "radiomics": {"feature_set": "demo"},
    "plan": {"folds": 3},
    "models": {
        # The paper's network at half its width, and its Dice loss helped by cross-entropy: alone
        # it needs thousands of steps to find lesions of a thousandth of the crop.
        "deepmts": {
            "kind": "deepmts",
            "width": 0.5,
            "clinical": ["clinical_performance"],
            "losses": {"cox": 0.5, "dice_form": "sum", "cross_entropy": 0.5, "l2": 0.01},
        },
        "radiomics_lasso": {"kind": "lasso_cox", "clinical": ["clinical_performance"]},
        "radiomics_bagged": {"kind": "signed_bagging"},
        "clinical": {"kind": "clinical_cox", "clinical": ["clinical_performance", "clinical_age"]},
        "volume": {"kind": "feature", "feature": "pet_index_volume_ml"},
        "true_hazard": {"kind": "column", "column": "truth_log_hazard"},
    },
    "ensembles": {"ensemble": ["deepmts", "radiomics_bagged"]},
    "training": {
        "iterations": 400,
        "batch": 4,
        "schedule": {"kind": "cosine", "learning_rate": 0.01},
        "augment": {"translation_voxels": 2.0},
        "validate_every": 50,
        "checkpoint_selection": "last",
        "checkpoint_every": 100,
    },
}


def phantom_study() -> Settings:
    """The embedded default."""
    return load_settings(PHANTOM)
