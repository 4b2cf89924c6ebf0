"""The wheel, installed where only what it declares is to be found, predicts what the checkout predicts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from safetensors.torch import save_file

from pipeline.deploy.bundle_files import files_in, write_manifest
from pipeline.deploy.manifest import FEATURE_SET, MODEL_CARD, TEMPLATE
from pipeline.deploy.manifest_members import NetworkMember
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.nets.registry import build, network_settings
from pipeline.registration.template import choose_template
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.tables.files import PatientFiles
from tests.architecture.test_wheel import ROOT, build_wheel
from tests.deploy.scans import write_scan
from tests.deploy.synthetic_bundle import make_manifest, make_network, make_stage_settings

SHAPE, SPACING = (24, 32, 32), (6.0, 6.0, 6.0)
NETWORK = {"kind": "deepmts", "width": 0.125}
RADIOMICS = "pyradiomics==3.0.1"
"""In no extra, as it builds beside an installed numpy only: docs/environments.md says how it is installed."""


def closure(requirements: Iterable[str]) -> dict[str, metadata.Distribution]:
    """The installed distributions that fulfil requirements, and what these require, by name."""
    found: dict[str, metadata.Distribution] = {}
    todo, asked = [Requirement(text) for text in requirements], set[tuple[str, frozenset[str]]]()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in asked:
            continue
        asked.add((name, extras))
        found[name] = metadata.distribution(name)
        todo += fulfilled(found[name], extras)
    return found


def fulfilled(distribution: metadata.Distribution, extras: Iterable[str]) -> list[Requirement]:
    """What a distribution requires with some of its extras."""
    requirements = [Requirement(text) for text in distribution.requires or ()]
    cases = [{"extra": extra} for extra in ("", *extras)]
    return [one for one in requirements if not one.marker or any(one.marker.evaluate(case) for case in cases)]


def link_libraries(distributions: Iterable[metadata.Distribution], packages: Path) -> None:
    """Let an environment see these distributions and no others; no file is copied."""
    for distribution in distributions:
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            link = packages / top
            if not link.exists():
                link.symlink_to(str(distribution.locate_file(top)))


def write_small_bundle(folder: Path, images: Path, work: Path) -> None:
    """A bundle of a network with the weights it starts from, and a linear model of clinical and radiomics values.

    Its template is the patient's own CT, so that every stage of a prediction runs.
    """
    settings = RegistrationSettings()
    index_patient(PatientFiles("P001", images), IndexSettings(), work / "index" / "P001", "stop")
    convert_patient(work / "index" / "P001", work / "convert" / "P001", ConvertSettings(), "stop")
    choose_template([work / "convert" / "P001"], folder / TEMPLATE, settings, 1)
    crop = CropSettings(position="lesion", shape=SHAPE, spacing_mm=SPACING)
    network = make_network("deepmts", survival=True)
    torch.manual_seed(1)
    (folder / "weights").mkdir()
    for fold in network.folds:
        net = build(network_settings(NETWORK), 2, 0)
        save_file(net.state_dict(), folder / fold.weights)
    described = [
        fold.description.model_copy(
            update={"network": NETWORK, "shape": SHAPE, "spacing_mm": SPACING, "margin": 0}
        )
        for fold in network.folds
    ]
    folds = [
        fold.model_copy(update={"description": description})
        for fold, description in zip(network.folds, described, strict=True)
    ]
    shutil.copy(ROOT / "config" / "radiomics" / "demo.yaml", folder / FEATURE_SET)
    (folder / MODEL_CARD).write_text("Nobody learned anything here.\n")
    manifest = make_manifest(shape=SHAPE, spacing_mm=SPACING)
    members = {"network": NetworkMember(kind="deepmts", folds=tuple(folds)), **manifest.members}
    changes = {
        "members": members,
        "stages": make_stage_settings(crop),
        "needs_contour": "the crop is centred on the contour (crop.position: lesion)",
        "files": files_in(folder),
    }
    write_manifest(folder, make_manifest(shape=SHAPE, spacing_mm=SPACING, **changes))


def predict(command: list[str], bundle: Path, images: Path, out: Path, stands_in: Path) -> dict[str, object]:
    """Call `suvival predict` from a folder; returns what it wrote."""
    words = [*command, "predict", "--bundle", str(bundle), "--images", str(images), "--out", str(out)]
    words += ["--roi", "study", "--clinical", "clinical_age=70", "--clinical", "clinical_stage=III"]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=stands_in, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    predicted: dict[str, object] = json.loads((out / "prediction.json").read_text())
    return predicted


@pytest.mark.nightly
def test_the_installed_wheel_predicts_the_same(tmp_path: Path) -> None:
    """Outside of the checkout. An import of something undeclared fails: nothing else is to be found there."""
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False)
    packages = fresh / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    wheel = build_wheel(tmp_path)
    (about,) = metadata.distributions(path=[str(wheel)])
    asked = [str(one).split(";")[0] for one in fulfilled(about, ["predict"])]
    assert len(asked) > 15, "a wheel that declares nothing proves nothing"
    link_libraries(closure([*asked, RADIOMICS]).values(), packages)
    # Without an index: what the wheel declares and the environment lacks ends this with an error.
    install = ["--isolated", "--python", str(fresh / "bin" / "python"), "install", "--no-index", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", *install, f"{wheel}[predict]"], check=True)
    images, bundle = tmp_path / "images", tmp_path / "bundle"
    write_scan(images)
    bundle.mkdir()
    write_small_bundle(bundle, images, tmp_path / "work")

    installed = [str(fresh / "bin" / "suvival")]
    ours = predict([sys.executable, "-m", "pipeline"], bundle, images, tmp_path / "ours", ROOT)
    theirs = predict(installed, bundle, images, tmp_path / "theirs", tmp_path)
    where = [str(fresh / "bin" / "python"), "-c", "import pipeline; print(pipeline.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(packages))
    assert ours["members"] and set(ours["members"]) == {"network", "linear"}  # type: ignore[call-overload]
    assert theirs == ours
    mask = "mask_ct.nii.gz"
    assert (tmp_path / "ours" / mask).read_bytes() == (tmp_path / "theirs" / mask).read_bytes()
