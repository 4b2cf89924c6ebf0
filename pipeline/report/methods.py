"""The methods section, written from the settings that were run."""

from __future__ import annotations

from pipeline.metrics.centres import CENTRE
from pipeline.metrics.time_dependent import LEAST_EVENTS, LEAST_ON_EACH_SIDE
from pipeline.report.formatting import display_name
from pipeline.report.job import ReportJob
from pipeline.settings.chest_phantom import LESIONS
from pipeline.settings.classical import FeatureSelecting
from pipeline.settings.models import Model
from pipeline.settings.network import Network
from pipeline.settings.root import Settings
from pipeline.settings.training import TrainingSettings
from pipeline.tables.parquet import read_metadata

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
    "signed_bagging": "Mean of {members} standardised features with signs, over resamples of patients and features.",
    "deepsurv": "DeepSurv, a network on columns with the Cox loss: the best of {trials} drawn at random, by "
    "inner cross-validation; the mean log-hazard of {members} trainings.",
    "logistic": "Logistic regression of {label} ({penalty} penalty); its strength by inner cross-validated log loss.",
    "label_forest": "Random forest of {trees} trees for {label}.",
    "label_boosting": "Gradient boosting of the logistic loss for {label}, at most {rounds} rounds, chosen by inner "
    "cross-validated log loss.",
}
"""Kind of classical model → what it is, with its settings' values."""
PREPARATION = (
    "Everything was learned from a fold's training patients. Features missing in more than half of them were left "
    "out. Other missing features and clinical numbers were replaced by the median, missing levels and levels that no "
    "training patient has by the most frequent level; features and numbers were standardised. Cox models: Efron's "
    "method for ties and a small ridge penalty, which is raised, with a warning, where columns separate patients "
    "by event."
)
"""How classical models prepare their columns."""
CONTOURS = {
    "manual": "",
    "threshold": " Features are of the contour's part above a share of SUVmax.",
    "peritumoral": " Features are of the shell around the contour.",
    "predicted": " Features are of contours drawn by {network}, of development patients by the fold that "
    "held them out.",
}
"""Contour that a classical model takes features from → what is said of it."""


def methods(
    job: ReportJob, *, outcomes: bool = True, external: bool = True, grouped: bool = False
) -> list[tuple[str, str]]:
    """Paragraphs (heading, text) that say what was done, with the numbers used.

    Args:
        job: The study.
        outcomes: Whether its patients have times and events.
        external: Whether there are external patients.
        grouped: Whether the cohort table's column `group` names patients that stay together.
    """
    settings, survival = job.settings, bool(job.survival_models())
    paragraphs = image_paragraphs(settings)
    validation = _validation(job, outcomes=outcomes, survival=survival)
    if grouped:
        validation += (
            " Patients of one group (the cohort table's column group) were on one side of every split."
        )
    if external and settings.plan.folds > 1:
        validation += " External patients were predicted by all folds."
    paragraphs.append(("Validation", validation))
    for name, model in settings.models.items():
        text = _network(settings, name, model) if isinstance(model, Network) else _classical(model)
        paragraphs.append((display_name(name).capitalize(), text + _clinical(model)))
    if job.features is not None:
        processing = read_metadata(job.features)[b"processing"]
        paragraphs.append(("Radiomics", f"{processing}"))
    if settings.classical():
        paragraphs.append(("Preparation of columns", PREPARATION))
    if survival:
        paragraphs.append(("Ensembles", _ensembles(job)))
    paragraphs.append(("Statistics", statistics(settings, survival=survival, grouped=grouped)))
    return paragraphs


def image_paragraphs(settings: Settings) -> list[tuple[str, str]]:
    """(heading, text) of what became of the images."""
    if settings.cohort.source in ("dicom", "nifti"):
        return [("Images", _images(settings)), ("Alignment and crop", _crop(settings))]
    return [("Images", _arrays(settings))]


def _images(settings: Settings) -> str:
    if settings.cohort.source == "nifti":
        given = {"pet": "PET was given as SUV (g/mL)", "ct": "CT in Hounsfield units"}
        return (
            " and ".join(given[channel] for channel in settings.crop.channels) + ", as declared by the user."
        )
    normalisation = {
        "bw": "body weight", "lbm_james": "lean body mass (James)", "bsa": "body surface area",
        "lbm_janmahasatian": "lean body mass (Janmahasatian)", "ibw": "ideal body weight",
    }[settings.suv.normalisation]  # fmt: skip
    ct = "CT was converted to Hounsfield units. " if "ct" in settings.crop.channels else ""
    if "pet" not in settings.crop.channels:
        return f"{ct}PET was not used."
    return (
        f"{ct}PET in Bq/mL was converted to standardised uptake values "
        f"by {normalisation}, decay-corrected as each file's Decay Correction attribute asks; PET that was stored "
        "as standardised uptake values was not corrected for decay again. The table of SUV lists units, decay path "
        "and factor of every patient."
    )


def _arrays(settings: Settings) -> str:
    disks, chest = settings.disks, settings.chest_slices
    if chest is not None:
        return (
            f"{chest.volumes} volumes of {chest.slices} slices of {chest.size_px}×{chest.size_px} pixels were "
            f"generated: a body with two lungs, and by diagnosis in turn no lesion, lesions of {len(LESIONS)} kinds, "
            f"or a nodule, in white Gaussian noise of SD {chest.noise:g}. Slices of a volume share its anatomy "
            "and lesions, and are on one side of every split."
        )
    if disks is None:
        return "Images and masks were taken as they are, one array per patient."
    size, (low, high), (first, last) = disks.size_px, disks.radius_px, disks.time_range
    return (
        f"{disks.images} images of {size}×{size} pixels were generated, each with one disk of contrast 1 in white "
        f"Gaussian noise of SD {disks.noise:g}; areas uniform between those of radii {low:g} and {high:g} pixels. "
        f"Time: the area scaled to {first:g} … {last:g}, plus Gaussian noise of SD {disks.time_noise:g}; every "
        "event is observed."
    )


def _crop(settings: Settings) -> str:
    registration, crop = settings.registration, settings.crop
    (z, y, x), (dz, dy, dx) = crop.shape, crop.spacing_mm
    aligned = (
        f"Each {registration.moving.upper()} was rigidly registered (ANTs) to one template patient, "
        "chosen blind to outcome. "
        if registration.method == "template"
        else "Images were not registered. "
    )
    position = {
        "fixed": "at one position in template space, the mean of development lesions",
        "lesion": "centred on each patient's contour (this needs a contour)",
        "box": "by a table of bounding boxes",
        "brain_anchored": "by the brain-anchored uptake rule, without contours",
    }[crop.position]
    return (
        f"{aligned}Crops of {x}×{y}×{z} voxels of {dx:g}×{dy:g}×{dz:g} mm (x, y, z) were cut {position}. "
        f"Images were interpolated once ({crop.interpolation}), from native voxels to the crop grid."
    )


def _validation(job: ReportJob, *, outcomes: bool, survival: bool) -> str:
    """How development patients were divided: as the cohort table's column `split` gives it, else drawn."""
    plan, given = job.settings.plan, job.split_given
    uses = "choice of weights and the slope of survival probabilities" if survival else "choice of weights"
    if plan.folds == 1 and given:
        validation = (
            f"Validation patients, for the {uses}, were those that the cohort table's column split names."
        )
    elif plan.validation_fraction > 0:
        rest = "development patients" if plan.folds == 1 else "each fold's remaining patients"
        validation = (
            f"{plan.validation_fraction:.0%} of {rest} were kept as validation patients for the {uses}."
        )
    else:
        instead = ": networks predict the same survival for all patients" if survival else ""
        validation = f"No validation patients{instead}."
    if plan.folds == 1:
        others = (
            "the same validation patients and other initial weights" if given else "other validation patients"
        )
        times = f", {plan.repeats} times with {others}," if plan.repeats > 1 else ""
        return (
            f"No cross-validation: models were trained{times} on all development patients but the "
            f"validation patients and evaluated on external patients. {validation}"
        )
    grouping = "patients stratified by event" if outcomes else "patients assigned at random"
    if given:
        grouping = "test patients of each fold as the cohort table's column split gives them"
    elif plan.by_centre:
        grouping = "whole centres held out"
    return f"{plan.folds}-fold cross-validation, {grouping}. {validation}"


def _clinical(model: Model) -> str:
    names = [column.removeprefix("clinical_") for column in model.clinical]
    return f" Clinical columns: {', '.join(names)}." if names else ""


def _network(settings: Settings, name: str, network: Network) -> str:
    training = settings.training_of(name)
    width = network.model_dump().get("width", 1.0)  # not every kind has one
    return (
        f"Network of kind {network.kind}"
        + (f", width {width:g} of the paper's" if width != 1 else "")
        + f", {training.iterations} iterations of {training.batch} patients"
        + (", as many with events as without" if training.balance_events else "")
        + f"; weights kept: {training.checkpoint_selection.replace('_', ' ')}.{_selection_caveat(training)}"
    )


def _selection_caveat(training: TrainingSettings) -> str:
    if training.checkpoint_selection == "best_test":
        return " CAVEAT: the epoch was chosen on the very fold that is reported, as the paper did."
    return ""


def _classical(model: Model) -> str:
    text = CLASSICAL[model.kind].format(**model.model_dump())
    text += CONTOURS[model.needs.contour].format(network=display_name(model.needs.contour_network))
    return text + (_features(model) if isinstance(model, FeatureSelecting) else "")


def _features(model: FeatureSelecting) -> str:
    """How the features that a classical model is offered were filtered."""
    text = ""
    if model.min_icc > 0:
        text += (
            " Only features whose agreement over perturbed contours (lower end of the 95 % interval of "
            f"ICC(1,1) among training patients) reached {model.min_icc:g} were offered."
        )
    if model.spearman < 1:
        text += f" Of two features with |Spearman's ρ| above {model.spearman:g} one was left out."
    if model.deep:
        text += (
            f" It was offered deep features of {display_name(model.deep)}, from networks trained "
            "without the patient."
        )
    if model.harmonise == "combat":
        text += " Features were harmonised by centre (ComBat)."
    return text


def _ensembles(job: ReportJob) -> str:
    settings = job.settings
    averages = "; ".join(
        f"{display_name(name)} = {' + '.join(display_name(member) for member in members)}"
        for name, members in settings.ensembles.items()
    )
    basis = "test patients (see caveats)"
    if settings.evaluation.z_scores == "training":
        basis = "training and validation patients (classical models: by cross-fitted risks)"
    text = (
        f"Each fold's risks were Z-scored by the mean and SD of that fold's {basis}; an "
        "external patient's risk is the mean over folds, a development patient's that of the fold that held it out."
        if settings.plan.folds > 1
        else f"Risks were Z-scored by the mean and SD of the {basis}"
        + (" and averaged over repeats." if settings.plan.repeats > 1 else ".")
    )
    return text + (f" Averages of several models: {averages}." if averages else "")


def _refits(settings: Settings) -> str:
    """Sentences on what refits classical models; empty where the study asks for none."""
    plan, evaluation, text = settings.plan, settings.evaluation, ""
    if settings.classical() and plan.folds > 1 and plan.repeats > 1:
        text += f" Classical models were cross-validated {plan.repeats} times in other folds."
    if settings.classical() and evaluation.optimism_bootstraps:
        text += (
            " The C-index (of class outcomes: AUC) of classical models of all development patients was corrected for "
            f"optimism by refitting in {evaluation.optimism_bootstraps} bootstrap resamples (Harrell et al. 1996)."
        )
    if evaluation.importance_permutations:
        text += (
            " Importance of columns and of image channels: fall of the held-out C-index (of class outcomes: "
            f"AUC) over {evaluation.importance_permutations} permutations of each (Breiman 2001)."
        )
    return text


def _centres(settings: Settings) -> str:
    """A sentence on values pooled over centres; empty where the study does not ask for centres."""
    if CENTRE not in settings.evaluation.subgroups:
        return ""
    return (
        " Values of centres were pooled by a random-effects meta-analysis of their logits (DerSimonian and Laird "
        "1986), with the interval of Hartung and Knapp (2001), and the prediction interval of Higgins et al. (2009)."
    )


def statistics(settings: Settings, *, survival: bool, grouped: bool) -> str:
    """How scores and intervals were computed."""
    evaluation = settings.evaluation
    drawn = "whole groups (a patient without one is a group alone)" if grouped else "patients"
    intervals = (
        f"Intervals: {evaluation.confidence:.0%} percentile bootstrap, {evaluation.bootstraps} resamples of "
        f"{drawn}; models were not refitted, so the intervals leave out the variation of training."
    )
    further = _refits(settings) + _centres(settings)
    if not survival:
        return intervals + further
    permuted = "; of cross-validated groups no p-value is given"
    if evaluation.permutations:
        permuted = (
            f"; of cross-validated groups its p-value comes from at most {evaluation.permutations} permutations of the "
            "whole procedure (Simon et al. 2011), for models that are quick to refit, else none is given"
        )
    return (
        f"C-index: Harrell's; in development over pairs within a fold. {intervals} Differences use the same "
        "resamples for both models; their p-values were adjusted within a set (Holm). Time-dependent AUC "
        "(cumulative/dynamic; score intervals, Newcombe 2006) and Brier scores weight by the inverse probability of "
        "censoring (of an event at T: of being uncensored just before T); they were estimated at horizons with at "
        f"least {LEAST_ON_EACH_SIDE} events before and as many patients followed beyond. "
        "Survival probabilities were recalibrated: a slope of out-of-sample risks, and a baseline hazard of the fold's "
        "own training and validation patients. Their calibration was judged by intercept, slope and a smooth curve "
        "(Austin et al. 2020), their use by net benefit "
        "(Vickers et al. 2008), separation by Royston's D; proportional hazards of each risk by scaled Schoenfeld "
        f"residuals (Grambsch and Therneau 1994).{further} Sets with "
        f"fewer than {LEAST_EVENTS} events were not estimated. "
        f"{evaluation.risk_groups} risk groups were cut at values of training patients and compared by the "
        f"log-rank test{permuted}; groups in reversed order are not significant."
    )
