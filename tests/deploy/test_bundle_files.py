"""A bundle is trusted file by file, and leads nowhere outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.deploy.__main__ import main
from pipeline.deploy.bundle_files import CHECKSUMS, MANIFEST, path_inside, read_bundle
from pipeline.deploy.manifest import BundleError
from tests.deploy.synthetic_bundle import make_manifest, write_bundle_folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle_folder(tmp_path / "bundle")


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
        (rewrite("format", 3), "not one that this software reads.*format 4"),
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
