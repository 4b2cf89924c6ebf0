"""What digests of code need to know of a module, read once for each content of its file.

Every start of the workflow, every job on a cluster twice, asks for the digests of all rules, and parsing the
package takes longer than all else that such a start does. What was read is kept beside Python's own
compiled files, by the SHA-256 of the module's bytes, so that nothing kept is ever stale.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

_THIS_MODULE = Path(__file__).read_bytes()
"""As this process runs it: what a newer version of the file would read of a module may be something else."""
MOST_KEPT = 4000
"""Modules kept at most; beyond them only those that were asked for."""


@dataclass(frozen=True)
class ModuleFacts:
    """A module as digests of code see it."""

    tree: str
    """SHA-256 of the syntax tree without docstrings, texts below attributes and descriptions of settings."""
    targets: tuple[str, ...]
    """Dotted names that it imports, at module level or inside functions; of ``from a import b`` also ``a.b``."""
    places: tuple[tuple[str, ...], ...]
    """Parts of the paths that it states as ``Path(__file__).parent / "a" / "b"``."""


class FactsFile:
    """Facts of modules, kept in a file; where it can't be read or written they are read from the modules."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _read(path)
        self._asked: set[str] = set()
        self._grown = False

    def of(self, module: Path) -> ModuleFacts:
        """Facts of a module's file as its bytes are now."""
        source = module.read_bytes()
        key = hashlib.sha256(source).hexdigest()
        self._asked.add(key)
        if key not in self._known:
            self._known[key] = read_facts(source.decode("utf-8-sig"))
            self._grown = True
        return self._known[key]

    def save(self) -> None:
        """Keep what was read anew. Nothing depends on it: a package that can't be written is read again."""
        if not self._grown:
            return
        kept = (
            self._known if len(self._known) <= MOST_KEPT else {key: self._known[key] for key in self._asked}
        )
        body = json.dumps({key: asdict(facts) for key, facts in kept.items()}, sort_keys=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(exist_ok=True)
            temporary.write_text(f"{_seal(body)}\n{body}", encoding="utf-8")
            temporary.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        self._grown = False


def read_facts(source: str) -> ModuleFacts:
    """Facts of a module's text."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    targets, places = tuple(_targets(nodes)), _places(nodes)
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
    return ModuleFacts(hashlib.sha256(_as_text(tree).encode()).hexdigest(), targets, places)


def _as_text(node: object) -> str:
    """A syntax tree as text, the same in every version of Python.

    A run is planned by one Python and its jobs may run in another (conda, a container). `ast.dump` differs: 3.12 has
    the field `type_params` more and ends the formats of f-strings with an empty text, and 3.13 leaves empty fields out.
    """
    if isinstance(node, ast.JoinedStr):
        parts = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        return f"JoinedStr({_as_text(parts)})"
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({','.join(f'{name}={_as_text(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_as_text, node))}]"
    return ascii(node)


def _read(path: Path) -> dict[str, ModuleFacts]:
    """Facts of an undamaged file that this very module wrote under this version of Python, else none."""
    try:
        seal, body = path.read_text(encoding="utf-8").split("\n", 1)
        if seal != _seal(body):
            return {}
        kept = json.loads(body)
    except (OSError, ValueError):
        return {}
    return {
        key: ModuleFacts(facts["tree"], tuple(facts["targets"]), tuple(tuple(p) for p in facts["places"]))
        for key, facts in kept.items()
    }


def _seal(body: str) -> str:
    """SHA-256 over what was read, how (this module) and by which Python."""
    return hashlib.sha256(b"\0".join((_THIS_MODULE, sys.version.encode(), body.encode()))).hexdigest()


def _targets(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _places(nodes: list[ast.AST]) -> tuple[tuple[str, ...], ...]:
    """Paths that a module states relative to its own folder, part by part."""
    divisions = [node for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
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


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text alone: a docstring, or the text below an attribute."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
