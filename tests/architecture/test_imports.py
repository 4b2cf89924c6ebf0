"""Rooms import only what the house allows; a room that is not declared here fails."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = {"errors", "module_facts", "provenance", "as_planned", "console", "attempts", "spread"}
DATA = BASE | {"settings", "tables"}
IMAGES = DATA | {"volumes"}

# Room → rooms it may import (beside itself), from docs/architecture.md.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "module_facts": set(),
    "provenance": {"module_facts"},
    "attempts": set(),
    "as_planned": {"errors", "module_facts", "provenance"},
    "console": {"errors", "provenance", "as_planned", "attempts"},
    "spread": {"errors", "as_planned", "console"},
    "settings": BASE,
    "tables": BASE | {"settings"},
    "volumes": BASE | {"settings", "tables"},
    "phantoms": IMAGES,
    "releases": DATA,
    "dicom": IMAGES,
    "registration": IMAGES,
    "store": IMAGES,
    "crops": IMAGES | {"store"},
    "radiomics": IMAGES | {"store"},
    "metrics": DATA,
    "nets": BASE | {"settings"},
    "losses": BASE | {"settings"},
    "augment": BASE | {"settings"},
    "survival": DATA | {"metrics"},
    "planning": DATA | {"metrics"},
    "explain": IMAGES | {"nets", "losses", "augment", "metrics", "store", "training"},
    "training": IMAGES | {"nets", "losses", "augment", "metrics", "store"},
    "ensemble": DATA | {"metrics"},
    "report": IMAGES | {"metrics", "store"},
    "workflow": DATA | {"planning"},
    "pictures": IMAGES | {"workflow", "planning", "dicom", "store"},
    "check": IMAGES | {"workflow", "planning", "dicom", "crops", "radiomics"},
    "deploy": IMAGES
    | {
        "dicom",
        "registration",
        "crops",
        "store",
        "radiomics",
        "metrics",
        "nets",
        "losses",
        "training",
        "ensemble",
        "planning",
        "report",
    },
}

# The command reaches every room, each when it is asked for.
ALLOWED["__main__"] = set(ALLOWED)

# Room → its own rooms in a row; each may import those before it. Nothing lies beside them.
ROWS: dict[str, tuple[str, ...]] = {"dicom": ("header", "series", "volume", "pet", "contours")}

# Packages that must not be reached from a room, at any depth.
FORBIDDEN_EXTERNAL: dict[str, set[str]] = {
    **{
        room: {"torch", "monai", "sksurv", "lifelines"}
        for room in (
            "settings",
            "tables",
            "volumes",
            "phantoms",
            "releases",
            "dicom",
            "registration",
            "store",
            "crops",
            "radiomics",
        )
    },
    **{
        room: {"ants", "radiomics", "SimpleITK", "pydicom", "snakemake"}
        for room in ("nets", "losses", "augment", "training", "explain")
    },
    "metrics": {"torch"},
    "planning": {"torch"},
    "check": {"torch", "ants", "radiomics", "zarr"},
    "workflow": {"torch", "ants", "radiomics", "pydicom", "zarr"},
    "ensemble": {"torch"},
    "report": {"torch", "sksurv", "lifelines", "sklearn", "ants", "radiomics"},
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", include_external_packages=True, cache_dir=None)


def room_of(module: str) -> str:
    return module.split(".")[1]


def modules_of(room: str) -> list[str]:
    name = f"pipeline.{room}"
    return sorted({name, *graph().find_descendants(name)})


def test_every_room_is_declared() -> None:
    found = {room_of(m) for m in graph().modules if m.startswith("pipeline.")}
    assert found == set(ALLOWED)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_room_imports_only_what_it_may(room: str) -> None:
    wrong = [
        f"{module} imports {target}"
        for module in modules_of(room)
        for target in graph().find_modules_directly_imported_by(module)
        if target.startswith("pipeline.") and room_of(target) not in ALLOWED[room] | {room}
    ]
    assert not wrong


def against_the_row(module: str, target: str) -> bool:
    """Whether one module of a row imports a place that stands behind its own, or is not in the row."""
    room, place = module.split(".")[1:3]
    if not target.startswith(f"pipeline.{room}."):
        return False
    behind = target.split(".")[2]
    row = ROWS[room]
    return behind not in row[: row.index(place) + 1]


@pytest.mark.parametrize("room", sorted(ROWS))
def test_every_place_of_a_row_is_declared(room: str) -> None:
    places = {child.split(".")[2] for child in graph().find_children(f"pipeline.{room}")}
    assert places == set(ROWS[room])


@pytest.mark.parametrize("room", sorted(ROWS))
def test_a_place_in_a_row_imports_only_those_before_it(room: str) -> None:
    wrong = [
        f"{module} imports {target}"
        for module in modules_of(room)
        if module != f"pipeline.{room}"
        for target in graph().find_modules_directly_imported_by(module)
        if against_the_row(module, target)
    ]
    assert not wrong


def test_an_import_against_the_row_is_seen() -> None:
    assert against_the_row("pipeline.dicom.header.values", "pipeline.dicom.pet.factor")
    assert against_the_row("pipeline.dicom.pet.suv", "pipeline.dicom.contours")
    assert against_the_row("pipeline.dicom.pet.suv", "pipeline.dicom.new_place.suv")
    assert not against_the_row("pipeline.dicom.pet.suv", "pipeline.dicom.pet.factor")
    assert not against_the_row("pipeline.dicom.pet.suv", "pipeline.dicom.header.values")
    assert not against_the_row("pipeline.dicom.pet.suv", "pipeline.volumes.volume")


@pytest.mark.parametrize("room", sorted(FORBIDDEN_EXTERNAL))
def test_room_reaches_no_forbidden_package(room: str) -> None:
    wrong = [
        f"{module} imports {target}"
        for module in modules_of(room)
        for target in graph().find_modules_directly_imported_by(module)
        if target.split(".")[0] in FORBIDDEN_EXTERNAL[room]
    ]
    assert not wrong


def test_nothing_imports_snakemake() -> None:
    assert "snakemake" not in graph().modules


# The report and the bundle follow every stage, so a change of any section makes them again in any case; the index of
# the papers reads every study for the docs and is part of no rule.
WHOLE_STUDY = {
    "pipeline.report.job",
    "pipeline.report.papers_index",
    "pipeline.report.methods",
    "pipeline.report.references",
    "pipeline.deploy.bundle",
    "pipeline.deploy.validation_settings",
}


def test_rooms_take_settings_by_section() -> None:
    """Importing all settings would make every stage rerun when any section's code changes."""
    wrong = [
        module
        for module in graph().modules
        if module.startswith("pipeline.")
        and room_of(module) not in ("settings", "workflow", "check")
        and module not in WHOLE_STUDY
        and "pipeline.settings.root" in graph().find_modules_directly_imported_by(module)
    ]
    assert not wrong
    used = graph().find_downstream_modules("pipeline.settings.root")
    assert "pipeline.deploy.predict" not in used, "a bundle's digest would depend on all settings"


@pytest.mark.parametrize("room", ["report", "deploy"])
def test_report_and_bundle_read_settings_by_attribute(room: str) -> None:
    """Settings are typed values: no section and no model is looked up by the name of a key."""
    look_up = re.compile(r"(settings|sections|section|model|network|training)(\[|\.get\(|\()[\"']")
    files = sorted((ROOT / "pipeline" / room).glob("*.py"))
    assert files
    wrong = [
        f"{path.name}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if look_up.search(line)
    ]
    assert not wrong
