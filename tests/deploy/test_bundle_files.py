"""A bundle is trusted file by file, is known by its identity, and leads nowhere outside."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.deploy.bundle_files import path_inside, read_bundle
from pipeline.deploy.manifest import IDENTITY, MANIFEST, BundleError
from tests.deploy.synthetic_bundle import make_manifest, write_bundle_folder

WEIGHTS = "net_fold0.safetensors"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle_folder(tmp_path / "bundle")


def test_what_is_written_is_read(bundle: Path) -> None:
    read = read_bundle(bundle)
    manifest = read.manifest
    assert manifest == make_manifest(files=manifest.files, members=manifest.members) and manifest.folds() == 2
    # GNU coreutils give the identity, too.
    printed = subprocess.run(["sha256sum", MANIFEST], cwd=bundle, check=True, capture_output=True, text=True)
    assert read.identity == printed.stdout.split()[0] == (bundle / IDENTITY).read_text().strip()


def add(bundle: Path) -> None:
    (bundle / "weights" / "extra.pkl").write_bytes(b"\x80\x04")


def change(bundle: Path) -> None:
    content = (bundle / "weights" / WEIGHTS).read_bytes()
    (bundle / "weights" / WEIGHTS).write_bytes(content[:-1] + b"?")


def lengthen(bundle: Path) -> None:
    with (bundle / "weights" / WEIGHTS).open("ab") as stream:
        stream.write(b"\0")


def remove(bundle: Path) -> None:
    (bundle / "weights" / WEIGHTS).unlink()


def link(bundle: Path) -> None:
    outside = bundle.parent / "outside"
    (bundle / "weights" / WEIGHTS).rename(outside)
    (bundle / "weights" / WEIGHTS).symlink_to(outside)


def link_folder(bundle: Path) -> None:
    (bundle / "weights").rename(bundle.parent / "elsewhere")
    (bundle / "weights").symlink_to(bundle.parent / "elsewhere")


def link_more(bundle: Path) -> None:
    (bundle / "more").symlink_to(bundle.parent)


def turn_coefficients_round(bundle: Path) -> None:
    """A risk of the other sign: every value is one that a study could have given."""
    content = json.loads((bundle / MANIFEST).read_text())
    for fold in content["members"]["linear"]["folds"]:
        fold["coefficients"] = {name: -value for name, value in fold["coefficients"].items()}
    (bundle / MANIFEST).write_text(json.dumps(content, indent=1))


def without_identity(bundle: Path) -> None:
    (bundle / IDENTITY).unlink()


def another_identity(bundle: Path) -> None:
    (bundle / IDENTITY).write_text("0" * 64 + "\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (add, "files that its manifest does not name.*weights/extra.pkl"),
        (change, "missing or was changed.*weights/net_fold0.safetensors"),
        (lengthen, r"missing or was changed.*got: \d+ bytes"),
        (remove, "missing or was changed.*got: no file"),
        (link, "leads out of the bundle"),
        (link_folder, "leads out of the bundle"),
        (link_more, "files that its manifest does not name.*more"),
        (turn_coefficients_round, "manifest.json or ID was changed"),
        (without_identity, "without identity.*earlier version"),
        (another_identity, "manifest.json or ID was changed.*0000000000"),
    ],
)
def test_a_spoilt_bundle_is_refused(
    bundle: Path, spoil: Callable[[Path], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(bundle)
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)
    assert main(["show", "--bundle", str(bundle)]) == 1
    output = capsys.readouterr().err
    assert output.startswith("error: ") and output.count("\n") == 1


def test_500_bundles_with_one_byte_changed_are_refused(bundle: Path) -> None:
    """Any file, any place, any other byte: refused each time, in a message that names the file."""
    chance = np.random.default_rng(500)
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size)
    accepted = []
    for _ in range(500):
        path = files[chance.integers(len(files))]
        content = path.read_bytes()
        place, step = int(chance.integers(len(content))), int(chance.integers(1, 256))
        changed = bytes([(content[place] + step) % 256])
        path.write_bytes(content[:place] + changed + content[place + 1 :])
        try:
            read_bundle(bundle)
            accepted.append((path.name, place, changed))
        except BundleError as error:
            assert path.name in str(error), (path.name, str(error))
        path.write_bytes(content)
    assert not accepted
    read_bundle(bundle)


def test_only_the_expected_bundle_is_used(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = read_bundle(bundle).identity
    for expected in (identity, identity[:12], identity[:20].upper(), f"{identity}\n"):
        assert read_bundle(bundle, expected).identity == identity
    # Whoever turns the coefficients round and writes a new ID is found by the identity alone.
    turn_coefficients_round(bundle)
    changed = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    (bundle / IDENTITY).write_text(changed + "\n")
    assert read_bundle(bundle).identity == changed
    images = ["--images", str(bundle.parent), "--out", str(bundle.parent / "out")]
    for expected, message in (
        (identity, f"another bundle.*expected: {identity}; got: {changed}"),
        (identity[:12], "another bundle"),
        (identity[:11], "12 to 64 hexadecimal digits"),
        (identity + "0", "12 to 64 hexadecimal digits"),
        ("not a number", "12 to 64 hexadecimal digits"),
        (" ", "12 to 64 hexadecimal digits"),
    ):
        assert main(["predict", "--bundle", str(bundle), "--expect", expected, *images]) == 1
        output = capsys.readouterr().err
        assert re.search(message, output) and output.count("\n") == 1
        assert not (bundle.parent / "out").exists()


def test_show_prints_the_identity(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--bundle", str(bundle)]) == 0
    assert f"identity: {read_bundle(bundle).identity}\n" in capsys.readouterr().out


def test_paths_stay_inside(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "a/b.txt") == tmp_path / "a" / "b.txt"
    for name in ("..", "a/../../b", "/a", "a\\..\\b"):
        with pytest.raises(BundleError, match="leads out"):
            path_inside(tmp_path, name)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle"):
        read_bundle(tmp_path)
