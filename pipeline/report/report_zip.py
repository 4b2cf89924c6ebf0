"""A finished report as one ZIP file to send, with volumes only where they are asked for.

Usage: ``python -m pipeline.report.report_zip RESULTS OUT [volumes]`` (``make report-zip STUDY=… OUT=…``).
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import MachineError, PipelineError

VIEWER, PATIENTS = "viewer", "patients"
BUNDLE_FILES = ("ID", "MODEL_CARD.md")
"""What goes into the file of a bundle that was made: its identity, and what it is."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every member, so that the same report gives the same bytes."""


def zip_report(results: Path, out: Path, *, volumes: bool = False) -> int:
    """Write a study's report into one file; returns the number of members.

    The volumes of the viewer (`patients/*.js`, where a face can be recognised) and its library stay out unless
    they are asked for; pages and pictures work without them. Of a bundle that was made, its identity and its model
    card go along.

    Args:
        results: The study's folder, `results/{study}`.
        out: The ZIP file.
        volumes: Whether the viewer works in the file.

    Raises:
        MachineError: The study has no finished report.
    """
    report = results / "report"
    if not (report / "index.html").is_file():
        raise MachineError(
            "there is no finished report to pack",
            where=str(report),
            expected="index.html",
            got="no such file",
            action="run the study first: .venv/bin/snakemake --cores all --configfile config/studies/mine.yaml",
        )
    members = {
        f"{results.name}/{path.relative_to(report).as_posix()}": path for path in _files(report, volumes)
    }
    for name in BUNDLE_FILES:
        if (results / "bundle" / name).is_file():
            members[f"{results.name}/bundle/{name}"] = results / "bundle" / name
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(members.items()):
            member = zipfile.ZipInfo(name, EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, path.read_bytes())
    return len(members)


def _files(report: Path, volumes: bool) -> list[Path]:
    files = [path for path in report.rglob("*") if path.is_file() and not path.name.startswith(".")]
    if volumes:
        return files
    return [
        path
        for path in files
        if path.parent.name != VIEWER and not (path.parent.name == PATIENTS and path.suffix == ".js")
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    if len(arguments) not in (2, 3) or (len(arguments) == 3 and arguments[2] != "volumes"):
        print("usage: make report-zip STUDY=phantom OUT=report.zip [VOLUMES=1]", file=sys.stderr)
        return 2
    results, out, volumes = Path(arguments[0]), Path(arguments[1]), len(arguments) == 3
    try:
        count = zip_report(results, out, volumes=volumes)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    said = (
        "with the viewer's volumes: a head in them can be recognised as a face" if volumes else "no volumes"
    )
    print(
        f"{out}: {count} files, {out.stat().st_size / 1e6:.1f} MB, {said}; open {results.name}/index.html in it"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
