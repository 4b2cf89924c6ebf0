"""Code digests: what changes them and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import provenance

A = '''"""Module text."""
from pipeline.room.b import helper


def work(x):
    """Docstring."""
    return helper(x) + 1  # a comment
'''
B = "def helper(x):\n    return x\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    room = tmp_path / "pipeline" / "room"
    room.mkdir(parents=True)
    for folder in (room.parent, room):
        (folder / "__init__.py").write_text("")
    (room / "a.py").write_text(A)
    (room / "b.py").write_text(B)
    (room / "c.py").write_text("import math\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return room


def digest() -> str:
    provenance.forget_code()
    return provenance.code_digest("pipeline.room.a")


@pytest.fixture(autouse=True)
def clean_caches():
    yield
    provenance.forget_code()


def test_comments_docstrings_and_layout_change_nothing(package: Path) -> None:
    before = digest()
    (package / "a.py").write_text(
        A.replace("a comment", "another").replace("Docstring.", "New text.").replace("\n\n\n", "\n\n\n\n")
    )
    assert digest() == before


def test_a_changed_sentence_on_a_setting_trains_nothing(package: Path) -> None:
    setting = 'class Section:\n    trees: int = Field({}, ge=1, description="{}")\n    """{}"""\n'
    digests = []
    for values in (
        (200, "Trees.", "Of wood."),
        (200, "Number of trees.", "Trees of a forest."),
        (100, "Trees.", ""),
    ):
        (package / "b.py").write_text(B + setting.format(*values))
        digests.append(digest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("file", "old", "new"), [("a.py", "+ 1", "+ 2"), ("b.py", "return x", "return -x")])
def test_code_of_the_module_and_its_imports_counts(package: Path, file: str, old: str, new: str) -> None:
    before = digest()
    text = (package / file).read_text()
    (package / file).write_text(text.replace(old, new))
    assert digest() != before


def test_unrelated_modules_do_not_count(package: Path) -> None:
    before = digest()
    (package / "c.py").write_text("import cmath\n")
    assert digest() == before


def test_lazy_imports_count(package: Path) -> None:
    (package / "a.py").write_text("def work(x):\n    from pipeline.room import c\n    return c\n")
    before = digest()
    (package / "c.py").write_text("import cmath\n")
    assert digest() != before


def test_unknown_module_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pipeline\.room\.z"):
        provenance.code_digest("pipeline.room.z")


READS = """from pathlib import Path
PAGES = Path(__file__).parent / "templates" / "pages"
STYLE = Path(__file__).parent / "style.css"
"""


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("templates/pages/index.html.j2", True),
        ("templates/pages/parts/figure.j2", True),
        ("style.css", True),
        ("templates/pages/.index.html.j2.swp", False),
        ("templates/pages/index.html.j2~", False),
        ("templates/letter.txt", False),
        ("other.css", False),
    ],
)
def test_files_that_a_module_reads_from_the_package_count(package: Path, name: str, counts: bool) -> None:
    (package / "b.py").write_text(READS + B)
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("old")
    before = digest()
    path.write_text("new")
    assert (digest() != before) == counts


def test_every_file_of_the_package_belongs_to_the_module_that_reads_it() -> None:
    """So that editing a template reruns the stage that fills it in."""
    package = provenance.ROOT / provenance.PACKAGE
    modules = [
        ".".join(path.relative_to(provenance.ROOT).with_suffix("").parts) for path in package.rglob("*.py")
    ]
    read = {file for name in modules for file in provenance.package_files(name)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert {path for path in others if path.parent.name != "__pycache__"} == read
