"""Nothing that a stage runs or reads of the package escapes its code digest.

A digest follows `import` and `from … import` of full names, and `Path(__file__).parent / "constant"`. Any other
way to code or files would be a change that reruns nothing, so that there is no other way.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipeline import provenance
from pipeline.module_facts import read_facts

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))

# Module → why its use of the names is no hole.
OWN_PLACE = {
    "module_facts.py": "its own bytes, which seal the facts that it keeps",
    "provenance.py": "the checkout in which digests look",
    "settings/shipped.py": "finds files of config/, which settings name, so that they are inputs of rules",
}
BY_NAME = {
    "nets/registry.py": "the module of a network's kind, which the table of rules names",
    "nets/boxes.py": "torchvision, an optional library",
    "deploy/manifest_members.py": "kinds of models, which are not to bind a bundle to one version",
}
CHECKOUT = {
    "as_planned.py": "the scripts of rules, which digests cover",
    "__main__.py": "the command: no stage",
    "pictures/pictures.py": "pictures of the documentation: no stage",
    "report/papers_index.py": "the index of the papers: no stage",
    "settings/export.py": "writes the documentation: no stage",
    "tables/cohort.py": "the cohort table, whose values are parameters",
    "workflow/paths.py": "the feature set, an input of rules",
}
DYNAMIC = {
    "__import__", "__loader__", "__path__", "__spec__", "compile", "eval", "exec", "exec_module", "get_data",
    "getfile", "getsourcefile", "import_module", "run_module", "run_path", "spec_from_file_location",
}  # fmt: skip
OF_PYTHON = {"compile", "eval", "exec"}
LIBRARIES = {
    "importlib.resources",
    "importlib_resources",
    "pkg_resources",
    "pkgutil",
    "runpy",
    "zipimport",
    "imp",
}


def holes(source: str) -> set[str]:
    """Ways to code or files, in a module, that no digest follows."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {"relative import" for node in nodes if isinstance(node, ast.ImportFrom) and node.level}
    own = [node for node in nodes if isinstance(node, ast.Name) and node.id == "__file__"]
    if len(own) != len(read_facts(source).places):
        found.add("own place")
    for node in nodes:
        if isinstance(node, ast.Call):
            # network.eval(), torch.compile and re.compile are methods; the functions of these names run text.
            method = isinstance(node.func, ast.Attribute)
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            found |= {"by name"} if called in DYNAMIC - (OF_PYTHON if method else set()) else set()
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            found |= {"by name"} if name.startswith("__") and name in DYNAMIC else set()
            found |= {"checkout"} if ast.unparse(node) == "provenance.ROOT" else set()
    for target in imported(nodes):
        found |= {"by name"} if {target, target.rpartition(".")[0]} & LIBRARIES else set()
        found |= {"checkout"} if target == "pipeline.provenance.ROOT" else set()
    return found


def imported(nodes: list[ast.AST]) -> set[str]:
    """Full names that a module imports."""
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def test_no_module_escapes_its_digest() -> None:
    allowed = {"own place": set(OWN_PLACE), "by name": set(BY_NAME), "checkout": set(CHECKOUT)}
    found: dict[str, set[str]] = {way: set() for way in (*allowed, "relative import")}
    for path in (*MODULES, *SCRIPTS):
        for way in holes(path.read_text(encoding="utf-8")):
            inside = path.is_relative_to(ROOT / "pipeline")
            found[way].add(path.relative_to(ROOT / ("pipeline" if inside else "")).as_posix())
    assert found == {**allowed, "relative import": set()}


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("from . import page", "relative import"),
        ("from .page import TEMPLATES", "relative import"),
        ("STYLE = open(__file__.replace('.py', '.css'))", "own place"),
        ("PAGE = Path(__file__).parent / name", "own place"),
        ("PAGE = Path(__file__).parent.joinpath('page.html')", "own place"),
        ("PAGE = Path(__file__).with_name('page.html')", "own place"),
        ("from importlib import resources", "by name"),
        ("import importlib.resources as files", "by name"),
        ("from importlib.resources import files", "by name"),
        ("module = importlib.import_module(f'pipeline.nets.{kind}')", "by name"),
        ("exec(text)", "by name"),
        ("folder = pipeline.report.__path__[0]", "by name"),
        ("from pipeline.provenance import ROOT", "checkout"),
        ("text = (provenance.ROOT / 'table.csv').read_text()", "checkout"),
    ],
)  # fmt: skip
def test_a_way_around_the_digest_is_seen(source: str, way: str) -> None:
    assert holes(source) == {way}


def test_what_digests_follow_is_no_hole() -> None:
    source = "import re\nfrom pipeline.report import page\nPAGES = Path(__file__).parent / 'a' / 'b'\nre.compile('x')\n"
    assert holes(source) == set()


def test_no_name_is_a_module_and_a_package() -> None:
    """Python would take the package, digests the module."""
    assert not [path for path in MODULES if path.with_suffix("").is_dir()]


def test_the_package_itself_holds_its_version_alone() -> None:
    """Every import runs it, and no digest covers it: a new version is to rerun nothing."""
    text, version = ast.parse((ROOT / "pipeline" / "__init__.py").read_text()).body
    assert isinstance(text, ast.Expr) and isinstance(version, ast.Assign)
    assert ast.unparse(version).startswith("__version__ = '")


def test_code_of_a_package_counts_for_the_modules_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "pipeline" / "room"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text("")
    (room / "a.py").write_text("")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    provenance.forget_code()
    before = provenance.code_digest("pipeline.room.a")
    (room / "__init__.py").write_text("CHANGED = 1\n")
    provenance.forget_code()
    assert provenance.code_digest("pipeline.room.a") != before
    provenance.forget_code()
