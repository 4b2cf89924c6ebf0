"""Every network of the papers' studies at full size on the CPU: one training step, one evaluation (24 GiB)."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
import yaml

from pipeline.losses.combined import combined_loss
from pipeline.nets.registry import build
from pipeline.settings.network import Network
from pipeline.settings.root import Settings, load_settings
from pipeline.settings.training import TrainingSettings
from pipeline.training.optimizer import Optimizer

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ("disks", "pet_multiscale", "deepmts", "hecktor", "chest_ct")
IMAGES = {"disks": (1, 240, 240)}
"""Study → size of its images (z, y, x) where its crop does not say it."""


def study_of(paper: str) -> Settings | None:
    paths = [ROOT / "config" / "studies" / folder / f"{paper}.yaml" for folder in ("papers", "")]
    path = next((each for each in paths if each.is_file()), None)
    return None if path is None else load_settings(yaml.safe_load(path.read_text()))


def rows() -> list[tuple[str, str]]:
    """(paper, model) of every network; those that are built alike once."""
    found, seen = [], set()
    for paper in PAPERS:
        settings = study_of(paper)
        for name, network in settings.networks().items() if settings else ():
            key = (paper, network.model_copy(update={"training": {}}).model_dump_json())
            if key not in seen:
                found.append((paper, name))
            seen.add(key)
    return found


def at_full_size(network: Network) -> Network:
    """The network at the paper's number of filters, where its study narrows it."""
    return network.model_copy(update={"width": 1.0}) if "width" in type(network).model_fields else network


def batch_of(network: Network, shape: tuple[int, int, int], channels: int) -> dict[str, torch.Tensor]:
    """Two patients: noise, a bright box that is the mask, one event, labels of two classes."""
    torch.manual_seed(0)
    mask = torch.zeros(2, *shape)
    mask[:, shape[0] // 3 : shape[0] // 3 + max(shape[0] // 4, 1), 40:60, 40:60] = 1
    targets = {
        "mask": mask,
        "image": 0.3 * torch.randn(2, channels, *shape) + mask[:, None],
        "time": torch.tensor([200.0, 900.0]),
        "event": torch.tensor([1.0, 0.0]),
    }
    return targets | {label: torch.tensor([0.0, 1.0]) for label in network.losses.labels}


@pytest.mark.nightly
@pytest.mark.parametrize(("paper", "name"), rows(), ids=lambda value: str(value))
def test_a_step_and_an_evaluation_at_full_size(paper: str, name: str) -> None:
    settings = study_of(paper)
    assert settings is not None
    network = at_full_size(settings.networks()[name])
    shape = IMAGES.get(paper, settings.crop.shape)
    of_scanner = settings.cohort.source in ("dicom", "nifti")
    channels = len(settings.crop.channels) if of_scanner else 1
    clinical = len(network.clinical)
    torch.manual_seed(0)
    net = build(network, channels, clinical)
    targets = batch_of(network, shape, channels)
    given = torch.zeros(2, clinical) if clinical else None
    # bfloat16 halves the activations; the loss is in float32, as in training.
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net.train()(targets["image"], given, targets["mask"])
    outputs = {key: value.float() for key, value in outputs.items()}
    penalised = net.penalised_weights() if hasattr(net, "penalised_weights") else ()
    loss, _ = combined_loss(outputs, targets, network.losses, penalised)
    assert torch.isfinite(loss)
    loss.backward()
    # One event of a batch of two may leave a branch without gradient, but never all.
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0
    before = [p.detach().clone() for p in net.parameters()]
    Optimizer(net, TrainingSettings.model_validate({"schedule": {"kind": "constant"}})).step()
    assert any(not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))
    del outputs, loss, gradients, before
    gc.collect()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        predicted = net.eval()(targets["image"], given, targets["mask"])
    shown = [value for key, value in predicted.items() if not key.startswith("detection_")]
    assert shown and all(torch.isfinite(value.float()).all() for value in shown)
