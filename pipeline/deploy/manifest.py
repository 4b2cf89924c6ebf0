"""What a bundle says of itself, and how its files are trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipeline.errors import PipelineError
from pipeline.provenance import code_digest, file_sha256
from pipeline.settings.base import Section

FORMAT = 2
"""2: a network that does not predict survival has neither Z-score nor hazard, and no part in a risk."""
MANIFEST, CHECKSUMS = "manifest.json", "checksums.sha256"
MARKER = ".snakemake_timestamp"
"""Left in every output folder by Snakemake; never read."""
TEMPLATE, FEATURE_SET = "template", "feature_set.yaml"


class BundleError(PipelineError):
    """A bundle cannot be made, or cannot be trusted."""


class ZScale(Section):
    """Frozen Z-score of a member in a fold: Z = (risk − mean) / sd; 0 where sd is 0."""

    mean: float
    sd: float


class Hazard(Section):
    """Breslow's cumulative baseline hazard, of log-hazard = slope · risk."""

    times_days: tuple[float, ...]
    cumulative_hazard: tuple[float, ...]
    centre: float
    last_days: float
    slope: float = 1.0


class NetworkFold(Section):
    """A network of one fold: its weights' file, and all that is needed to build and run it.

    Attributes:
        weights: File of the bundle.
        about: How the network is built and fed.
        precision: It was trained in.
        scale: None of a network that does not predict survival.
        hazard: The same.
    """

    weights: str
    about: dict[str, Any]
    precision: Literal["bf16", "fp32"]
    scale: ZScale | None = None
    hazard: Hazard | None = None


class LinearFold(Section):
    """A linear risk of one fold, Σ β·(x − mean)/SD.

    Attributes:
        coefficients: β by column.
        features: [name, median (for missing values), mean, SD].
        clinical: State of the clinical columns' encoder.
    """

    coefficients: dict[str, float]
    features: tuple[tuple[str, float, float, float], ...]
    clinical: dict[str, Any]
    scale: ZScale
    hazard: Hazard


class NetworkMember(Section):
    """A network, fold by fold."""

    type: Literal["network"] = "network"
    kind: str
    folds: tuple[NetworkFold, ...]


class LinearMember(Section):
    """A linear classical model, fold by fold; with `log` its feature enters as its logarithm."""

    type: Literal["linear"] = "linear"
    kind: str
    log: bool = False
    folds: tuple[LinearFold, ...]


Member = Annotated[NetworkMember | LinearMember, Field(discriminator="type")]


class Span(Section):
    """Where a quantity lay in the development patients: 1st to 99th percentile."""

    low: float
    high: float
    patients: int


class CohortFacts(Section):
    """The development patients in numbers that name nobody.

    Attributes:
        spans: By quantity (see `measures.py`).
        scanners: Manufacturer and model of the PET.
        levels: By clinical column of text, its levels.
        risk_percentiles: Risk of test patients (Z) at 0, 5, … 100 %; empty where nothing predicts survival.
        patients: How many.
        events: Of them; None in a study without outcomes.
    """

    spans: dict[str, Span]
    scanners: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    risk_percentiles: tuple[float, ...]
    patients: int
    events: int | None


class Manifest(Section):
    """`manifest.json` of a bundle.

    Attributes:
        format: Of bundles.
        software: Version, code digest and versions of libraries that made it.
        study: Name, title, note and the endpoint's name.
        model: The model or ensemble that is packed.
        source: What a patient's images are.
        sections: Settings of the per-patient stages.
        members: Models that are averaged, by name.
        channels: Of the crop, in order.
        shape: Of the crop without its margin (z, y, x).
        spacing_mm: Of the crop (z, y, x).
        clinical: Columns that must be given.
        needs_contour: Why a contour must be given; empty: none is needed.
        uses_radiomics: Whether a member reads features.
        horizons_days: Times of survival probabilities.
        risk_cuts: Cuts of the risk groups, ascending, means over folds; empty where nothing
            predicts survival.
        threshold: Of the tumour probability.
        cohort: The development patients.
        privacy: What the bundle holds of patients.
        files: SHA-256 of every file but this one, by path within the bundle.
    """

    format: Literal[2]
    software: dict[str, str]
    study: dict[str, str]
    model: str
    source: Literal["dicom", "nifti"]
    sections: dict[str, dict[str, Any]]
    members: dict[str, Member]
    channels: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    clinical: tuple[str, ...]
    needs_contour: str
    uses_radiomics: bool
    horizons_days: tuple[float, ...]
    risk_cuts: tuple[float, ...]
    threshold: float
    cohort: CohortFacts
    privacy: tuple[str, ...]
    files: dict[str, str]

    def networks(self) -> dict[str, NetworkMember]:
        """Members that are networks."""
        return {name: m for name, m in self.members.items() if isinstance(m, NetworkMember)}

    def folds(self) -> int:
        """How many folds every member has."""
        return len(next(iter(self.members.values())).folds)


def digest_of(members: Mapping[str, Member]) -> str:
    """Digest of the code that predicts, networks of the members included."""
    kinds = sorted({member.kind for member in members.values() if isinstance(member, NetworkMember)})
    return code_digest("pipeline.deploy.predict", *(f"pipeline.nets.{kind}" for kind in kinds))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` and `checksums.sha256` (as `sha256sum -c` reads it)."""
    text = manifest.model_dump_json(indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    sums = {**manifest.files, MANIFEST: hashlib.sha256(text.encode()).hexdigest()}
    lines = [f"{digest}  {path}\n" for path, digest in sorted(sums.items())]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest and check every file it names.

    Raises:
        BundleError: There is none; it is of another format; a file is missing, changed, leads
            out of the bundle, or is there without being named.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            "there is no bundle", where=str(folder), expected=MANIFEST, got=type(error).__name__
        ) from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise BundleError(
            "a bundle's manifest is not one that this software reads",
            where=str(path),
            expected=f"format {FORMAT}",
            got=str(error).splitlines()[0],
            action="make the bundle again, or use the software's version that made it",
        ) from None
    _check_files(folder, manifest)
    return manifest


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, digest in manifest.files.items():
        path = inside(folder, name)
        if not path.is_file() or file_sha256(path) != digest:
            raise BundleError(
                "a file of the bundle is missing or was changed",
                where=name,
                expected=f"SHA-256 {digest[:16]}…",
                action="get the bundle again from where it was made",
            )
    known = {*manifest.files, MANIFEST, CHECKSUMS, MARKER}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if found - known:
        raise BundleError(
            "the bundle holds files that its manifest does not name",
            where=str(folder),
            got=", ".join(sorted(found - known)[:5]),
            action="remove them, or get the bundle again",
        )


def inside(folder: Path, name: str) -> Path:
    """Path of a file of the bundle.

    Raises:
        BundleError: The name leads out of it, or through a link.
    """
    pure = PurePosixPath(name)
    path = folder.joinpath(*pure.parts)
    steps = [path, *path.parents[: len(pure.parts) - 1]]
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or any(step.is_symlink() for step in steps):
        raise BundleError("a file's name leads out of the bundle", where=MANIFEST, got=name)
    return path
