"""A study's file as text: reading it with slips named by line, and the line of each key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import SettingsError

KEY = re.compile(r"\b[a-z_]+(?:\.\w+)+")
"""A dotted key in a message."""


def read_study_file(path: Path) -> dict[str, Any]:
    """Read a study's file.

    Raises:
        SettingsError: The file is absent, no YAML, or no group of keys; a slip is told with its line.
    """
    if not path.is_file():
        raise SettingsError(
            "the study's file does not exist",
            where=str(path),
            expected="a YAML file with the settings of a study",
            got="a folder" if path.is_dir() else "nothing of this name",
            action="correct the path, or copy config/studies/start.yaml there and change it",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(
            "the study's file is not a text in UTF-8", where=f"{path}, byte {error.start + 1}"
        ) from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _slip(error, text, path) from None
    except RecursionError:
        raise SettingsError("the study's file is nested too deeply", where=str(path)) from None
    if not isinstance(values, dict):
        raise SettingsError(
            "the study's file holds no keys",
            where=str(path),
            expected="groups such as `study:` and `cohort:`, their keys below them, moved in by two spaces",
            got=f"{values!r:.60}" if values is not None else "nothing",
            action=_missing_space(text.splitlines()[0] if text else "")
            or "compare it with config/studies/start.yaml",
        )
    return values


def _slip(error: yaml.YAMLError, text: str, path: Path) -> SettingsError:
    """What a person may have meant where the reader of YAML gave up."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    lines = text.splitlines()
    number = min(mark.line, len(lines) - 1) if mark and lines else 0
    # The reader stops at the line after a stray one, or at the end of the group.
    for candidate in (number, number - 1):
        if 0 <= candidate < len(lines) and (advice := _advice(lines[candidate])):
            return SettingsError(
                "the study's file is no YAML",
                where=f"{path}, line {candidate + 1}",
                got=repr(lines[candidate][:80]),
                action=advice,
            )
    got = repr(lines[number][:80]) if lines else "nothing"
    reason = error.problem if isinstance(error, yaml.MarkedYAMLError) and error.problem else str(error)
    return SettingsError(
        f"the study's file is no YAML ({reason})",
        where=f"{path}, line {number + 1}",
        got=got,
        action="check this line and the one above it: brackets, quotes, and how far they are moved in",
    )


def _advice(line: str) -> str:
    """What to do about a line with a common slip; empty where it has none."""
    if "\t" in line[: len(line) - len(line.lstrip())] or line.lstrip(" ").startswith("\t"):
        return "replace the tab by spaces; YAML takes no tabs before a key"
    plain = line.strip()
    if plain and ":" not in plain and not plain.startswith(("-", "#", "[", "]", "{", "}", "'", '"')):
        return "remove this line, or make it `key: value`"
    return _missing_space(line)


def _missing_space(line: str) -> str:
    found = re.match(r"\s*(\w+):(?=[^\s/])", line)
    return f"write a space after the colon: `{found[1]}: …`" if found else ""


class Places:
    """Where each key of a study's files stands.

    Args:
        files: YAML files in the order in which Snakemake merged them; a key of a later one counts.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._lines: dict[tuple[str, ...], str] = {}
        for path in files:
            try:
                tree = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
            except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
                continue
            self._collect(tree, (), path)

    def _collect(self, node: yaml.Node | None, above: tuple[str, ...], path: Path) -> None:
        # Settings are a few levels deep; aliases that hold themselves are refused elsewhere.
        if not isinstance(node, yaml.MappingNode) or len(above) > 6:
            return
        for key, value in node.value:
            keys = (*above, str(key.value))
            self._lines[keys] = f"{path}, line {key.start_mark.line + 1}"
            self._collect(value, keys, path)

    def at(self, keys: Sequence[str]) -> str:
        """File and line of a key, or of the nearest group above it; empty where no file has either."""
        for length in range(len(keys), 0, -1):
            if place := self._lines.get(tuple(keys[:length])):
                return place
        return ""

    def of_text(self, text: str) -> str:
        """File and line of the first dotted key that a message names and that a file has itself."""
        found = (self._lines.get(tuple(name.split("."))) for name in KEY.findall(text))
        return next((place for place in found if place), "")

    def added(self, error: SettingsError) -> SettingsError:
        """The error with file and line of the key that its `where` begins with."""
        if place := self.of_text(error.where):
            error.where = f"{error.where} ({place})"
        return error
