"""A key given twice is told, with both lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.errors import SettingsError
from pipeline.settings.messages import _PATTERNS, require_single_keys
from pipeline.settings.radiomics import FeatureSet
from pipeline.settings.root import Settings, load_settings

ROOT = Path(__file__).parents[2]
STUDY = "training:\n  iterations: 5000\n  batch: 4\nmodels:\n  net: {kind: deepmts}\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("training:\n  batch: 2\n", "training is given twice.*lines 1 and 6"),
        ("  net: {kind: vgg}\n", "models.net is given twice.*lines 5 and 6"),
        ("evaluation: {bootstraps: 100, bootstraps: 200}\n", "evaluation.bootstraps is given twice"),
        ("plan:\n  folds: 2\n  folds: 3\n", "plan.folds is given twice"),
    ],
)
def test_a_key_given_twice_is_refused(tmp_path: Path, more: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY + more)
    with pytest.raises(SettingsError, match=message):
        require_single_keys([path])


def test_anchors_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(levels) + "\n")
    with pytest.raises(SettingsError, match="anchors.*multiply"):
        require_single_keys([path])
    path.write_text("a: &a [1, *a]\n")
    with pytest.raises(SettingsError, match="anchors.*multiply"):
        require_single_keys([path])


def test_plain_anchors_pass(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("models:\n  one: &one {kind: vgg}\n  two: *one\n")
    require_single_keys([path])


def test_equal_keys_of_different_groups_and_files_of_the_house_pass(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY + "  other: {kind: deepmts}\n")
    require_single_keys([path, tmp_path / "absent.yaml", *sorted((ROOT / "config").rglob("*.yaml"))])


def patterns(schema: object) -> set[str]:
    """All regular expressions of a JSON schema."""
    if isinstance(schema, dict):
        own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
        return own.union(*map(patterns, schema.values()))
    return set().union(*map(patterns, schema)) if isinstance(schema, list) else set()


def test_every_pattern_of_the_settings_has_words() -> None:
    """No message shows a regular expression to somebody who never saw one."""
    known = patterns(Settings.model_json_schema()) | patterns(FeatureSet.model_json_schema())
    assert len(known) > 4 and known <= set(_PATTERNS)


def test_a_pattern_is_said_in_words_with_the_place_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("study:\n  name: My Study\ncohort: {table: a.csv}\nmodels: {net: {kind: deepmts}}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(yaml.safe_load(path.read_text()), [path])
    assert str(caught.value) == (
        "settings: study.name must be 2 to 40 lower-case letters, digits, - and _, beginning with a letter, got "
        f"'My Study' ({path}, line 2)."
    )


def test_the_nearest_group_is_the_place_of_a_key_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("study: {name: mine}\ncohort:\n  source: dicom\nmodels: {net: {kind: deepmts}}\n")
    with pytest.raises(SettingsError, match=r"cohort.table is missing: .* \(.*mine.yaml, line 2\)"):
        load_settings(yaml.safe_load(path.read_text()), [path])
