"""A bundle is trusted file by file, and leads nowhere outside."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.deploy.__main__ import main
from pipeline.deploy.bundle_files import CHECKSUMS, MANIFEST, path_inside, read_bundle, write_manifest
from pipeline.deploy.manifest import BundleError
from pipeline.provenance import file_sha256
from tests.deploy.synthetic_bundle import make_manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "net.safetensors").write_bytes(b"weights")
    name = "weights/net.safetensors"
    write_manifest(folder, make_manifest(files={name: file_sha256(folder / name)}))
    (folder / ".snakemake_timestamp").touch()  # as the workflow leaves it
    return folder


def test_what_is_written_is_read(bundle: Path) -> None:
    manifest = read_bundle(bundle).manifest
    assert manifest == make_manifest(files=manifest.files) and manifest.folds() == 2
    subprocess.run(["sha256sum", "--strict", "-c", CHECKSUMS], cwd=bundle, check=True, capture_output=True)


def add(bundle: Path) -> None:
    (bundle / "weights" / "extra.pkl").write_bytes(b"\x80\x04")


def change(bundle: Path) -> None:
    (bundle / "weights" / "net.safetensors").write_bytes(b"weightz")


def remove(bundle: Path) -> None:
    (bundle / "weights" / "net.safetensors").unlink()


def link(bundle: Path) -> None:
    outside = bundle.parent / "outside"
    (bundle / "weights" / "net.safetensors").rename(outside)
    (bundle / "weights" / "net.safetensors").symlink_to(outside)


def link_folder(bundle: Path) -> None:
    (bundle / "weights").rename(bundle.parent / "elsewhere")
    (bundle / "weights").symlink_to(bundle.parent / "elsewhere")


def rewrite(key: str, value: object) -> Callable[[Path], None]:
    def spoil(bundle: Path) -> None:
        content = json.loads((bundle / MANIFEST).read_text())
        content[key] = value
        (bundle / MANIFEST).write_text(json.dumps(content))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (add, "files that its manifest does not name.*weights/extra.pkl"),
        (change, "missing or was changed.*weights/net.safetensors"),
        (remove, "missing or was changed"),
        (link, "leads out of the bundle"),
        (link_folder, "leads out of the bundle"),
        (rewrite("format", 2), "not one that this software reads.*format 3"),
        (rewrite("surprise", 1), "not one that this software reads"),
        (rewrite("files", {"../secret": "0"}), r"leads out of the bundle.*\.\./secret"),
        (rewrite("files", {"/etc/passwd": "0"}), "leads out of the bundle.*/etc/passwd"),
    ],
)
def test_a_spoilt_bundle_is_refused(
    bundle: Path, spoil: Callable[[Path], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(bundle)
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)
    assert main(["show", "--bundle", str(bundle)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_paths_stay_inside(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "a/b.txt") == tmp_path / "a" / "b.txt"
    for name in ("..", "a/../../b", "/a", "a\\..\\b"):
        with pytest.raises(BundleError, match="leads out"):
            path_inside(tmp_path, name)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle"):
        read_bundle(tmp_path)


def test_show_says_what_is_needed(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--bundle", str(bundle)]) == 0
    output = capsys.readouterr().out
    assert "clinical_age, clinical_stage" in output and "a patient's image" in output


GIVEN = ("--clinical", "clinical_age=60", "--clinical", "clinical_stage=III")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clinical", "clinical_age=60"), "not those the bundle needs.*clinical_stage="),
        (("--clinical", "clinical_age"), "once as NAME=VALUE"),
        ((*GIVEN, "--clinical", "clinical_age=61"), "once as NAME=VALUE"),
        ((*GIVEN, "--name", "../up"), "must be letters, digits"),
        ((*GIVEN, "--name", "a b"), "must be letters, digits"),
        ((*GIVEN, "--out", "{full}"), "output folder is not empty"),
        ((*GIVEN, "--keep-work", "{full}"), "output folder is not empty"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("keep")
    given = [text.replace("{full}", str(tmp_path / "full")) for text in arguments]
    call = ["predict", "--bundle", str(bundle), "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*call, *given]) == 1
    output = capsys.readouterr().err
    assert re.search(message, output) and output.startswith("error: ") and output.count("\n") == 1
    assert (tmp_path / "full" / "other.txt").read_text() == "keep" and not (tmp_path / "out").exists()
