"""Checkpoints: whole or not there, loaded as plain tensors, refused where they do not belong."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError, TrainingError

if TYPE_CHECKING:
    import torch

FORMAT = 1
LOCK = "lock"
Fingerprint = Mapping[str, str]


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by new content; whoever looks sees the old one or the new one.

    The data is on the disk before the name points at it, and the name before this returns,
    so that a machine that loses power keeps one of the two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process; the system lets go of it however the process ends.

    Where Snakemake alone was killed, its job may still be running when the same command starts
    another one: two writers of one checkpoint.

    Raises:
        TrainingError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise TrainingError(
                "another process is training this fold",
                where=str(folder),
                got=f"process {stream.read().strip() or 'unknown'}",
                action="wait until it is done, or end it; then run the same command again",
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def pack(content: Mapping[str, Any]) -> bytes:
    """Serialise tensors and plain values; equal content gives equal bytes."""
    import torch

    # Through memory: saved to a file, the archive would carry the file's name.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    return buffer.getvalue()


def unpack(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything that is in it (`weights_only`).

    Raises:
        CheckpointError: It is missing, cut off, of another format, or holds more than
            tensors and plain values.
    """
    import torch

    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different one for every way a file can be broken
        raise CheckpointError(
            "a checkpoint cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            action="delete it; training starts afresh",
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            "a checkpoint has another format", where=str(path), expected=str(FORMAT), action="delete it"
        )
    return content


def check_fingerprint(path: Path, found: Fingerprint, expected: Fingerprint) -> None:
    """Refuse a checkpoint made by other settings, data or code.

    Raises:
        CheckpointError: Naming which of them differ, and each setting that does.
    """
    differing = [key for key in expected if found.get(key) != expected[key]]
    if not differing:
        return
    details = "; ".join(_difference(key, found.get(key, ""), expected[key]) for key in differing)
    raise CheckpointError(
        f"a checkpoint belongs to other {' and '.join(differing)}",
        where=str(path),
        got=details,
        action=f"to go on with it, undo the change; to start afresh, delete the folder {path.parent}",
    )


def _difference(name: str, found: str, expected: str) -> str:
    try:
        old, new = json.loads(found), json.loads(expected)
    except ValueError:
        return f"{name} {found[:16]} in the checkpoint, {expected[:16]} now"
    if not isinstance(old, dict) or not isinstance(new, dict):
        return f"{name} {found[:16]} in the checkpoint, {expected[:16]} now"
    old, new = _flat(old), _flat(new)
    keys = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    return ", ".join(f"{k} {old.get(k)!r} in the checkpoint, {new.get(k)!r} now" for k in keys[:5])


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found.update(_flat(item, f"{prefix}{key}."))
        else:
            found[prefix + key] = item
    return found


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """States of the generators that layers such as dropout draw from."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Undo what happened since :func:`random_states`."""
    import torch

    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def digest(*parts: bytes) -> str:
    """SHA-256 over parts, hexadecimal."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()
