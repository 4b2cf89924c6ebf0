"""The command `suvival`: draft a cohort table, check a study, predict with a bundle and validate it.

A study itself is run by Snakemake. In a checkout `python -m pipeline` is the same command.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline import __version__
from pipeline.console import configure_logging, prepare_environment
from pipeline.errors import PipelineError, SettingsError
from pipeline.provenance import ROOT

BOX_HELP = (
    "where the study's crops lie in boxes: corners of the patient's box (LPS mm; write --box=-48,…), or "
    "brain_anchored to place the crop below the brain, which is flagged"
)
EXPECT_HELP = "identity that the bundle must have (its file ID), whole or its first 12 digits or more"
COLUMNS_HELP = "column of a cohort table that has another name in this one, e.g. time_days=followup_days"
ROI_HELP = (
    "contour of patients whose row names none: study takes the study's patterns; by default there is none"
)
TAKE_HELP = (
    "column of the drafted table that is taken from a column of another name, e.g. time_days=followup_days; "
    "columns that have a name of the cohort table are taken without being named"
)

Commands = argparse._SubParsersAction


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="suvival", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    _add_draft(commands)
    check = commands.add_parser("check", help="tell all that is wrong with a study before it runs")
    check.add_argument("study", type=Path, help="the study's YAML file")
    check.add_argument("--no-images", action="store_true", help="read settings and tables only, no images")
    _add_predict(commands)
    _add_validate(commands)
    show = commands.add_parser("show", help="verify a bundle and print what it holds and needs")
    show.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    show.add_argument("--expect", default="", metavar="ID", help=EXPECT_HELP)
    commands.add_parser("version", help="print the version")
    return top


def _add_draft(commands: Commands) -> None:
    draft = commands.add_parser("draft", help="draft a cohort table from DICOM files or from a release")
    draft.add_argument("images", type=Path, help="folder of DICOM files, or folder of the release")
    draft.add_argument("table", type=Path, help="the CSV to write; never overwritten")
    draft.add_argument("--layout", default="", help="name of the release's layout; the study is drafted, too")
    draft.add_argument("--time-unit", default="", help="unit of the release's times: days or months")
    draft.add_argument(
        "--keep-ids",
        action="store_true",
        help="keep the DICOM Patient IDs that can name files; they may say who it is",
    )
    draft.add_argument("--outcomes", type=Path, help="CSV whose rows are joined by the DICOM Patient ID")
    draft.add_argument(
        "--id",
        default="patient_id",
        metavar="COLUMN",
        help="column of that CSV that holds the DICOM Patient ID",
    )
    draft.add_argument("--take", action="append", default=[], metavar="NAME=COLUMN", help=TAKE_HELP)


def _add_predict(commands: Commands) -> None:
    predict = commands.add_parser("predict", help="predict a new patient with a bundle")
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
        "--scan-date", action="store_true", help="show the dates of PET and CT, which identify a patient"
    )
    predict.add_argument(
        "--keep-work", type=Path, help="keep the stages' files (they hold UIDs) in this folder"
    )


def _add_validate(commands: Commands) -> None:
    validate = commands.add_parser(
        "validate", help="judge a bundle on patients with outcomes: a study's report"
    )
    validate.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    validate.add_argument("--expect", default="", metavar="ID", help=EXPECT_HELP)
    validate.add_argument("--cohort", type=Path, required=True, help="cohort table, with times and events")
    validate.add_argument("--out", type=Path, required=True, help="new folder for report and predictions")
    validate.add_argument(
        "--image-root", type=Path, default=Path("."), help="folder that the column image_path starts from"
    )
    validate.add_argument("--take", action="append", default=[], metavar="NAME=COLUMN", help=COLUMNS_HELP)
    validate.add_argument(
        "--time-unit", default="", choices=("", "days", "months", "none"), help="unit of the table's times"
    )
    validate.add_argument("--endpoint", default="", help="take {endpoint}_time_days and {endpoint}_event")
    validate.add_argument("--roi", default="", choices=("", "study"), help=ROI_HELP)
    validate.add_argument("--boxes", default="", help="table of boxes, or brain_anchored")
    validate.add_argument(
        "--viewer", default="crop", choices=("off", "crop", "full"), help="volumes on the patients' pages"
    )
    validate.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    validate.add_argument("--threads", type=int, default=1, help="CPU threads")
    validate.add_argument(
        "--keep-work", type=Path, help="keep the stages' files (they hold UIDs) in this folder"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: Words of the command line after the command's name; None: those of this process.
    """
    given = parser().parse_args(arguments)
    prepare_environment(ROOT)
    try:
        return RUN[given.command](given)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"error: {_lacking(given.command, error)}", file=sys.stderr)
    return 1


def _version(given: argparse.Namespace) -> int:
    print(__version__)
    return 0


def _draft(given: argparse.Namespace) -> int:
    configure_logging()
    if given.layout:
        if given.keep_ids or given.outcomes or given.take:
            raise SettingsError(
                "a release's ids and outcomes are its own",
                where="suvival draft --layout",
                action="leave out --keep-ids, --outcomes and --take",
            )
        from pipeline.releases import draft_release

        release, files = draft_release.draft_release(given.layout, given.images, given.table, given.time_unit)
        print(draft_release.describe(release, files))
        return 0
    from pipeline.dicom.series import cohort_draft
    from pipeline.tables.outcome_join import OutcomeSource, named_columns

    source = None
    if given.outcomes:
        source = OutcomeSource(given.outcomes, given.id, named_columns(given.take))
    drafted = cohort_draft.draft_cohort(given.images, given.table, source, keep_ids=given.keep_ids)
    print(cohort_draft.describe(drafted, given.table))
    return 0


def _check(given: argparse.Namespace) -> int:
    from pipeline.check.check import check_study

    findings = check_study(given.study, images=not given.no_images)
    for finding in findings:
        print(finding.line(), file=sys.stderr if finding.is_error else sys.stdout)
    errors = sum(finding.is_error for finding in findings)
    print(f"{given.study}: errors: {errors}, warnings: {len(findings) - errors}")
    return 1 if errors else 0


def _predict(given: argparse.Namespace) -> int:
    configure_logging(logging.WARNING)
    from pipeline.deploy.command import predict

    return predict(given)


def _validate(given: argparse.Namespace) -> int:
    configure_logging(logging.WARNING)
    from pipeline.deploy.validation import validate

    return validate(given)


def _show(given: argparse.Namespace) -> int:
    configure_logging(logging.WARNING)
    from pipeline.deploy.command import show

    return show(given)


def _lacking(command: str, error: ModuleNotFoundError) -> SettingsError:
    """A part of the installation that a command needs and that is not there."""
    if (error.name or "").split(".")[0] == "pipeline":
        raise error
    return SettingsError(
        f"the Python package {error.name!r} is not installed",
        where=f"suvival {command}",
        action="install what the command needs: pip install 'suvival[predict]' (radiomics: see docs/stages/bundle.md)",
    )


RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "draft": _draft,
    "check": _check,
    "predict": _predict,
    "validate": _validate,
    "show": _show,
    "version": _version,
}
"""Command → what runs it. Heavy libraries are imported there, by the command that needs them."""


if __name__ == "__main__":
    sys.exit(main())
