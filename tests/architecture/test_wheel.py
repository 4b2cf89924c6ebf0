"""The wheel holds the whole package: every module, and every file that its commands read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.settings.shipped import shipped

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the checkout, by the backend alone, which loads nothing from anywhere."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, source / name)
    for name in ("pipeline", "config"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    call = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", call, str(folder)], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))) as wheel:
        return set(wheel.namelist())


def test_every_file_of_the_package_is_in_the_wheel(names: set[str]) -> None:
    # What Python and the digest of code keep for the next start is no part of the package.
    files = [p for p in (ROOT / "pipeline").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert len(files) > 400
    assert not {path.relative_to(ROOT).as_posix() for path in files} - names


def test_feature_sets_and_studies_are_in_the_wheel_where_they_are_looked_for(names: set[str]) -> None:
    for folder in ("radiomics", "studies"):
        looked_for = shipped(folder, Path("pipeline")).as_posix()
        wanted = {path.name for path in (ROOT / "config" / folder).glob("*.yaml")}
        assert wanted
        # From the checkout's root the folder beside the package is found first.
        assert looked_for == f"config/{folder}"
        inside = shipped(folder, Path("elsewhere/pipeline")).relative_to("elsewhere").as_posix()
        assert wanted == {
            name.rsplit("/", 1)[1] for name in names if name.startswith(f"{inside}/") and name.count("/") == 3
        }


def test_the_wheel_brings_the_command_and_nothing_of_the_tests(names: set[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"pipeline"}
