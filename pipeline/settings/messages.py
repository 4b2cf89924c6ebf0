"""What is wrong with a study's file, in words of the file: wrong, missing, renamed and repeated keys."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.settings.base import Section
from pipeline.settings.study_file import Places

_WORDS = {
    "tuple_type": "must be a list, e.g. [a, b]",
    "dict_type": "must be a group of keys",
    "model_type": "must be a group of keys",
    "model_attributes_type": "must be a group of keys",
    "union_tag_not_found": "lacks the key 'kind', which says what model this is",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
    "string_type": "must be text (put it in quotes)",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
}
_PATTERNS = {
    r"^[a-z][a-z0-9_-]{1,39}$": "2 to 40 lower-case letters, digits, - and _, beginning with a letter",
    r"^([a-z][a-z0-9_]*)?$": "lower-case letters, digits and _, beginning with a letter, or nothing",
    r"^([a-z][A-Za-z0-9_]*=.+)?$": "a column and its level, such as label_cancer=lung, or nothing",
    r"^(auto|risk|label|mask|(label|mask)_[A-Za-z0-9_]+)$": "auto, risk, label, mask, or one label or class by its "
    "name: label_… or mask_…",
    r"^label_\w+$": "the name of a column beginning label_",
    r"^(local|(tcp|tls|ws|wss|ucx|inproc)://\S+)$": "local, or the address of a dask scheduler such as tcp://host:8786",
    r"^[<>]? ?0?\.\d+$": "a p-value as printed, such as 0.016 or < 0.05",
    r"^[A-Za-z0-9.]*$": "letters, digits and full stops",
}
"""What texts of a pattern are, in words."""

RENAMED_KEYS = {
    "contours.draw": "contours.auto_segment",
    "contours.draw_within": "contours.auto_segment_within",
    "contours.ring_mm": "contours.shell_mm",
    "plan.inner_fraction": "plan.validation_fraction",
    "training.accumulate": "training.gradient_accumulation",
    "training.risk_memory": "training.risk_bank_size",
    "training.select": "training.checkpoint_selection",
    "training.start_from": "training.pretrained_from",
    "evaluation.added_value_over": "evaluation.reference_model",
}
"""Key of earlier versions → its name today."""
RENAMED_VALUES = {
    ("crop.position", "uptake"): "brain_anchored",
    ("training.checkpoint_selection", "best_inner"): "best_validation",
    ("training.checkpoint_selection", "best_heldout"): "best_test",
    ("models.*.select_on", "inner"): "validation",
}
"""Key (`*`: any model, any entry of a list) and its value in earlier versions → the value's name today."""


MAX_NODES = 100_000


def explain(
    error: ValidationError, model: type[Section], section: str = "", places: Places | None = None
) -> str:
    """Every problem of a validation in one readable line each.

    Args:
        error: What pydantic found.
        model: The class that was validated.
        section: Name of the section where `model` is not the whole of a study.
        places: Where the study's keys stand; each line ends with the place of its key.
    """
    lines = []
    for item in error.errors():
        line, keys = _line(item, model, section), _as_written(item["loc"])
        place = "" if places is None else places.at(keys) if keys else places.of_text(line)
        lines.append(f"{line} ({place})" if place else line)
    return "\n".join(lines)


def _line(item: Any, model: type[Section], section: str) -> str:
    kind, location = item["type"], item["loc"]
    where = ".".join(_as_written(location))
    whole = f"{section}.{where}" if section else where
    if kind == "extra_forbidden" and whole in RENAMED_KEYS:
        return f"settings: {whole} is now {RENAMED_KEYS[whole]}; rename it"
    if kind == "literal_error" and (new := RENAMED_VALUES.get((_any_entry(whole), str(item["input"])))):
        return f"settings: {whole}: {item['input']} is now {whole}: {new}; rename it"
    if kind == "extra_forbidden":
        return f"settings: unknown key {where!r}" + _nearest(model, location)
    if kind == "union_tag_invalid":
        return _unknown_kind(where, item["ctx"])
    if kind == "missing":
        return f"settings: {where} is missing" + _described(model, location)
    got = "" if isinstance(item["input"], dict) else f", got {item['input']!r}"
    if kind == "string_pattern_mismatch":
        return f"settings: {where} must be {_PATTERNS[item['ctx']['pattern']]}{got}"
    if kind in ("model_type", "dict_type", "model_attributes_type") and ":" in str(item["input"]):
        got += "; write a space after the colon"
    said = item["msg"].removeprefix("Value error, ")
    text = _WORDS.get(kind, said.replace("Input should be", "must be", 1))
    joint = " " if text.startswith("must be ") or kind in _WORDS else ": "
    # Pydantic's text of these speaks of Python's types, and its last clause of what is got.
    return f"settings: {where}{joint}{text}{got}" if where else f"settings: {text}{got}"


def not_finite(values: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Keys whose value is infinite or not a number, which no setting may be (`.inf` and `.nan` in YAML)."""
    if isinstance(values, float) and not math.isfinite(values):
        yield above
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from not_finite(value, (*above, str(key)))
    elif isinstance(values, list):
        for value in values:
            yield from not_finite(value, above)


def _as_written(location: tuple[int | str, ...]) -> list[str]:
    """Keys as the file has them: without the tag that pydantic puts after a model's name."""
    parts = [str(part) for part in location]
    if len(parts) > 2 and parts[0] == "models":
        del parts[2]
    return parts


def _any_entry(key: str) -> str:
    """A dotted key with `*` for a model's name and for positions in lists."""
    parts = ["*" if part.isdigit() else part for part in key.split(".")]
    return ".".join([*parts[:1], "*", *parts[2:]] if parts[0] == "models" else parts)


def _unknown_kind(where: str, context: Any) -> str:
    kinds = [tag.strip().strip("'") for tag in str(context["expected_tags"]).split(",")]
    return f"settings: {where}: unknown kind {context['tag']!r}" + _hint(str(context["tag"]), kinds)


def _nearest(model: type[Section], location: tuple[int | str, ...]) -> str:
    """The key that was meant: one written like it, else the same key of another group, else all keys."""
    group, name = location[:-1], str(location[-1])
    known = _keys_at(model, group)
    if not difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        for above in (group, ()):
            for other in _keys_at(model, above):
                if name in _keys_at(model, (*above, other)):
                    return f"; did you mean {'.'.join(_as_written((*above, other, name)))!r}?"
    return _hint(name, known)


def _hint(name: str, valid: Iterable[str]) -> str:
    known = list(valid)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid here: {', '.join(known)}" if known else ""


def _keys_at(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    return list(_properties_at(model, location))


def _described(model: type[Section], location: tuple[int | str, ...]) -> str:
    """What a missing key means."""
    prop = _properties_at(model, location[:-1]).get(str(location[-1]), {})
    return f": {prop['description']}" if "description" in prop else ""


@functools.cache
def _schema(model: type[Section]) -> dict[str, Any]:
    return model.model_json_schema()


def _properties_at(model: type[Section], location: tuple[int | str, ...]) -> dict[str, Any]:
    """JSON schema of each key that a group of keys may have."""
    current: Any = _schema(model)
    definitions = current.get("$defs", {})
    for part in location:
        if not isinstance(current, dict):
            return {}
        options = current.get("properties", {})
        if part in options:
            current = _resolve(options[str(part)], definitions, None)
        elif "additionalProperties" in current:
            current = current["additionalProperties"]
        else:  # the tag of a discriminated union, or an index
            current = _resolve(current, definitions, str(part))
    return dict(current.get("properties", {})) if isinstance(current, dict) else {}


def _resolve(schema: Any, definitions: Any, tag: str | None) -> Any:
    if tag is not None and "discriminator" in schema:
        schema = {"$ref": schema["discriminator"]["mapping"].get(tag, "")}
    for key in ("allOf", "anyOf"):
        if key in schema:
            schema = schema[key][0]
    if "$ref" in schema:
        return definitions.get(schema["$ref"].rsplit("/", 1)[-1], {})
    return schema


def require_single_keys(paths: Iterable[Path]) -> None:
    """Refuse settings files with a key twice in one group, of which YAML keeps the last one in silence.

    Args:
        paths: YAML files that were read already; whether they are YAML is for their reader to say.

    Raises:
        SettingsError: Naming the key and the lines of both.
    """
    for path in paths:
        try:
            tree = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
            continue
        if _expanded(tree, {}) > MAX_NODES:
            raise SettingsError(
                "settings: anchors (&) and aliases (*) multiply beyond what a study needs",
                where=str(path),
                expected=f"at most {MAX_NODES} values with all aliases written out",
                action="write the values themselves",
            )
        for key, first, again in _repeated_keys(tree, ""):
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
    sizes[id(node)] = MAX_NODES + 1  # a node that holds itself has no end
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    sizes[id(node)] = 1 + sum(_expanded(child, sizes) for child in children)
    return sizes[id(node)]


def _repeated_keys(node: yaml.Node | None, above: str) -> Iterator[tuple[str, int, int]]:
    """(Key with those above it, line of the first, line of the second), depth first."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, above)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for name, value in node.value:
        key, line = str(name.value), name.start_mark.line + 1
        if key in lines:
            yield f"{above}{key}", lines[key], line
        lines.setdefault(key, line)
        yield from _repeated_keys(value, f"{above}{key}.")
