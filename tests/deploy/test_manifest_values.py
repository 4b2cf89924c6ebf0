"""A manifest that was sealed again is refused for each value that no study can have produced."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.deploy.bundle_files import read_bundle
from pipeline.deploy.command import model_card
from pipeline.deploy.manifest import IDENTITY, MANIFEST, BundleError
from tests.deploy.synthetic_bundle import write_bundle_folder

LINEAR = "members.linear.folds.0"
NETWORK = "members.network.folds.0"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle_folder(tmp_path / "bundle")


def seal(bundle: Path, text: str) -> None:
    """Write a manifest and the identity that belongs to it, as someone who means harm would."""
    content = text.encode("utf-8", errors="surrogatepass")
    (bundle / MANIFEST).write_bytes(content)
    (bundle / IDENTITY).write_text(hashlib.sha256(content).hexdigest() + "\n")


def group_of(content: Any, place: str) -> tuple[Any, Any]:
    """The group that holds the value at a place like `a.0.b`, and its key there."""
    *path, last = place.split(".")
    for key in path:
        content = content[int(key) if isinstance(content, list) else key]
    return content, int(last) if isinstance(content, list) else last


WRONG: list[tuple[str, Any, str]] = [
    ("format", 4, "format"),
    ("format", 6, "format"),
    ("format", "5", "format"),
    ("format", True, "format"),
    ("surprise", 1, "surprise"),
    ("model", "", "model"),
    ("source", "phantom", "source"),
    ("threshold", -1, "threshold"),
    ("threshold", 0, "threshold"),
    ("threshold", 1, "threshold"),
    ("threshold", "0.5", "threshold is of another type"),
    ("threshold", float("nan"), "NaN"),
    ("threshold", float("inf"), "Infinity"),
    ("shape", [16, 24, -32], "shape"),
    ("shape", [16, 24], "shape"),
    ("shape", [32, 24, 16], "shape and spacing_mm must be those of stages.crop"),
    ("spacing_mm", [2.0, 0.0, 2.0], "spacing_mm"),
    ("channels", [], "channels"),
    ("channels", ["pet", "mr"], "channels"),
    ("channels", ["pet", "pet"], "channels"),
    ("channels", ["ct", "pet"], "channels, shape and spacing_mm of the crop"),
    ("horizons_days", [1000.0, 365.25], "horizons_days must rise"),
    ("horizons_days", [365.25, 365.25], "horizons_days must rise"),
    ("horizons_days", [-1.0], "horizons_days"),
    ("risk_cuts", [1.0, 0.5], "risk_cuts must rise"),
    ("risk_cuts", [0.5, 0.5], "risk_cuts must rise"),
    ("risk_cuts", [], "risk_cuts and risk_percentiles"),
    ("clinical", ["clinical_age"], "clinical must be the columns"),
    ("clinical", ["clinical_age", "clinical_stage", "clinical_age"], "clinical"),
    ("members", {}, "members"),
    ("members.linear.folds", [], "folds"),
    ("members.linear.type", "forest", "members.linear"),
    ("members.linear.kind", "rsf", "kind 'rsf' is not a linear model"),
    ("members.linear.kind", "../etc", "kind '../etc' is not a linear model"),
    ("members.network.kind", "cox", "kind 'cox' is not a network"),
    ("members.network.kind", "hecktor", "must be those of kind 'hecktor'"),
    (f"{LINEAR}.scale.sd", -5.0, "scale.sd"),
    (f"{LINEAR}.scale.mean", None, "scale.mean"),
    (f"{LINEAR}.features.0.sd", 0.0, "features.0.sd"),
    (f"{LINEAR}.features.0.sd", -2.0, "features.0.sd"),
    (f"{LINEAR}.features", [], "coefficients must be those of features"),
    (f"{LINEAR}.coefficients", {}, "coefficients must be those of features"),
    (f"{LINEAR}.coefficients.other", 1.0, "differing: \\['other'\\]"),
    (f"{LINEAR}.clinical.numbers.clinical_age", [60.0, 61.0, -1.0], "SD of a clinical column"),
    (f"{LINEAR}.clinical.numbers.clinical_age", [60.0, 61.0], "clinical_age"),
    (f"{LINEAR}.clinical.order", ["clinical_age"], "order must name"),
    (f"{LINEAR}.clinical.levels.clinical_stage", ["IV", "III"], "must be sorted"),
    (f"{LINEAR}.hazard.times_days", [300.0, 100.0], "times_days must rise"),
    (f"{LINEAR}.hazard.times_days", [100.0, 100.0], "times_days must rise"),
    (f"{LINEAR}.hazard.times_days", [100.0], "same number of values"),
    (f"{LINEAR}.hazard.cumulative_hazard", [0.4, 0.1], "cumulative_hazard must not fall"),
    (f"{LINEAR}.hazard.cumulative_hazard", [-0.1, 0.4], "cumulative_hazard"),
    (f"{LINEAR}.hazard.last_days", 200.0, "last_days must not be before"),
    (f"{LINEAR}.hazard.slope", -1.0, "slope"),
    (f"{NETWORK}.weights", "../../secret", "files must name ../../secret"),
    (f"{NETWORK}.weights", "weights/net_fold1.safetensors", "must not share a file"),
    (f"{NETWORK}.scale", None, "either every fold has a Z-score or none|needs a Z-score"),
    (f"{NETWORK}.precision", "fp8", "precision"),
    (f"{NETWORK}.description.shape", [16, 24, 64], "channels, shape and spacing_mm of the crop"),
    (f"{NETWORK}.description.margin", -1, "margin"),
    (f"{NETWORK}.description.network.kind", "hecktor", "must be those of kind 'deepmts'"),
    (f"{NETWORK}.description.network.width", -1.0, "settings of the network, width"),
    ("cohort.patients", 0, "cohort.patients"),
    ("cohort.events", 41, "events must not be more than patients"),
    ("cohort.risk_percentiles", [0.0] * 20, "must be 21 values"),
    ("cohort.risk_percentiles", [float(-i) for i in range(21)], "risk_percentiles must not fall"),
    ("cohort.covariates.suvmax.low", 21.0, "high must not be below low"),
    ("cohort.covariates.suvmax.patients", 41, "covariate must not have more patients"),
    ("cohort.levels.clinical_stage", ["IV", "II"], "must be sorted"),
    ("cohort.levels", {}, "a number or a text with levels"),
    ("software.code", "abc", "software.code"),
    ("study.time_unit", "weeks", "study.time_unit"),
    ("files", {}, "files must name"),
    ("files./etc/passwd", {"size": 0, "sha256": "0" * 64}, "lead nowhere out"),
    ("files.a\\b", {"size": 0, "sha256": "0" * 64}, "lead nowhere out"),
    ("files.weights/../x", {"size": 0, "sha256": "0" * 64}, "lead nowhere out"),
    ("files.ID", {"size": 0, "sha256": "0" * 64}, "ID must not be among the files"),
    ("files.other", {"size": 0, "sha256": "0" * 63}, "sha256"),
    ("files.other", {"size": -1, "sha256": "0" * 64}, "size"),
    ("files.other", {"size": 0, "sha256": "0" * 64}, "missing or was changed"),
    ("stages.crop.shape", [1, 1, 1], "shape and spacing_mm must be those of stages.crop"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_sealed_nonsense_is_refused(bundle: Path, place: str, value: Any, message: str) -> None:
    content = json.loads((bundle / MANIFEST).read_text())
    # Names of files hold dots of their own.
    place, name = ("files", place.removeprefix("files.")) if place.startswith("files.") else (place, "")
    group, key = group_of(content, place)
    (group[key] if name else group)[name or key] = value
    seal(bundle, json.dumps(content))
    with pytest.raises(BundleError, match=message) as refused:
        read_bundle(bundle)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('"threshold":0.5', '"threshold":1e999'), "too large for a number"),
        (lambda text: text.replace('"threshold":', '"threshold":0.5,"threshold":'), "stands twice"),
        (lambda text: "[" * 100_000 + text, "RecursionError|maximum recursion|Expecting|not one that"),
        (lambda text: "", "not one that this software reads"),
        (lambda text: "null", "not one that this software reads"),
        (lambda text: text.replace("linear", "\ud800"), "not one that this software reads"),
        (lambda text: text.replace('"threshold":0.5', '"threshold":' + "9" * 5000), "not one that"),
    ],
)  # fmt: skip
def test_a_sealed_text_that_is_no_manifest_is_refused(
    bundle: Path, spoil: Callable[[str], str], message: str
) -> None:
    text = json.dumps(json.loads((bundle / MANIFEST).read_text()), separators=(",", ":"))
    assert spoil(text) != text
    seal(bundle, spoil(text))
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)


def test_a_manifest_that_is_only_laid_out_anew_is_read(bundle: Path) -> None:
    before = read_bundle(bundle)
    seal(bundle, json.dumps(json.loads((bundle / MANIFEST).read_text()), indent=4))
    after = read_bundle(bundle)
    assert after.manifest == before.manifest and after.identity != before.identity


NONSENSE = (
    None, True, -1, 0, 0.5, 10**30, 1e308, "", "x", "../x", "1.0", [], [1], {}, {"a": 1}, float("nan"), [[]],
)  # fmt: skip


def groups_of(content: Any) -> Iterator[Any]:
    """Every group and list of a manifest."""
    if isinstance(content, dict | list):
        yield content
        for value in content.values() if isinstance(content, dict) else content:
            yield from groups_of(value)


def mutated(text: str, rng: random.Random) -> str:
    """A manifest with one value replaced, removed, doubled or renamed."""
    content = json.loads(text)
    group = rng.choice([group for group in groups_of(content) if group])
    key = rng.choice(list(group)) if isinstance(group, dict) else rng.randrange(len(group))
    change = rng.choice(("replace", "replace", "remove", "double", "negate"))
    value = group[key]
    if change == "remove":
        del group[key]
    elif change == "double":
        group[f"{key}_" if isinstance(group, dict) else slice(key, key)] = (
            value if isinstance(group, dict) else [value]
        )
    elif change == "negate" and isinstance(value, int | float):
        group[key] = -value
    else:
        group[key] = rng.choice(NONSENSE)
    return json.dumps(content)


def damaged(text: str, rng: random.Random) -> bytes:
    """A manifest with one byte changed, removed or doubled, or cut."""
    content = bytearray(text.encode())
    place = rng.randrange(len(content))
    change = rng.choice(("change", "remove", "double", "cut"))
    if change == "change":
        content[place] ^= 1 << rng.randrange(8)
    elif change == "remove":
        del content[place]
    elif change == "double":
        content.insert(place, content[place])
    else:
        del content[place:]
    return bytes(content)


def refused_in_one_line(bundle: Path) -> bool:
    """Whether a bundle is refused; what is accepted can be described. Any other error fails the test."""
    try:
        model_card(read_bundle(bundle))
    except BundleError as error:
        assert len(str(error).splitlines()) == 1 and "Traceback" not in str(error)
        return True
    return False


MANY = pytest.mark.nightly
PARTS = [pytest.param(0, 100, id="fast"), pytest.param(1, 900, id="nightly", marks=MANY)]


@pytest.mark.parametrize(("seed", "count"), PARTS)
def test_every_changed_manifest_is_refused(bundle: Path, seed: int, count: int) -> None:
    text, rng = (bundle / MANIFEST).read_text(), random.Random(seed)
    for number in range(count):
        content = mutated(text, rng).encode() if number % 2 else damaged(text, rng)
        if content == text.encode():
            continue  # a doubled byte of equal neighbours is none
        (bundle / MANIFEST).write_bytes(content)
        assert refused_in_one_line(bundle), content


@pytest.mark.parametrize(("seed", "count"), PARTS)
def test_every_sealed_mutation_is_refused_or_read(bundle: Path, seed: int, count: int) -> None:
    """Another legal value (a study's title, a coefficient) cannot be told from the study's own; nothing else passes."""
    text, rng = (bundle / MANIFEST).read_text(), random.Random(seed)
    refused = 0
    for _ in range(count):
        seal(bundle, mutated(text, rng))
        refused += refused_in_one_line(bundle)
    assert refused > 0.6 * count


@pytest.mark.parametrize(("seed", "count"), PARTS)
def test_every_changed_byte_of_a_bundle_is_found(bundle: Path, seed: int, count: int) -> None:
    rng = random.Random(seed)
    names = sorted(
        p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file() and p.stat().st_size
    )
    for _ in range(count):
        path = bundle / rng.choice(names)
        content = path.read_bytes()
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=re.escape(path.name)):
            read_bundle(bundle)
        path.write_bytes(content)
