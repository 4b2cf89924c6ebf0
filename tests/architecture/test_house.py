"""Layout and manners of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.provenance import modules_behind
from pipeline.workflow.dependencies import RULES

ROOT = Path(__file__).resolve().parents[2]
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
DIRECTIVES = ("log:", "benchmark:", "threads:", "resources:", "message:", "conda:")


def tracked() -> list[str]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return found.stdout.splitlines()


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
def test_a_script_is_short_and_calls_a_function_of_its_rules_modules(script: Path) -> None:
    """A rule whose digest covers another module than its script runs would not rerun."""
    text, rule = script.read_text(), RULES[script.stem]
    code = [line for line in text.splitlines() if line and not line.startswith(("from", "import"))]
    assert len(code) <= 20
    imported = {n.module for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)}
    assert {rule.module, *rule.also} <= imported
    passed_in = {"pipeline.training.tabular"} if script.stem == "survival" else set()
    covered = modules_behind(rule.module, *rule.also) | passed_in
    ours = {name for name in imported if name and name.startswith("pipeline.")}
    assert {
        name for name in ours - covered if not name.startswith(("pipeline.console", "pipeline.settings."))
    } == set()


def test_rules_take_paths_from_one_place() -> None:
    assert not [p.name for p in RULE_FILES if re.search(r"[\"']results/", p.read_text())]
    assert len((ROOT / "rules" / "common.smk").read_text().splitlines()) <= 80


def test_files_stay_short() -> None:
    long = {
        path: count
        for path in tracked()
        if path.endswith((".py", ".smk"))
        and not path.startswith("tests/")
        and (count := len((ROOT / path).read_text().splitlines())) > 350
    }
    assert not long


def test_nothing_large_is_tracked() -> None:
    assert not [p for p in tracked() if (ROOT / p).exists() and (ROOT / p).stat().st_size > 500_000]


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
