"""The files of a bundle: written, read and verified, and the bundle's identity."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from pipeline.deploy.manifest import FORMAT, IDENTITY, MANIFEST, BundleError, FileFacts, Manifest
from pipeline.deploy.manifest_members import Member, NetworkMember
from pipeline.provenance import code_digest, file_sha256
from pipeline.tables.failures import raise_machine_failure

SNAKEMAKE_TIMESTAMP = ".snakemake_timestamp"
"""Left in every output folder by Snakemake; never read."""
SHORTEST_PREFIX = 12
"""Hexadecimal digits of an identity that are enough to expect it by: 48 bits."""
GET_AGAIN = "get the bundle again from where it was made, and compare its identity (file ID)"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were verified.

    Attributes:
        folder: Where it lies.
        manifest: What it says of itself.
        identity: SHA-256 of its `manifest.json`, which names the SHA-256 of every other file.
    """

    folder: Path
    manifest: Manifest
    identity: str

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


def files_in(folder: Path) -> dict[str, FileFacts]:
    """Size and SHA-256 of every file of a folder, by path within it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): FileFacts(size=path.stat().st_size, sha256=file_sha256(path))
        for path in paths
    }


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write `manifest.json` and `ID`, its SHA-256; returns the identity."""
    text = manifest.model_dump_json(indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    identity = hashlib.sha256(text.encode()).hexdigest()
    (folder / IDENTITY).write_text(f"{identity}\n", encoding="utf-8")
    return identity


def read_bundle(folder: Path, expected: str = "") -> Bundle:
    """Read a bundle, check every value of its manifest, and verify every file it names.

    Args:
        folder: The bundle's folder.
        expected: Identity that the bundle must have, or its first 12 digits or more; empty: any. Without
            it only accidental change can be detected: whoever changes a bundle can also write its `ID`.

    Raises:
        BundleError: There is none; its identity is another one; it is of another format; a value
            cannot be right; a file is missing, changed, leads out of the bundle, or is there without
            being named.
    """
    content, identity = _read_identified(folder)
    _require_expected(identity, expected)
    manifest = _parse(content, folder / MANIFEST)
    _verify_files(folder, manifest)
    return Bundle(folder, manifest, identity)


def _read_identified(folder: Path) -> tuple[bytes, str]:
    """Content of the manifest, and its SHA-256, which is what the file `ID` says."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise_machine_failure(error)
        raise BundleError(
            "there is no bundle", where=str(folder), expected=MANIFEST, got=type(error).__name__
        ) from None
    try:
        stated = (folder / IDENTITY).read_bytes()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise_machine_failure(error)
        raise BundleError(
            "a bundle without identity",
            where=str(folder / IDENTITY),
            expected=f"the SHA-256 of {MANIFEST}",
            got=type(error).__name__,
            action="make the bundle again where an earlier version made it (format 4 or before); "
            f"else {GET_AGAIN}",
        ) from None
    identity = hashlib.sha256(content).hexdigest()
    if stated != f"{identity}\n".encode():
        raise BundleError(
            f"{MANIFEST} or {IDENTITY} was changed since the bundle was made",
            where=str(folder),
            expected=f"{MANIFEST} with the SHA-256 that {IDENTITY} holds, {printable_identity(stated)}",
            got=f"{identity[:16]}…",
            action=GET_AGAIN,
        )
    return content, identity


def printable_identity(stated: bytes) -> str:
    """The beginning of what a file `ID` holds, for a message."""
    return ascii(stated[:16].decode("ascii", errors="replace")) + "…"


def _require_expected(identity: str, expected: str) -> None:
    """Refuse a bundle of another identity than the one asked for."""
    prefix = expected.strip().lower()
    if not expected:
        return
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", prefix):
        raise BundleError(
            "an expected identity must be the SHA-256 of a bundle's manifest, or its beginning",
            where="--expect",
            expected=f"{SHORTEST_PREFIX} to 64 hexadecimal digits, as the file {IDENTITY} has them",
            got=repr(expected[:80]),
        )
    if not identity.startswith(prefix):
        raise BundleError(
            "this is another bundle than the one expected",
            where="--expect",
            expected=prefix,
            got=identity,
            action="use the bundle of the expected identity",
        )


def _parse(content: bytes, path: Path) -> Manifest:
    """The manifest, every value of which was checked and is the one that the file gives."""
    try:
        text = content.decode("utf-8")
        given = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_once
        )
        manifest = Manifest.model_validate_json(text)
        if place := _first_differing(given, manifest.model_dump(mode="json"), ""):
            raise ValueError(f"{place} is of another type than it must be")
        return manifest
    except (ValueError, RecursionError) as error:
        raise BundleError(
            "a bundle's manifest is not one that this software reads",
            where=str(path),
            expected=f"format {FORMAT}",
            got=first_problem(error),
            action="make the bundle again, or use the software's version that made it",
        ) from None


def first_problem(error: Exception) -> str:
    """What is wrong with a manifest, and with which of its values, in one line."""
    if not isinstance(error, ValidationError):
        return str(error) or type(error).__name__
    problems = error.errors(include_url=False, include_input=False)
    # An unknown format explains all other problems.
    first = next((problem for problem in problems if problem["loc"] == ("format",)), problems[0])
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the manifest holds {name}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the manifest holds {text[:40]}, which is too large for a number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name stands twice in one group of the manifest")
    return values


def _first_differing(given: Any, used: Any, place: str) -> str:
    """Place of the first value that is used otherwise than it is given (`"1"` as 1, true as 1); empty: none."""
    if isinstance(given, dict) and isinstance(used, dict):
        return next(
            filter(None, (_first_differing(v, used.get(k), f"{place}.{k}") for k, v in given.items())), ""
        )
    if isinstance(given, list) and isinstance(used, list) and len(given) == len(used):
        pairs = enumerate(zip(given, used, strict=True))
        return next(filter(None, (_first_differing(a, b, f"{place}.{i}") for i, (a, b) in pairs)), "")
    same = given == used and isinstance(given, bool) == isinstance(used, bool)
    return "" if same else place.removeprefix(".")


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for name, facts in manifest.files.items():
        path = path_inside(folder, name)
        if not path.is_file() or path.stat().st_size != facts.size or file_sha256(path) != facts.sha256:
            raise BundleError(
                "a file of the bundle is missing or was changed",
                where=name,
                expected=f"{facts.size} bytes, SHA-256 {facts.sha256[:16]}…",
                got=f"{path.stat().st_size} bytes" if path.is_file() else "no file",
                action=GET_AGAIN,
            )
    named = {*manifest.files, MANIFEST, IDENTITY, SNAKEMAKE_TIMESTAMP}
    present = {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()
    }
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
