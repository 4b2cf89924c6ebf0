"""Keys that a settings file gives twice: YAML keeps the last one and says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from pipeline.errors import SettingsError

_MAX_NODES = 100_000


def require_single_keys(paths: Iterable[Path]) -> None:
    """Refuse settings files with a key twice in one group, e.g. a section copied below.

    Args:
        paths: YAML files that were read already; what is no YAML is left to their reader.

    Raises:
        SettingsError: Naming the key and the lines of both; or anchors that multiply.
    """
    for path in paths:
        try:
            tree = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
            continue
        if _expanded(tree, {}) > _MAX_NODES:
            raise SettingsError(
                "settings: anchors (&) and aliases (*) multiply beyond what a study needs",
                where=str(path),
                expected=f"at most {_MAX_NODES} values with all aliases written out",
                action="write the values themselves",
            )
        for key, first, again in _repeated(tree, ""):
            raise SettingsError(
                f"settings: {key} is given twice, and only the second would count",
                where=f"{path}, lines {first} and {again}",
                action="make one of the two",
            )


def _expanded(node: yaml.Node | None, sizes: dict[int, int]) -> int:
    """Number of values below a node with all aliases written out, each node counted once.

    Nine aliases of nine aliases of … grow nine-fold a level, while the file stays small.
    """
    if node is None or id(node) in sizes:
        return sizes.get(id(node), 0)
    sizes[id(node)] = _MAX_NODES + 1  # a node that holds itself has no end
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    sizes[id(node)] = 1 + sum(_expanded(child, sizes) for child in children)
    return sizes[id(node)]


def _repeated(node: yaml.Node | None, above: str) -> Iterator[tuple[str, int, int]]:
    """(Key with those above it, line of the first, line of the second), depth first."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item, above)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for name, value in node.value:
        key, line = str(name.value), name.start_mark.line + 1
        if key in lines:
            yield f"{above}{key}", lines[key], line
        lines.setdefault(key, line)
        yield from _repeated(value, f"{above}{key}.")
