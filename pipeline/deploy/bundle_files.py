"""The files of a bundle: written, read and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from pipeline.deploy.manifest import FORMAT, BundleError, Manifest, Member, NetworkMember
from pipeline.provenance import code_digest, file_sha256
from pipeline.tables.failures import raise_machine_failure

MANIFEST, CHECKSUMS = "manifest.json", "checksums.sha256"
SNAKEMAKE_TIMESTAMP = ".snakemake_timestamp"
"""Left in every output folder by Snakemake; never read."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were verified."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """Path of a file of the bundle.

        Raises:
            BundleError: The name leads out of it, or through a link.
        """
        return path_inside(self.folder, name)


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


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest and verify every file it names.

    Raises:
        BundleError: There is none; it is of another format; a file is missing, changed, leads
            out of the bundle, or is there without being named.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise_machine_failure(error)
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
    _verify_files(folder, manifest)
    return Bundle(folder, manifest)


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for name, digest in manifest.files.items():
        path = path_inside(folder, name)
        if not path.is_file() or file_sha256(path) != digest:
            raise BundleError(
                "a file of the bundle is missing or was changed",
                where=name,
                expected=f"SHA-256 {digest[:16]}…",
                action="get the bundle again from where it was made",
            )
    named = {*manifest.files, MANIFEST, CHECKSUMS, SNAKEMAKE_TIMESTAMP}
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if present - named:
        raise BundleError(
            "the bundle holds files that its manifest does not name",
            where=str(folder),
            got=", ".join(sorted(present - named)[:5]),
            action="remove them, or get the bundle again",
        )


def path_inside(folder: Path, name: str) -> Path:
    """Path of a file in a bundle's folder.

    Raises:
        BundleError: The name leads out of it, or through a link.
    """
    pure = PurePosixPath(name)
    path = folder.joinpath(*pure.parts)
    steps = [path, *path.parents[: len(pure.parts) - 1]]
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or any(step.is_symlink() for step in steps):
        raise BundleError("a file's name leads out of the bundle", where=MANIFEST, got=name)
    return path
