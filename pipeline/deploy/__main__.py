"""The command line: `python -m pipeline.deploy predict --bundle B --images FOLDER --out OUT`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import configure_logging, prepare_environment
from pipeline.deploy.bundle_files import Bundle, read_bundle
from pipeline.deploy.manifest import BundleError, Manifest
from pipeline.deploy.networks import ComputeOptions
from pipeline.deploy.outputs import PAGE, write_prediction
from pipeline.deploy.predict import predict_patient
from pipeline.deploy.preprocess import NewPatient
from pipeline.errors import PipelineError
from pipeline.provenance import ROOT

BOX_HELP = (
    "where the study's crops lie in boxes: corners of the patient's box (LPS mm; write --box=-48,…), or "
    "brain_anchored to place the crop below the brain, which is flagged"
)
EXPECT_HELP = "identity that the bundle must have (its file ID), whole or its first 12 digits or more"


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(prog="python -m pipeline.deploy", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="verify a bundle and print what it needs")
    show.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    show.add_argument("--expect", default="", metavar="ID", help=EXPECT_HELP)
    predict = commands.add_parser("predict", help="predict a new patient")
    predict.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    predict.add_argument("--expect", default="", metavar="ID", help=EXPECT_HELP)
    predict.add_argument("--images", type=Path, required=True, help="one patient's DICOM (or NIfTI) files")
    predict.add_argument("--out", type=Path, required=True, help="new folder for the prediction")
    predict.add_argument(
        "--name", default="patient", help="name of the patient in the outputs; not the real one"
    )
    predict.add_argument(
        "--clinical", action="append", default=[], metavar="NAME=VALUE", help="NAME= declares it unknown"
    )
    predict.add_argument(
        "--roi", default="", help="contour: ROI pattern, mask file, sphere(x, y, z, r), or study"
    )
    predict.add_argument("--box", default="", metavar="X1,X2,Y1,Y2,Z1,Z2", help=BOX_HELP)
    predict.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    predict.add_argument("--threads", type=int, default=1, help="CPU threads")
    predict.add_argument(
        "--identity", action="store_true", help="keep patient and study attributes in the DICOM SEG"
    )
    predict.add_argument(
        "--keep-work", type=Path, help="keep the stages' files (they hold UIDs) in this folder"
    )
    return top


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    given = parser().parse_args(arguments)
    prepare_environment(ROOT)
    configure_logging(logging.WARNING)
    try:
        bundle = read_bundle(given.bundle, given.expect)
        if given.command == "show":
            print(model_card(bundle))
            return 0
        return _predict(given, bundle)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _predict(given: argparse.Namespace, bundle: Bundle) -> int:
    _require_new(given.out)
    # The end of a job must not leave the patient's images behind: SystemExit removes the temporary folder.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    patient = NewPatient(given.name, given.images, given.roi, _pairs(given.clinical), given.box)
    with tempfile.TemporaryDirectory(prefix="suvival-") as temporary:
        work = given.keep_work or Path(temporary)
        _require_new(work)
        compute = ComputeOptions(given.device, given.threads)
        prediction = predict_patient(bundle, patient, work, compute)
        write_prediction(bundle, prediction, given.out, identity=given.identity)
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


def _require_new(folder: Path) -> None:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
