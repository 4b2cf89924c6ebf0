"""What contours, and the classes of a mask, ask of the other sections of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.settings.chest_phantom import LESIONS

if TYPE_CHECKING:
    from pipeline.settings.network import Network
    from pipeline.settings.root import Settings


def require_contours(settings: Settings) -> None:
    """Contours that models take features from can be had in this study."""
    for name, model in settings.models.items():
        network = model.needs.contour_network
        if not network:
            continue
        source = settings.networks().get(network)
        if source is None or "mask" not in source.gives():
            raise ValueError(f"model {name!r} takes contours of {network!r}, which is no model that segments")
        if "masks" not in settings.training_of(network).outputs:
            raise ValueError(f"model {name!r} needs `masks` among training.outputs of {network!r}")


def require_classes(settings: Settings) -> None:
    """Classes of the mask can be told apart in this study's images."""
    source, contours = settings.cohort.source, settings.contours
    per_class = settings.radiomics.per_class
    if per_class and per_class != contours.class_names():
        raise ValueError(
            f"radiomics.per_class names {list(per_class)}; it is empty, or all of contours.classes in their order: "
            f"{list(contours.class_names())}"
        )
    if settings.disks is not None and contours.classes:
        raise ValueError("contours.classes is for images that are read: generated disks have one lesion")
    made = {name: label for label, name in enumerate(LESIONS, start=1)}
    if settings.chest_slices is not None and contours.classes and contours.class_values() != made:
        raise ValueError(f"contours.classes of generated chest slices are {made}, or none")
    if source == "slices" and contours.class_patterns():
        raise ValueError(
            "contours.classes names patterns of ROI names, which slices do not have; name the value of each class in "
            "the masks"
        )


def mask_classes_of(settings: Settings, name: str, network: Network) -> tuple[str, ...]:
    """Classes that a network's mask tells apart in this study; empty: tumour or not."""
    classes = settings.contours.class_names()
    named = network.losses.mask_classes
    if named and named != classes:
        raise ValueError(
            f"models.{name}.losses.mask_classes names {list(named)}, contours.classes {list(classes)}; leave the first "
            "empty, it follows from the second"
        )
    kinds = network.detected_kinds()
    if classes and kinds and kinds != len(classes):
        raise ValueError(
            f"model {name!r} detects {kinds} kinds of lesion, contours.classes names {len(classes)}"
        )
    return classes if "mask" in network.gives() and network.has_class_masks else ()
