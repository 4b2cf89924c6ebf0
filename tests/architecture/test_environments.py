"""Each rule's environment has what its code imports, and the container and conda build by themselves."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

from pipeline.workflow.dependencies import RULES
from tests.architecture.test_requirements import distributions, pin_list

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"
# Reached by an import inside a function that a rule's job does not run, or that has a way of its own without it.
NOT_RUN = {"triton"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", include_external_packages=True, cache_dir=None)


def environment_of_rules() -> dict[str, str]:
    """Rule with a script → the file of its environment."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for match in re.finditer(r"^( *)rule (\w+):\n(.*?)(?=^\1\S|\Z)", path.read_text(), re.M | re.S):
            environment = re.search(r"\.\./envs/(\w+\.yaml)", match.group(3))
            if environment and match.group(2) in RULES:
                found[match.group(2)] = environment.group(1)
    return found


def packages_of(environment: str) -> set[str]:
    """Distributions that an environment pins, with those that its script installs afterwards."""
    script = ENVS / environment.replace(".yaml", ".post-deploy.sh")
    lines = (ENVS / environment).read_text().splitlines()
    lines += re.split(r"\s+", script.read_text()) if script.is_file() else []
    return set(pin_list(lines))


@pytest.mark.parametrize("rule", sorted(environment_of_rules()))
def test_a_rules_environment_has_what_its_code_imports(rule: str) -> None:
    have = packages_of(environment_of_rules()[rule])
    modules = {RULES[rule].module, *RULES[rule].also, "pipeline.console"}
    reached = {name for module in modules for name in graph().find_upstream_modules(module)}
    tops = {name.split(".")[0] for name in reached} - set(sys.stdlib_module_names) - {"pipeline"} - NOT_RUN
    lacking = {
        top for top in tops if not {n.replace("_", "-") for n in distributions().get(top, {top})} & have
    }
    assert not lacking


def test_no_environment_waits_for_somebody_at_a_terminal() -> None:
    """PyRadiomics is built by Snakemake itself after its environment: executable, with the pin of the Makefile."""
    script = ENVS / "radiomics.post-deploy.sh"
    assert os.access(script, os.X_OK) and "pyradiomics==3.0.1" in (ROOT / "Makefile").read_text()
    assert packages_of("radiomics.yaml") >= {
        "pyradiomics",
        "numpy",
        "pywavelets",
        "simpleitk",
        "pykwalify",
        "six",
    }
    assert "c-compiler" in (ENVS / "radiomics.yaml").read_text(), "it compiles one file"


def test_the_container_installs_by_the_makefile_alone() -> None:
    recipe = (ENVS / "Containerfile").read_text()
    assert "RUN make setup" in recipe and "pip install" not in recipe
    assert {"results", "data", ".venv"} <= set((ENVS / "Containerfile.dockerignore").read_text().split())
    assert "-f envs/Containerfile" in (ROOT / "Makefile").read_text().replace("--file", "-f")


def test_one_setting_names_the_image_of_all_rules() -> None:
    code = (ROOT / "rules" / "resources.smk").read_text()
    assert re.search(
        r"^if settings.resources.container:\n\n    container: settings.resources.container\n", code, re.M
    )
    assert not [
        p for p in (ROOT / "rules").glob("*.smk") if "container:" in p.read_text() and p.stem != "resources"
    ]
