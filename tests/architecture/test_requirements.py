"""The requirements name what is imported, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).resolve().parents[2]
# Installed apart (see the Makefile; triton with a torch for CUDA), or part of this repository.
APART = {"torch", "torchvision", "triton", "pyradiomics", "pipeline", "benchmarks", "tests"}
# Used without an import: Snakemake and its plugins, decoders of pydicom, writers of torch.
NOT_IMPORTED = {
    "snakemake",
    "snakemake-executor-plugin-cluster-generic",
    "snakemake-executor-plugin-slurm",
    "snakemake-logger-plugin-rich",
    "pylibjpeg",
    "tensorboard",
}
# axe-core-python is read as a file: its script runs in the browser.
TOOLS = {
    "axe-core-python",
    "pytest",
    "pytest-xdist",
    "pytest-timeout",
    "ruff",
    "mypy",
    "types-pyyaml",
    "snakefmt",
}


def listed(name: str) -> set[str]:
    lines = (ROOT / "envs" / name).read_text().splitlines()
    return {re.split(r"[\[=<>]", line)[0].strip().lower() for line in lines if line and line[0] != "#"}


@cache
def distributions() -> dict[str, set[str]]:
    """Top-level module → the distributions that hold it, in lower case."""
    return {k: {d.lower() for d in v} for k, v in metadata.packages_distributions().items()}


def imported(*folders: str) -> set[str]:
    """Top-level modules of other projects that the files of these folders import."""
    modules: set[str] = set()
    own = {path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names) - own


def unlisted(modules: set[str], requirements: set[str]) -> set[str]:
    return {m for m in modules if not distributions().get(m, {m}) & (requirements | APART) and m not in APART}


def test_the_package_imports_what_it_requires() -> None:
    modules = imported("pipeline", "workflow_scripts")
    assert not unlisted(modules, listed("requirements.txt"))
    used = set().union(*(distributions().get(module, set()) for module in modules))
    assert listed("requirements.txt") - used <= NOT_IMPORTED


def test_tests_and_benchmarks_import_what_they_require() -> None:
    modules = imported("tests", "benchmarks")
    assert not unlisted(modules, listed("requirements.txt") | listed("requirements-dev.txt"))
    used = set().union(*(distributions().get(module, set()) for module in modules))
    assert listed("requirements-dev.txt") - used <= TOOLS


def pin_list(lines: Iterable[str]) -> dict[str, str]:
    """Distribution → version of every `name==version` among lines, names as pip compares them."""
    pins = (re.match(r"[\s\"'-]*([A-Za-z0-9_.-]+)(?:\[\w+\])?==([^\s\"',;]+)", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in pins if pin}


def constraints() -> dict[str, str]:
    return pin_list((ROOT / "envs" / "constraints.txt").read_text().splitlines()) | {"torch": "2.13.0"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def places() -> dict[str, dict[str, str]]:
    """File → its pins, of all files that pin versions beside the constraints."""
    extras = project()["optional-dependencies"]
    texts = {
        path: path.read_text().splitlines()
        for path in sorted((ROOT / "envs").rglob("*"))
        if path.is_file() and path.suffix in (".yaml", ".sh", ".txt", "") and path.name != "constraints.txt"
    }
    texts[ROOT / "Makefile"] = re.sub(r"\s", "\n", (ROOT / "Makefile").read_text()).splitlines()
    found = {path.name: pin_list(lines) for path, lines in texts.items()}
    return found | {
        "dependencies": pin_list(project()["dependencies"]),
        **{extra: pin_list(lines) for extra, lines in extras.items()},
    }  # fmt: skip


def test_all_pins_are_in_step() -> None:
    """Makefile, extras of the package, conda environments and the container: the versions of the constraints."""
    pins, found = constraints(), places()
    wrong = {
        f"{place}: {name}=={version}": pins.get(name, "no pin")
        for place, theirs in found.items()
        for name, version in theirs.items()
        if pins.get(name) != version
    }
    assert not wrong
    assert {name for name, theirs in found.items() if theirs} >= {
        "Makefile", "imaging.yaml", "radiomics.yaml", "survival.yaml", "training.yaml", "dependencies", "predict",
        "workflow",
    }  # fmt: skip


def test_a_pin_that_differs_would_be_seen() -> None:
    assert pin_list(['"pylibjpeg[all]==2.1.0",', "      - PyYAML==6.0.3", "torch", "# a==b c"]) == {
        "pylibjpeg": "2.1.0",
        "pyyaml": "6.0.3",
    }


def test_the_extra_workflow_has_all_requirements() -> None:
    """But PyRadiomics, which builds beside an installed numpy only."""
    names = {*pin_list(project()["dependencies"])}
    for extra in ("predict", "workflow"):
        assert all(
            "==" in line or line.startswith("suvival[") for line in project()["optional-dependencies"][extra]
        )
        names |= {*pin_list(project()["optional-dependencies"][extra])}
    assert names == {re.sub(r"[-_.]+", "-", name) for name in listed("requirements.txt")} | {"torch"}


def test_commands_import_what_their_extra_brings() -> None:
    """`draft` needs the dependencies alone, `show` and `predict` the extra `predict`."""
    graph = grimp.build_graph("pipeline", include_external_packages=True, cache_dir=None)
    base = set(pin_list(project()["dependencies"]))
    predict = base | set(pin_list(project()["optional-dependencies"]["predict"])) | {"triton", "pyradiomics"}

    def lacking(modules: Iterable[str], have: set[str]) -> set[str]:
        reached = {name for module in modules for name in graph.find_upstream_modules(module)}
        tops = {name.split(".")[0] for name in reached} - set(sys.stdlib_module_names) - {"pipeline"}
        return {top for top in tops if not distributions().get(top, {top}) & have and top != "triton"}

    assert not lacking(("pipeline.dicom.series.cohort_draft", "pipeline.releases.draft_release"), base)
    assert not lacking(("pipeline.deploy.command",), predict)


def test_a_study_is_checked_with_the_dependencies_alone() -> None:
    """Modules of the extras, which `suvival check` reaches but must not load, are made impossible to import."""
    extras = {name for extra in project()["optional-dependencies"].values() for name in pin_list(extra)}
    blocked = {top for top, names in distributions().items() if {n.replace("_", "-") for n in names} & extras}
    assert {"torch", "scipy", "zarr", "sklearn"} <= blocked
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(blocked)}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
from pipeline.__main__ import main
sys.exit(main(["check", "config/config.yaml"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "errors: 0" in done.stdout, done.stdout + done.stderr
