"""Layout and manners of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from pipeline.provenance import modules_behind
from pipeline.workflow.dependencies import RULES

ROOT = Path(__file__).resolve().parents[2]
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
PACKAGE = sorted((ROOT / "pipeline").rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
DIRECTIVES = ("log:", "benchmark:", "threads:", "resources:", "message:", "conda:")


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return listing.stdout.splitlines()


def rule_bodies() -> dict[str, str]:
    bodies = {}
    for path in RULE_FILES:
        for match in re.finditer(r"^( *)rule (\w+):\n(.*?)(?=^\1\S|\Z)", path.read_text(), re.M | re.S):
            bodies[f"{path.stem}:{match.group(2)}:{len(bodies)}"] = match.group(3)
    return bodies


def test_top_level_is_as_given() -> None:
    folders = {path.split("/")[0] for path in tracked() if "/" in path}
    assert folders <= {
        "rules", "workflow_scripts", "pipeline", "config", "envs", "tests", "docs", "benchmarks", ".ci",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name, body in rule_bodies().items() if "script:" in body))
def test_rules_have_all_directives(name: str) -> None:
    missing = [d for d in DIRECTIVES if d not in rule_bodies()[name]]
    assert not missing
    assert f'**depends.on("{name.split(":")[1]}")' in rule_bodies()[name]
    assert "run:" not in rule_bodies()[name]


def test_rules_do_not_read_the_raw_configuration() -> None:
    assert not [p.name for p in RULE_FILES if re.search(r"\bconfig\s*[\[.]", p.read_text())]


def test_rule_script_and_module_share_one_name() -> None:
    """Whoever reads a rule knows the file of its function."""
    scripts = {}
    for name, body in rule_bodies().items():
        if script := re.search(r"workflow_scripts/(\w+)\.py", body):
            scripts[name.split(":")[1]] = script.group(1)
    assert scripts == {name: name for name in RULES}
    assert {path.stem for path in SCRIPTS} == set(RULES)
    assert {rule.module.rsplit(".", 1)[1] for rule in RULES.values()} == set(RULES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_calls_one_function_of_its_rules_module(script: Path) -> None:
    """A rule whose digest covers another module than its script runs would not rerun."""
    tree, rule = ast.parse(script.read_text()), RULES[script.stem]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    (job,) = [node for node in tree.body if isinstance(node, ast.With)]
    (call,) = [node.value for node in job.body if isinstance(node, ast.Expr)]
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) in {
        name.name for node in imports if node.module == rule.module for name in node.names
    }
    # A kind of model may bring code of its own, which the table names by kind.
    by_kind = {"pipeline.training.tabular"} if script.stem == "survival" else set()
    covered = modules_behind(rule.module, *rule.also) | by_kind
    other = {str(node.module) for node in imports} - covered - {"pathlib", "pipeline.console"}
    assert not {name for name in other if not name.startswith("pipeline.settings.")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith(("from", "import"))]) <= 20


def test_rules_take_paths_from_one_place() -> None:
    assert not [p.name for p in RULE_FILES if re.search(r"[\"']results/", p.read_text())]
    assert len((ROOT / "rules" / "common.smk").read_text().splitlines()) <= 80


LONGEST, SHORTEST = 320, 60
"""Lines of a file that holds one whole thought."""


def test_files_hold_one_whole_thought() -> None:
    """Neither a page that cannot be surveyed nor scraps that hand one value to and fro; networks excepted."""
    files = [path for path in PACKAGE if path.name != "__init__.py" and path.parent.name != "nets"]
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files}
    assert not {path: count for path, count in lines.items() if count > LONGEST}
    scraps = {str(path): count for path, count in lines.items() if count < SHORTEST}
    assert len(scraps) <= len(lines) / 10, scraps


def test_no_default_stands_in_for_a_missing_setting() -> None:
    """`getattr(settings, name, default)` hides a renamed setting; the base class of models says what each has."""
    places = [*(ROOT / "pipeline" / "report").rglob("*.py"), *(ROOT / "pipeline" / "deploy").rglob("*.py"),
              *(ROOT / "pipeline" / "workflow").glob("*.py"), *RULE_FILES, *SCRIPTS]  # fmt: skip
    assert not [
        path.name for path in places if re.search(r"getattr\([^()]*,[^()]*,[^()]*\)", path.read_text())
    ]


# Room → names that its modules had before they got the field's words.
FORMER_MODULES: dict[str, str] = {
    "console": "environment",
    "dicom": "drawn regions structures pet_clock suv_clock suv_trace nuclide decay body reference draft "
    "volume_shear series_choice suv_checks suv_factor pet_parse header_values",
    "training": "run machine feed board twins narrow pairs allocator memory gather finished transfer features "
    "resolve stratify sanity standardise fold explain explain_picture plan",
    "planning": "twins gather resolve stratify",
    "explain": "sanity explain explain_picture",
    "survival": "machines recipes recipe prepare fitted simple stable networks fit",
    "metrics": "added horizons groups",
    "radiomics": "region regions indices extract gather predicted stability table",
    "registration": "bodies starts align picture",
    "crops": "place position",
    "ensemble": "average",
    "tables": "agreement pins file_tree",
    "report": "words origin audit curves histories build",
    "deploy": "measures stages",
    "settings": "embedded repeated",
    "phantoms": "cohort",
}
FORMER_CLASSES = {
    "Machine", "Bench", "Run", "Feed", "Board", "Moment", "Trace", "Followup", "Scored", "Ranked", "Likeness",
    "Fitted", "Content", "Bend",
}  # fmt: skip
FORMER_RULES = {"problems", "resolve", "generate"}


FORMER_FUNCTIONS = {
    "look",
    "looked_at",
    "take_up",
    "keep",
    "held",
    "exact",
    "twins",
    "tell",
    "told",
    "doubts",
    "refusal",
    "caller_of",
    "graphed",
    "unfit",
    "unite",
    "remaining",
    "pass_on",
    "cut",
    "narrowed",
    "event_folds",
    "bent",
    "speak",
    "spoken",
    "seen",
}


def test_names_are_the_fields_words() -> None:
    """No module, class, function or rule is called by a word that was made at home."""
    modules = {
        str(path.relative_to(ROOT))
        for path in PACKAGE
        if path.stem in FORMER_MODULES.get(path.relative_to(ROOT).parts[1], "").split()
    }
    assert not modules
    assert not FORMER_CLASSES & {name for name, _ in classes()}
    functions = {
        node.name
        for path in PACKAGE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert not FORMER_FUNCTIONS & functions
    assert not FORMER_RULES & {name.split(":")[1] for name in rule_bodies()}


def classes() -> list[tuple[str, Path]]:
    """(name, file) of every class of the package."""
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE}
    return [(n.name, path) for path, tree in trees.items() for n in tree.body if isinstance(n, ast.ClassDef)]


def test_different_things_have_different_names() -> None:
    """Outside of networks, whose settings have their names and whose parts are called alike in every paper."""
    networks = {ROOT / "pipeline" / "nets", ROOT / "pipeline" / "settings" / "networks"}
    counts = Counter(name for name, path in classes() if path.parent not in networks)
    assert not {name for name, count in counts.items() if count > 1}


# The viewer's library, unchanged: its hash and its licence are tested in tests/report/test_patient_pages.py.
VENDORED = {"pipeline/report/assets/niivue.umd.js"}


def test_nothing_large_is_tracked() -> None:
    kept = [ROOT / path for path in tracked() if path not in VENDORED]
    assert not [path for path in kept if path.exists() and path.stat().st_size > 500_000]


def test_no_pickle_from_outside() -> None:
    """`torch.load` only with weights_only=True; no pickle module."""
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "joblib", "dill"} & set(names), path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True", path
