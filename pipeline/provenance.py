"""Provenance of a result: code digests, versions of libraries and hashes of files."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

OUTSIDE = "outside a rule of the workflow"
# Parameters of jobs that say where files lie, not how results are made.
_PLACES = frozenset({"folder", "files", "pin", "results", "work"})
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
        digest.update(f"{name}\0{_tree_text(name)}\0".encode())
        for path in package_files(name):
            digest.update(f"{path.relative_to(ROOT)}\0{file_sha256(path)}\0".encode())
    return digest.hexdigest()[:16]


def modules_behind(*modules: str) -> set[str]:
    """The given modules and all that they import inside this package, directly or not."""
    behind: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in behind:
            behind.add(name)
            waiting.extend(_imports(name))
    return behind


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
        Existing files in the order of their paths, those of folders at any depth.
    """
    module = module_path(name)
    if module is None:
        return []
    places = (module.parent.joinpath(*parts) for parts in _places_beside(name))
    files = (file for place in places for file in (place, *place.rglob("*")) if file.is_file())
    return sorted({file for file in files if file.suffix not in (".py", ".pyc")})


@cache
def _places_beside(name: str) -> tuple[tuple[str, ...], ...]:
    """Paths that a module states relative to its own folder, part by part."""
    divisions = [
        node
        for node in ast.walk(_parse(name))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    ]
    inner = {id(node.left) for node in divisions}
    places = (_parts_beside(node) for node in divisions if id(node) not in inner)
    return tuple(parts for parts in places if parts)


def _parts_beside(node: ast.expr) -> tuple[str, ...]:
    """Parts of an expression like ``Path(__file__).parent / "a" / "b"``; of any other none."""
    parts: list[str] = []
    while isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
        parts.insert(0, str(node.right.value))
        node = node.left
    return tuple(parts) if ast.unparse(node) == "Path(__file__).parent" else ()


@cache
def _parse(name: str) -> ast.Module:
    path = module_path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} in {PACKAGE}/")
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _tree_text(name: str) -> str:
    # Stripped in place: what else reads the parsed module, its imports, is not in texts.
    tree = _parse(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text alone: a docstring, or the text below an attribute."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Modules of this package that a module imports, with the packages they lie in."""
    imported: set[str] = set()
    for target in _import_targets(name):
        parts = target.split(".")
        if parts[0] != PACKAGE:
            continue
        for length in range(2, len(parts) + 1):
            candidate = ".".join(parts[:length])
            if module_path(candidate) is not None:
                imported.add(candidate)
    imported.discard(name)
    return tuple(sorted(imported))


def _import_targets(name: str) -> Iterator[str]:
    for node in ast.walk(_parse(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
