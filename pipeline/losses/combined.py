"""The loss of a network: every term its outputs allow, weighted as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.losses import class_overlap, detection, discrete_time, labels, localisation, overlap, ranking
from pipeline.losses.cox import cox_loss
from pipeline.settings.losses import TERMS, LossSettings

Term = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], LossSettings], Tensor]
OF_THE_MASK = ("dice", "cross_entropy", "focal", "detection", "distance")
"""Terms that are a mean over the patients with a contour, each compared with his own."""
OF_ONE_PATIENT = (*OF_THE_MASK, "reconstruction")
"""Terms that are a mean over patients. All others need the outputs of all patients at once, a few numbers each."""


def combined_loss(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    settings: LossSettings,
    penalised: Sequence[Tensor] = (),
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to minimise and its terms, unweighted and detached.

    A term counts where its weight is not 0 and the network has the output it needs. Everything
    is computed in float32, under autocast too.

    Args:
        outputs: Outputs of the network (see `pipeline.nets.registry.build`).
        targets: ``time`` (B,) in days, ``event`` (B,), ``mask`` (B, Z, Y, X) of 0 and 1 or of labels,
            ``image`` (B, C, Z, Y, X) for reconstruction, each name in ``settings.labels`` (B,), and
            optionally ``centre`` (B,) integers for stratified risk sets and ``mask_known``
            (B,), 0 for patients without a contour, who then have no mask terms.
        settings: Weights and forms.
        penalised: Weight matrices of the L2 term, λ·Σw² (Meng et al. Eq. 1).

    Returns:
        Scalar loss; terms by name, ``dice`` as minus Dice, ``l2`` unweighted Σw².

    Raises:
        TrainingError: No term is left, or a target is missing.
    """
    device = next(iter(outputs.values())).device.type
    with torch.autocast(device, enabled=False):
        values = loss_terms(outputs, targets, settings)
        total = weigh(values, outputs, settings)
        if penalised and settings.l2 > 0:
            squares = torch.stack([weight.float().square().sum() for weight in penalised]).sum()
            total, values["l2"] = total + settings.l2 * squares, squares
    return total, {name: value.detach() for name, value in values.items()}


def loss_terms(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    settings: LossSettings,
    names: Sequence[str] = TERMS,
) -> dict[str, Tensor]:
    """The terms that have a weight and whose output the network has, unweighted.

    Args:
        outputs: Outputs of the network.
        targets: See :func:`combined_loss`.
        settings: Weights and forms.
        names: The terms that are looked at.

    Raises:
        TrainingError: A target is missing.
    """
    return {
        name: _compute(name, outputs, targets, settings)
        for name in names
        if getattr(settings, name) > 0 and _output_of(name, outputs)
    }


def _output_of(name: str, outputs: Mapping[str, Tensor]) -> bool:
    from pipeline.settings.losses import terms_needing

    return any(key in outputs for key in terms_needing(name))


def _compute(
    name: str, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings
) -> Tensor:
    try:
        return _FUNCTIONS[name](outputs, targets, settings)
    except KeyError as error:
        raise TrainingError(
            f"the loss term {name} lacks its target",
            where=f"losses.{name}",
            expected=str(error.args[0]),
            got=", ".join(sorted(targets)),
            action=f"give the patients this target, or set losses.{name} to 0",
        ) from None


def _cox(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    strata = targets["centre"] if settings.stratify else None
    return cox_loss(
        outputs["log_hazard"], targets["time"], targets["event"], ties=settings.ties, strata=strata
    )


def _dice(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    if "class_masks" in outputs:
        value = class_overlap.class_dice(*_of_classes(outputs, targets), settings.dice_form)
    else:
        value = overlap.dice(outputs["mask"], _lesion(targets), settings.dice_form)
    return -_known(value, targets)


def _entropy(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    if "class_masks" in outputs:
        parts = _of_classes(outputs, targets)
        return _known(class_overlap.class_cross_entropy(*parts, settings.mask_activation), targets)
    return _known(overlap.cross_entropy(outputs["mask"], _lesion(targets)), targets)


def _focal(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    gamma = settings.focal_gamma
    if "class_masks" in outputs:
        parts = _of_classes(outputs, targets)
        return _known(class_overlap.class_focal(*parts, settings.mask_activation, gamma), targets)
    return _known(overlap.focal(outputs["mask"], _lesion(targets), gamma), targets)


def _of_classes(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of any class, of each, and the labels."""
    return outputs["mask"], outputs["class_masks"], targets["mask"]


def _lesion(targets: Mapping[str, Tensor]) -> Tensor:
    """The manual mask (B, Z, Y, X) as 0 and 1, whatever class a voxel is of."""
    return (targets["mask"] > 0).float()


def _known(values: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Mean over the patients who have a contour."""
    if "mask_known" not in targets:
        return values.mean()
    known = targets["mask_known"] > 0
    return torch.where(known, values, torch.zeros_like(values)).sum() / known.sum().clamp(min=1)


def _discrete(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    return discrete_time.discrete_time_loss(
        outputs["interval_logits"], targets["time"], targets["event"], settings.interval_edges_days
    )


def _ranking(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    time, event = targets["time"], targets["event"]
    if "interval_logits" in outputs:
        logits = outputs["interval_logits"]
        edges = settings.interval_edges_days
        return ranking.deephit_ranking(logits, time.float(), event, edges, settings.ranking_sigma)
    return ranking.hazard_ranking(outputs["log_hazard"], time, event, settings.ranking_sigma)


def _reconstruction(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings
) -> Tensor:
    return (outputs["reconstruction"].float() - targets["image"].float()).square().mean()


def _classification(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings
) -> Tensor:
    return labels.label_loss(outputs["labels"], targets, settings.labels, settings.label_weights)


def _detection(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings
) -> Tensor:
    parts = detection.detection_loss(outputs)
    return _known(torch.stack(list(parts.values())).sum(0), targets)


def _distance(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    mask = _lesion(targets)
    coronal = localisation.distance_to_point(
        outputs["activation_coronal"], localisation.centre_of(mask.amax(2))
    )
    sagittal = localisation.distance_to_point(
        outputs["activation_sagittal"], localisation.centre_of(mask.amax(3))
    )
    return _known((coronal + sagittal) / 2, targets)


_FUNCTIONS: dict[str, Term] = {
    "cox": _cox,
    "dice": _dice,
    "cross_entropy": _entropy,
    "focal": _focal,
    "discrete": _discrete,
    "ranking": _ranking,
    "reconstruction": _reconstruction,
    "classification": _classification,
    "detection": _detection,
    "distance": _distance,
}


def weigh(values: Mapping[str, Tensor], outputs: Mapping[str, Tensor], settings: LossSettings) -> Tensor:
    """The loss of its terms, as the settings combine them.

    Args:
        values: Terms by name, unweighted.
        outputs: Outputs of the network, with `log_variances` where these are learned.
        settings: Weights, and how they are combined.

    Raises:
        TrainingError: There is no term.
    """
    if not values:
        raise TrainingError(
            "no loss term is left for this network",
            where="losses",
            got=f"outputs {', '.join(outputs)}",
            action="give a weight above 0 to a term whose output the network has",
        )
    weights = {name: float(getattr(settings, name)) for name in values}
    if settings.weighting == "fixed":
        return torch.stack([weights[name] * value for name, value in values.items()]).sum()
    # both other ways need terms that are not negative: 1 − Dice instead of −Dice
    positive = {name: value + 1 if name == "dice" else value for name, value in values.items()}
    if settings.weighting == "geometric":
        return _geometric(positive, weights)
    return _uncertainty(positive, weights, outputs)


def _geometric(values: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Π Lᵢ^(wᵢ/Σw) (Chennupati et al. 2019, Eq. 2); a term that is 0 (a batch without events) is left out.

    Whether a term is left out is decided on the device: to ask would stop an accelerator.
    """
    each = torch.stack(list(values.values()))
    left = each.detach() > 0
    # Exponents in float64: rounded once, they are those of the terms that are left.
    given = torch.stack([each.new_full((), weights[name], dtype=torch.float64) for name in values])
    total = torch.where(left, given, 0.0).sum().clamp(min=torch.finfo(torch.float64).tiny)
    logs = (given / total).to(each.dtype) * torch.log(torch.where(left, each, 1.0))
    return torch.where(left.any(), torch.exp(torch.where(left, logs, 0.0).sum()), each.sum())


def _uncertainty(
    values: Mapping[str, Tensor], weights: Mapping[str, float], outputs: Mapping[str, Tensor]
) -> Tensor:
    """Σ wᵢ exp(−sᵢ) Lᵢ + sᵢ/2, sᵢ learned log-variances (Kendall et al. 2018, section 3)."""
    if "log_variances" not in outputs:
        raise TrainingError(
            "uncertainty weighting needs the network's learned log-variances",
            where="losses.weighting",
            action="build the network with the same losses section",
        )
    variances = outputs["log_variances"][0].float()
    parts = []
    for name, value in values.items():
        s = variances[TERMS.index(name)]
        parts.append(weights[name] * torch.exp(-s) * value + s / 2)
    return torch.stack(parts).sum()
