"""The commands `suvival show` and `suvival predict`: what they print, and how they end."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.deploy.bundle_files import Bundle, read_bundle
from pipeline.deploy.manifest import BundleError, Manifest
from pipeline.deploy.networks import ComputeOptions
from pipeline.deploy.outputs import PAGE, PageOptions, write_prediction
from pipeline.deploy.predict import predict_patient
from pipeline.deploy.preprocess import NewPatient


def show(given: argparse.Namespace) -> int:
    """Print what a bundle is and needs, once its files proved to be those that were packed."""
    print(model_card(read_bundle(given.bundle, given.expect)))
    return 0


def predict(given: argparse.Namespace) -> int:
    """Predict a new patient; returns the exit code.

    Raises:
        PipelineError: The bundle, the images or what was given beside them cannot be used.
    """
    bundle = read_bundle(given.bundle, given.expect)
    require_new(given.out)
    # The end of a job must not leave the patient's images behind: SystemExit removes the temporary folder.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    patient = NewPatient(
        given.name, given.images, given.roi, _pairs(given.clinical), given.box, given.scan_date
    )
    with tempfile.TemporaryDirectory(prefix="suvival-") as temporary:
        work = given.keep_work or Path(temporary)
        require_new(work)
        compute = ComputeOptions(given.device, given.threads)
        prediction = predict_patient(bundle, patient, work, compute)
        shown = PageOptions(identity=given.identity, expected=bool(given.expect))
        write_prediction(bundle, prediction, given.out, shown)
    for flag in prediction.flags:
        if flag.level == "warning":
            print(f"warning: {flag.about}: {flag.text}", file=sys.stderr)
    summary = (
        "no risk: no member predicts survival"
        if prediction.estimate is None
        else f"risk {prediction.estimate.risk:.4f} (Z, higher is worse)"
    )
    print(f"{summary}; {given.out / PAGE}")
    return 0


def require_new(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        BundleError: It is no folder, or not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(
            "the output folder is not empty", where=str(folder), action="name a new one, or empty it"
        )


def _pairs(given: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name in values:
            raise BundleError(
                "a clinical value must be given once as NAME=VALUE", where="--clinical", got=text[:80]
            )
        values[name] = value.strip()
    return values


def model_card(bundle: Bundle) -> str:
    """What the bundle is and needs, for the terminal."""
    manifest = bundle.manifest
    members = ", ".join(f"{name} ({member.kind})" for name, member in manifest.members.items())
    lines = [
        f"identity: {bundle.identity}",
        f"{manifest.model} of study {manifest.study.name}: {members}; {manifest.folds()} folds",
        f"images: {manifest.source.upper()} {' and '.join(manifest.channels).upper().replace('AND', 'and')}",
        f"clinical: {', '.join(manifest.clinical) or 'none'}",
        f"contour: {manifest.needs_contour or 'not needed'}",
        f"box: {'needed, --box' if manifest.needs_box() else 'not needed'}",
        f"learned from {manifest.cohort.patients} patients{_events(manifest)}",
        *(f"holds: {line}" for line in manifest.privacy),
    ]
    return "\n".join(lines)


def _events(manifest: Manifest) -> str:
    events = manifest.cohort.events
    return ", no outcomes" if events is None else f", {events} events"
