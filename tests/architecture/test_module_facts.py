"""What is kept of modules saves reading them, and is never believed wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import module_facts
from pipeline.module_facts import FactsFile, read_facts

SOURCE = '''"""Text."""
from pathlib import Path
from pipeline.room import other

STYLE = Path(__file__).parent / "styles" / "a.css"


def work(x):
    """Docstring."""
    return x
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def kept(tmp_path: Path, module: Path) -> Path:
    """The file, with the module in it."""
    facts = FactsFile(tmp_path / "__pycache__" / "facts.json")
    facts.of(module)
    facts.save()
    return facts.path


def refuse(source: str) -> module_facts.ModuleFacts:
    raise AssertionError("the module was parsed")


def test_a_module_as_digests_see_it() -> None:
    facts = read_facts(SOURCE)
    assert {"pipeline.room", "pipeline.room.other", "pathlib.Path"} <= set(facts.targets)
    assert facts.places == (("styles", "a.css"),)
    assert facts.tree == read_facts(SOURCE.replace("Docstring.", "Another.")).tree
    assert facts.tree != read_facts(SOURCE.replace("return x", "return -x")).tree


def test_what_was_kept_is_not_parsed_again(kept: Path, module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_facts(SOURCE)
    monkeypatch.setattr(module_facts, "read_facts", refuse)
    assert FactsFile(kept).of(module) == expected


def test_a_changed_module_of_the_same_size_and_time_is_read_anew(kept: Path, module: Path) -> None:
    import os

    before = module.stat()
    module.write_text(SOURCE.replace("return x", "return y"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert FactsFile(kept).of(module).tree == read_facts(SOURCE.replace("return x", "return y")).tree


@pytest.mark.parametrize("damage", ["digit", "cut", "empty", "other_code"])
def test_a_damaged_file_is_not_believed(
    kept: Path, module: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = kept.read_text()
    tree = read_facts(SOURCE).tree
    other = tree[:-1] + ("0" if tree[-1] != "0" else "1")
    if damage == "other_code":
        monkeypatch.setattr(module_facts.sys, "version", "another Python")
    else:
        kept.write_text({"digit": text.replace(tree, other), "cut": text[:-9], "empty": ""}[damage])
    assert FactsFile(kept)._known == {}
    assert FactsFile(kept).of(module).tree == tree


def test_where_nothing_can_be_kept_the_module_is_read(tmp_path: Path, module: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    facts = FactsFile(tmp_path / "taken" / "facts.json")
    assert facts.of(module) == read_facts(SOURCE)
    facts.save()
    assert (tmp_path / "taken").read_text() == "a file"


def test_only_what_was_asked_for_stays_of_too_many(
    kept: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_facts, "MOST_KEPT", 1)
    module.write_text("x = 1\n")
    facts = FactsFile(kept)
    facts.of(module)
    facts.save()
    assert [f.tree for f in FactsFile(kept)._known.values()] == [read_facts("x = 1\n").tree]


def test_a_newer_version_of_this_module_does_not_seal_what_an_older_one_read(
    kept: Path, module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that runs while the checkout is updated keeps what it read under its own name."""
    newer = tmp_path / "newer.py"
    newer.write_text(Path(module_facts.__file__).read_text() + "\nNEWER = 1\n")
    monkeypatch.setattr(module_facts, "__file__", str(newer))
    assert FactsFile(kept)._known != {}, "the running process knows its own file"
    monkeypatch.setattr(module_facts, "_THIS_MODULE", newer.read_bytes())
    assert FactsFile(kept)._known == {}, "the newer version does not believe it"


def test_a_byte_order_mark_is_no_error(tmp_path: Path, module: Path) -> None:
    module.write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    assert FactsFile(tmp_path / "facts.json").of(module) == read_facts(SOURCE)


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path, module: Path) -> None:
    target = tmp_path / "cache" / "facts.json"
    (target / "in_the_way").mkdir(parents=True)
    facts = FactsFile(target)
    facts.of(module)
    facts.save()
    assert [path.name for path in target.parent.iterdir()] == ["facts.json"]


def test_a_tree_is_the_same_text_in_every_python() -> None:
    """The digests that Python 3.11.7, 3.12.1 and 3.13.0 give of one text, each run by itself."""
    source = (
        "class A(B):\n"
        "    x: int = 1\n"
        "    async def f(self, /, a=None, *, b='', **c) -> str:\n"
        "        return f'{a:>{b}} {c!r} {a:.3f} é' + f''\n"
        "match x:\n"
        "    case {'a': None, **rest}: pass\n"
    )
    assert read_facts(source).tree[:16] == "9fa1df93dd19621b"
    assert read_facts(source).tree != read_facts(source.replace(":.3f", ":.2f")).tree
