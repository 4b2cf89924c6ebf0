"""Covariates of a patient, and how they are called."""

from __future__ import annotations

from pipeline.deploy.covariate_shift import covariate_title


def test_titles_of_covariates() -> None:
    assert covariate_title("pet_mean") == "mean of the PET in the crop"
    assert covariate_title("ct_sd") == "SD of the CT in the crop"
    assert covariate_title("clinical_age") == "clinical_age" and "SUVmax" in covariate_title("suvmax")
