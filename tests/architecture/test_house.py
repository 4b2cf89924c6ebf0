"""Layout and manners of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "rules").glob("*.smk"))
DIRECTIVES = ("log:", "benchmark:", "threads:", "resources:", "message:", "conda:")


def tracked() -> list[str]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return found.stdout.splitlines()


def rule_bodies() -> dict[str, str]:
    bodies = {}
    for path in RULES:
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
    assert "code_digest(" in rule_bodies()[name]
    assert "run:" not in rule_bodies()[name]


def test_rules_do_not_read_the_raw_configuration() -> None:
    assert not [p.name for p in RULES if re.search(r"\bconfig\s*[\[.]", p.read_text())]


def test_every_script_has_a_rule_and_is_short() -> None:
    used = "".join(rule_bodies().values())
    for script in sorted((ROOT / "workflow_scripts").glob("*.py")):
        assert f"workflow_scripts/{script.name}" in used
        code = [
            line
            for line in script.read_text().splitlines()
            if line and not line.startswith(("from", "import"))
        ]
        assert len(code) <= 20, script.name


def test_digest_names_the_module_whose_function_the_script_calls() -> None:
    """A rule whose digest covers another module than its script runs would not rerun."""
    for name, body in rule_bodies().items():
        script = re.search(r"workflow_scripts/(\w+\.py)", body)
        digest = re.search(r'code=code_digest\(\s*"([\w.]+)"', body)
        if script is None or digest is None:
            continue
        tree = ast.parse((ROOT / "workflow_scripts" / script.group(1)).read_text())
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert digest.group(1) in imported, f"rule {name}"


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
