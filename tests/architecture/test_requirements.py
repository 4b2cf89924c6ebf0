"""The requirements name what is imported, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

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
TOOLS = {"pytest", "pytest-xdist", "pytest-timeout", "ruff", "mypy", "types-pyyaml", "snakefmt"}


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
