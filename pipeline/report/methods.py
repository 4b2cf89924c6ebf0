"""The methods section, written from the settings that were run."""

from __future__ import annotations

from typing import Any

from pipeline.report.formatting import pretty
from pipeline.report.job import ReportJob
from pipeline.report.tables import ensemble_remarks

CLASSICAL = {
    "column": "The cohort table's column {column}, taken as the risk.",
    "feature": "Univariate Cox model of {feature}.",
    "clinical_cox": "Cox model of clinical columns.",
    "lasso_cox": "Penalised Cox model; the penalty by inner cross-validation.",
    "univariate": "The best single feature of the fold's training patients, in a Cox model.",
    "hecktor_cox": "Cox model of features chosen by univariate concordance and mutual correlation.",
    "rsf": "Random survival forest of {trees} trees.",
    "gradient_boosting": "Gradient boosting of the Cox partial likelihood, at most {rounds} rounds.",
    "survival_svm": "Survival support vector machine; the weight of its loss by inner cross-validation.",
    "signed_bagging": "Mean of {members} signed features' ranks, over resamples of patients and features.",
    "deepsurv": "DeepSurv, a network on columns with the Cox loss: the best of {trials} drawn at random, by "
    "inner cross-validation; the mean log-hazard of {members} trainings.",
}
"""Kind of classical model → what it is, with its settings' values."""


def methods(job: ReportJob, *, outcomes: bool = True, external: bool = True) -> list[tuple[str, str]]:
    """Paragraphs (heading, text) that say what was done, with the numbers used.

    Args:
        job: The study.
        outcomes: Whether its patients have times and events.
        external: Whether there are external patients.
    """
    settings, ranks = job.settings, bool(job.ranked())
    parts = []
    if settings["cohort"]["source"] in ("dicom", "nifti"):
        parts += [("Images", _images(settings)), ("Alignment and crop", _crop(settings))]
    if settings["cohort"]["source"] in ("slices", "generated"):
        parts.append(("Images", _arrays(settings)))
    validation = _validation(settings, outcomes, ranks)
    if external and settings["plan"]["folds"] > 1:
        validation += " External patients were predicted by all folds."
    parts.append(("Validation", validation))
    parts += [(pretty(name).capitalize(), _model(job, name, model)) for name, model in job.models.items()]
    if ranks:
        parts.append(("Ensembles", _ensembles(job)))
    parts.append(("Statistics", _statistics(settings, ranks)))
    return parts


def _images(settings: dict[str, Any]) -> str:
    kind = {
        "bw": "body weight", "lbm_james": "lean body mass (James)", "bsa": "body surface area",
        "lbm_janmahasatian": "lean body mass (Janmahasatian)", "ibw": "ideal body weight",
    }[settings["suv"]["normalisation"]]  # fmt: skip
    if settings["cohort"]["source"] == "nifti":
        return "PET was given as SUV (g/mL) and CT in Hounsfield units, as declared by the user."
    return (
        "CT was converted to Hounsfield units. PET was converted to standardised uptake values "
        f"by {kind}, decay-corrected as each file's Decay Correction attribute asks; the audit "
        "table lists units, decay path and factor of every patient."
    )


def _arrays(settings: dict[str, Any]) -> str:
    if settings["cohort"]["source"] == "slices":
        return "Images and masks were taken as they are, one array per patient."
    disks = settings["disks"]
    size, (low, high) = disks["size_px"], disks["radius_px"]
    first, last = disks["time_range"]
    return (
        f"{disks['images']} images of {size}×{size} pixels were generated, each with one disk of contrast 1 in white "
        f"Gaussian noise of SD {disks['noise']:g}; areas uniform between those of radii {low:g} and {high:g} pixels. "
        f"Time: the area scaled to {first:g} … {last:g}, plus Gaussian noise of SD {disks['time_noise']:g}; every "
        "event is observed."
    )


def _crop(settings: dict[str, Any]) -> str:
    registration, crop = settings["registration"], settings["crop"]
    z, y, x = crop["shape"]
    dz, dy, dx = crop["spacing_mm"]
    aligned = (
        f"Each {registration['moving'].upper()} was rigidly registered (ANTs) to one template patient, "
        "chosen blind to outcome. "
        if registration["method"] == "template"
        else "Images were not registered. "
    )
    where = {
        "fixed": "at one position in template space, the mean of development lesions",
        "lesion": "centred on each patient's contour (this needs a contour)",
        "box": "by a table of bounding boxes",
        "brain_anchored": "by the brain-anchored uptake rule, without contours",
    }[crop["position"]]
    return (
        f"{aligned}Crops of {x}×{y}×{z} voxels of {dx:g}×{dy:g}×{dz:g} mm (x, y, z) were cut {where}. "
        f"Images were interpolated once ({crop['interpolation']}), from native voxels to the crop grid."
    )


def _validation(settings: dict[str, Any], outcomes: bool, ranks: bool) -> str:
    plan = settings["plan"]
    dealt = "patients stratified by event" if outcomes else "patients dealt out at random"
    by = "whole centres held out" if plan["by_centre"] else dealt
    uses = "choice of weights, Z-scores and baseline hazards" if ranks else "choice of weights"
    absent = ": Z-scores and baseline hazards come from test patients (marked)" if ranks else ""
    rest = "development patients" if plan["folds"] == 1 else "each fold's remaining patients"
    inner = (
        f"{plan['validation_fraction']:.0%} of {rest} were kept as validation patients for the {uses}."
        if plan["validation_fraction"] > 0
        else f"No validation patients{absent}."
    )
    if plan["folds"] == 1:
        times = f", {plan['repeats']} times with other validation patients," if plan["repeats"] > 1 else ""
        return (
            f"No cross-validation: models were trained{times} on all development patients but the "
            f"validation patients and judged on external patients. {inner}"
        )
    return f"{plan['folds']}-fold cross-validation, {by}. {inner}"


def _model(job: ReportJob, name: str, model: dict[str, Any]) -> str:
    kind = model["kind"]
    clinical = model.get("clinical") or ()
    with_clinical = (
        f" Clinical columns: {', '.join(c.removeprefix('clinical_') for c in clinical)}." if clinical else ""
    )
    if "losses" in model:
        training = {**job.settings["training"], **model.get("training", {})}
        return (
            f"Network of kind {kind}"
            + (f", width {model['width']:g} of the paper's" if model.get("width", 1) != 1 else "")
            + f", {training['iterations']} iterations of {training['batch']} patients"
            + (", as many with events as without" if training["balance_events"] else "")
            + f"; weights kept: {training['checkpoint_selection'].replace('_', ' ')}.{_marked(training)}{with_clinical}"
        )
    told = CLASSICAL.get(kind, f"Classical model of kind {kind}.")
    told = told.format(**{"column": "", "feature": "", **model})
    spearman = model.get("spearman", 1.0)
    filtered = (
        f" Of two features with |Spearman's ρ| above {spearman:g} one was left out." if spearman < 1 else ""
    )
    harmonised = " Features were harmonised by centre (ComBat)." if model.get("harmonise") == "combat" else ""
    deep = model.get("deep")
    offered = (
        f" It was offered deep features of {pretty(str(deep))}, from networks trained without the patient."
        if deep
        else ""
    )
    return told + _features_from(model) + filtered + offered + harmonised + with_clinical


def _features_from(model: dict[str, Any]) -> str:
    """The contour of a classical model's features, where it is not the drawn one, and their stability."""
    contour = model.get("contour", "manual")
    told = {
        "manual": "",
        "threshold": " Features are of the contour's part above a share of SUVmax.",
        "peritumoral": " Features are of the shell around the contour.",
        "predicted": f" Features are of contours drawn by {pretty(model.get('contour_network', ''))}, "
        "of development patients by the fold that held them out.",
    }[contour]
    if model.get("min_icc", 0) > 0:
        told += (
            " Only features whose agreement over perturbed contours (lower end of the 95 % interval of "
            f"ICC(1,1) among training patients) reached {model['min_icc']:g} were offered."
        )
    return told


def _marked(training: dict[str, Any]) -> str:
    if training["checkpoint_selection"] == "best_test":
        return " MARKED: the epoch was chosen on the very fold that is reported, as the paper did."
    return ""


def _ensembles(job: ReportJob) -> str:
    several = "; ".join(
        f"{pretty(name)} = {' + '.join(pretty(m) for m in members)}"
        for name, members in job.ensembles.items()
    )
    plan = job.settings["plan"]
    text = (
        "Each fold's risks were Z-scored by the mean and SD of that fold's validation patients; an "
        "external patient's risk is the mean over folds, a development patient's that of the fold that held it out."
        if plan["folds"] > 1
        else "Risks were Z-scored by the mean and SD of the validation patients"
        + (" and averaged over repeats." if plan["repeats"] > 1 else ".")
    )
    if any("Z-scores from test patients" in line for line in ensemble_remarks(job.results, [*job.models])):
        text += " Where a fold had too few validation patients, its test patients stood in for them (marked)."
    return text + (f" Averages of several models: {several}." if several else "")


def _statistics(settings: dict[str, Any], ranks: bool) -> str:
    evaluation = settings["evaluation"]
    intervals = (
        f"Intervals: {evaluation['confidence']:.0%} percentile bootstrap, {evaluation['bootstraps']} resamples of "
        "patients; models were not refitted, so the intervals leave out the variation of training."
    )
    if not ranks:
        return intervals
    return (
        f"C-index: Harrell's; in development over pairs within a fold. {intervals} Differences use the same "
        "resamples for both models; their p-values were adjusted within a set (Holm). Time-dependent AUC "
        "(cumulative/dynamic) and Brier scores weight by the inverse probability of censoring. "
        f"{evaluation['risk_groups']} risk groups were cut at values of training patients and compared by the "
        "log-rank test."
    )
