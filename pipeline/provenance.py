"""Provenance of a result: code digests, versions of libraries and hashes of files."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.module_facts import FactsFile, ModuleFacts

OUTSIDE = "outside a rule of the workflow"
# Parameters of jobs that say where files lie, not how results are made.
_PLACES = frozenset({"absent", "by_name", "files", "folder", "frozen", "images", "results", "work"})
_job = OUTSIDE
PACKAGE = "pipeline"
ROOT = Path(__file__).resolve().parent.parent


def code_digest(*modules: str) -> str:
    """Hash the code that the given modules run inside this package.

    The hash covers the syntax trees, without docstrings and the descriptions of settings (comments
    and layout are not in the tree), of the modules and of everything they import inside
    ``pipeline``, at module level or inside functions; and the files that these modules read from
    the package, such as templates and style sheets. It is given to rules as a parameter, so that
    editing code reruns exactly the stages that use it.

    Args:
        modules: Dotted names, e.g. ``pipeline.dicom.pet.suv``.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(modules_behind(*modules)):
        digest.update(f"{name}\0{_facts(name).tree}\0".encode())
        for path in package_files(name):
            digest.update(f"{path.relative_to(ROOT)}\0{file_sha256(path)}\0".encode())
    _kept(ROOT).save()
    return digest.hexdigest()[:16]


def forget_code() -> None:
    """Have the code read again: what is asked for once holds for the whole process."""
    for remembered in (_facts, _kept, _imports, module_path):
        remembered.cache_clear()


def modules_behind(*modules: str) -> set[str]:
    """The given modules, the packages they lie in, and all that these import inside this package."""
    behind: set[str] = set()
    waiting = [*modules, *(package for name in modules for package in _named(name) if package not in modules)]
    while waiting:
        name = waiting.pop()
        if name not in behind:
            behind.add(name)
            waiting.extend(_imports(name))
    return behind


@cache
def module_path(name: str) -> Path | None:
    """File of a module of this package, or None if there is no such module."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def package_files(name: str) -> list[Path]:
    """Files of the package, no Python, that a module reads: templates, style sheets.

    A module names them, or their folder, as ``Path(__file__).parent / "templates"``.

    Args:
        name: Dotted name of the module.

    Returns:
        Existing files in the order of their paths, those of folders at any depth, but for hidden ones and backups,
        which editors and file systems leave there while somebody reads or writes.
    """
    module = module_path(name)
    if module is None:
        return []
    places = (module.parent.joinpath(*parts) for parts in _facts(name).places)
    files = (file for place in places for file in (place, *place.rglob("*")) if file.is_file())
    kept = (file for file in files if not file.name.startswith(".") and not file.name.endswith("~"))
    return sorted({file for file in kept if file.suffix not in (".py", ".pyc")})


@cache
def _facts(name: str) -> ModuleFacts:
    path = module_path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} in {PACKAGE}/")
    return _kept(ROOT).of(path)


@cache
def _kept(root: Path) -> FactsFile:
    return FactsFile(root / PACKAGE / "__pycache__" / f"module_facts.{sys.implementation.cache_tag}.json")


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Modules of this package that a module imports, with the packages they lie in."""
    imported: set[str] = set()
    for target in _facts(name).targets:
        imported.update(_named(target))
    imported.discard(name)
    return tuple(sorted(imported))


def _named(target: str) -> list[str]:
    """Modules of this package among a dotted name and the packages before it, but for the package itself."""
    parts = target.split(".")
    names = [".".join(parts[:length]) for length in range(2, len(parts) + 1)]
    return [name for name in names if parts[0] == PACKAGE and module_path(name) is not None]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def set_job(parameters: Iterable[tuple[str, Any]]) -> None:
    """Take note of what the job that runs in this process was given, for the manifests of its results.

    Args:
        parameters: Names and values of the rule's parameters: digest of the code, settings. None: no
            rule runs.
    """
    global _job
    made_by = {name: value for name, value in parameters if name not in _PLACES}
    text = json.dumps(made_by, sort_keys=True, default=str)
    _job = hashlib.sha256(text.encode()).hexdigest()[:16] if made_by else OUTSIDE


def current_job() -> str:
    """Digest (16 hexadecimal digits) of settings and code of the running job; a text where there is none."""
    return _job


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions by distribution name; "not installed" where there is none."""
    installed = {}
    for name in distributions:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return installed
