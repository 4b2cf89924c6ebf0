"""What must agree between the sections of a study, told before anything runs.

Functions raise ValueError where pydantic collects the problems of a study, and SettingsError where a
problem has a place and a remedy of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import SettingsError
from pipeline.settings.kinds import ranking
from pipeline.settings.training import is_file_of_weights

if TYPE_CHECKING:
    from pipeline.settings.root import Settings


def require_names(settings: Settings) -> None:
    """Names of models and ensembles are names of folders, and whoever names a model names one there is."""
    folders: dict[str, str] = {}
    for name in (*settings.models, *settings.ensembles):
        # A file system that ignores case would let two models write into one folder.
        other = folders.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(f"the names {other!r} and {name!r} differ in nothing but case; rename one")
        if not name.replace("_", "").isalnum() or not name[0].isalpha() or len(name) < 2:
            raise ValueError(f"model name {name!r} must be letters, digits and _")
    _require_members(settings)
    for where, name in (
        ("evaluation.compare_with", settings.evaluation.compare_with),
        ("evaluation.baseline_model", settings.evaluation.baseline_model),
        ("evaluation.reference_model", settings.evaluation.reference_model),
        ("bundle.ensemble", settings.bundle.ensemble),
    ):
        if name and name not in (*settings.models, *settings.ensembles):
            raise ValueError(f"{where} names {name!r}, which is no model")
    for name in settings.explain.models:
        if name not in settings.networks():
            raise ValueError(f"explain.models names {name!r}, which is no network of this study")
        _require_explained_output(settings, name)
    for name in settings.resources.seconds_per_step:
        if name not in settings.networks():
            raise ValueError(f"resources.seconds_per_step names {name!r}, which is no network of this study")


def _require_explained_output(settings: Settings, name: str) -> None:
    """A label or class of the mask that is explained by its name is one of the network's."""
    target, network = settings.explain.target, settings.networks()[name]
    kind = target.partition("_")[0]
    if "_" not in target:
        return
    losses = network.losses if {"label": "labels", "mask": "mask"}[kind] in network.gives() else None
    names: list[str] = []
    if losses and kind == "mask":
        names = [f"mask_{mask_class}" for mask_class in losses.mask_classes]
    elif losses:
        names = list(losses.labels)
    if losses and kind == "label" and losses.classes > 2:
        names = [f"{label}_{number}" for label in names for number in range(losses.classes)]
    if target not in names:
        predicts = ", ".join(names) or {"label": "no label", "mask": "no class of a mask"}[kind]
        raise ValueError(
            f"explain.target is {target!r}, and model {name!r} predicts {predicts}; name one of these, risk, "
            "label or mask"
        )


def _require_members(settings: Settings) -> None:
    """Ensembles are of models of this study."""
    for name, members in settings.ensembles.items():
        if name in settings.models:
            raise ValueError(f"ensemble {name!r} has the name of a model")
        if not members or len(set(members)) < len(members):
            raise ValueError(f"ensemble {name!r} must name one model or more, each once, got {list(members)}")
        for member in members:
            if member not in settings.models:
                raise ValueError(
                    f"ensemble {name!r} names {member!r}, which is not among the models: "
                    + ", ".join(settings.models)
                )


def require_generators(settings: Settings) -> None:
    """A generator has a section where it makes the study's images, and only there."""
    folder = f"results/{settings.study.name}/phantom"
    if settings.generates_dicom() and settings.phantom is None:
        raise ValueError(
            f"phantom is missing: cohort.image_root is {folder}, which the phantom's generator fills; add the "
            "section (`phantom: {}` takes its defaults), or name the folder of your images"
        )
    if settings.phantom is not None and not settings.generates_dicom():
        raise ValueError(
            f"phantom is for studies whose images its generator makes in cohort.image_root: {folder}, got "
            f"{settings.cohort.image_root}; set cohort.image_root to that folder (where study.name was changed, "
            "it changes too), or remove the section"
        )
    generators = [name for name in ("disks", "chest_slices") if settings.model_dump()[name] is not None]
    if settings.cohort.source == "generated" and not generators:
        raise ValueError(
            "disks is missing: cohort.source is generated; add the section (`disks: {}` takes its defaults), or "
            "`chest_slices: {}`"
        )
    if generators and settings.cohort.source != "generated":
        raise ValueError(
            f"{generators[0]} is for studies with cohort.source: generated, got {settings.cohort.source}; remove "
            "the section"
        )
    if len(generators) > 1:
        raise ValueError(
            "disks and chest_slices both generate the study's images; remove one of the sections"
        )


def require_boxes(settings: Settings) -> None:
    """Crops in boxes need the table of them. A bundle has none: each new patient brings a box."""
    if settings.crop.position == "box" and not settings.crop.boxes:
        raise ValueError("crop.position: box needs crop.boxes, the table of them")


def require_subsets(settings: Settings) -> None:
    """Networks of a part of the cohort have nothing that other models compare with or take from."""
    networks = {name: network for name, network in settings.networks().items() if network.subset}
    averaged = {member for members in settings.ensembles.values() for member in members}
    for name, network in networks.items():
        if network.ranks():
            raise ValueError(
                f"model {name!r} predicts survival and has a subset: risks of different patients cannot be "
                "compared; make a study of its own of these patients"
            )
        if name in averaged or name in (*settings.deep_sources(), *settings.contour_networks()):
            raise ValueError(
                f"model {name!r} has a subset, and other models need its predictions of all patients"
            )


def require_deep_sources(settings: Settings) -> None:
    """Networks that models take deep features from are among this study's."""
    networks = settings.networks()
    for name, model in settings.models.items():
        source = model.needs.deep
        if source and source not in networks:
            raise ValueError(
                f"model {name!r} is offered deep features of {source!r}, which is no network of this "
                f"study ({', '.join(networks) or 'there is none'})"
            )
        files = [start for start in settings.starts_of(source) if is_file_of_weights(start)] if source else []
        if files:
            through = [start for start in settings.starts_of(source) if start not in files]
            raise ValueError(
                f"model {name!r} is offered deep features of {source!r}, which starts from weights of elsewhere"
                + (f" (through {', '.join(through)})" if through else "")
                + f", {files[0]}: these may have seen the patients whose features are used"
            )


def require_comparisons(settings: Settings) -> None:
    """Compared pairs are of two models or ensembles that there are, each pair once."""
    seen: set[frozenset[str]] = set()
    for pair in settings.evaluation.comparisons:
        for name in pair:
            if name not in (*settings.models, *settings.ensembles):
                raise ValueError(f"evaluation.comparisons names {name!r}, which is no model")
        if len(set(pair)) < 2 or frozenset(pair) in seen:
            raise ValueError(f"evaluation.comparisons: {list(pair)} is no pair, or stands twice")
        seen.add(frozenset(pair))


def require_units(settings: Settings) -> None:
    """Thresholds in g/mL meet values in g/mL: SUV by body surface has cm²/mL."""
    if settings.suv.normalisation != "bsa":
        return
    segmented = settings.contours.auto_segment
    meets = {
        "radiomics.enabled (bin widths and thresholds of indices)": settings.radiomics.enabled
        and settings.cohort.source in ("dicom", "nifti"),
        "crop.position: brain_anchored": settings.crop.position == "brain_anchored",
        f"contours.auto_segment: {segmented}": segmented.startswith("fixed"),
    }
    for name, used in meets.items():
        if used:
            raise ValueError(
                f"suv.normalisation: bsa is in cm²/mL, but {name} is in g/mL; change one of them"
            )


def require_risks(settings: Settings) -> None:
    """What compares, averages or chooses by risk names models that give one."""
    ranked = ranking(settings.models)
    for name, members in settings.ensembles.items():
        if not set(members) & set(ranked):
            raise ValueError(
                f"ensemble {name!r} averages risks, and none of its models predicts survival: "
                f"{', '.join(members)}; add one that does, or remove the ensemble"
            )
    for where, name in (
        ("evaluation.compare_with", settings.evaluation.compare_with),
        ("evaluation.baseline_model", settings.evaluation.baseline_model),
        ("evaluation.reference_model", settings.evaluation.reference_model),
    ):
        if name and name not in (*ranked, *settings.ensembles):
            raise ValueError(f"{where} names {name!r}, which does not predict survival; name one that does")


def require_checkpoint_selection(settings: Settings) -> None:
    """Weights are chosen on patients there are, by a metric the network has, and leak into no features.

    Raises:
        SettingsError: Naming the model and what to set.
    """
    for name, network in settings.networks().items():
        training = settings.training_of(name)
        selection = training.checkpoint_selection
        if training.select_metric == "c_index" and selection != "last" and not network.ranks():
            raise SettingsError(
                f"model {name!r} chooses its weights by C-index, and it does not predict survival",
                where="training.select_metric: c_index",
                action=f"set models.{name}.training.select_metric: loss",
            )
        if selection == "best_test" and settings.plan.folds == 1:
            raise SettingsError(
                f"model {name!r} chooses its weights on test patients, and there are none",
                where="training.checkpoint_selection: best_test with plan.folds: 1",
                action="set training.checkpoint_selection: best_validation or last",
            )
        if selection == "best_validation" and settings.plan.validation_fraction == 0:
            raise SettingsError(
                f"model {name!r} chooses its weights on validation patients, and there are none",
                where="training.checkpoint_selection: best_validation with plan.validation_fraction: 0",
                action="set plan.validation_fraction above 0, or training.checkpoint_selection: last",
            )
        sources = settings.deep_sources()
        starting = [source for source in sources if name in settings.starts_of(source)]
        if selection == "best_test" and (name in sources or starting):
            gives = "gives deep features" if name in sources else f"is what {starting[0]!r} starts from"
            features = "features are used" if name in sources else "deep features are used"
            raise SettingsError(
                f"model {name!r} {gives}, and chooses its weights on the patients whose {features}",
                where="training.checkpoint_selection: best_test",
                action=f"set models.{name}.training.checkpoint_selection: best_validation or last",
            )


def require_pretrained(settings: Settings) -> None:
    """Every network that another one starts from is of this study, and no chain of them is a ring.

    Raises:
        SettingsError: Naming the models.
    """
    starts = {name: settings.training_of(name).pretrained_from for name in settings.networks()}
    for name, start in starts.items():
        if is_file_of_weights(start):
            starts[name] = ""
        elif start and start not in starts:
            raise SettingsError(
                f"model {name!r} starts from {start!r}, which is no network of this study",
                where="training.pretrained_from",
                expected=", ".join(sorted(set(starts) - {name})) or "empty: there is no other network",
                action="name a network, or a fold's folder or file of another study with its path (with a `/`)",
            )
    for name in starts:
        chain = [name]
        while start := starts[chain[-1]]:
            chain.append(start)
            if start in chain[:-1]:
                raise SettingsError(
                    "models start from one another in a ring: " + " → ".join(chain),
                    where="training.pretrained_from",
                    action="set it in the later model's own `training`, not for all models",
                )
