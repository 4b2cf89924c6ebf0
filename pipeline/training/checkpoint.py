"""Checkpoints: written atomically, loaded as plain tensors, refused where they do not belong."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError, DamageError, TrainingError
from pipeline.tables.failures import own_result

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
FORMAT = 1
LOCK = "lock"
Fingerprint = Mapping[str, str]


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process; the operating system releases it however the process ends.

    Where Snakemake alone was killed, its job may still be running when the same command starts
    another one, and both would write the same checkpoint.

    Raises:
        TrainingError: Another process holds the lock.
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
                action="wait until it has ended, or end it; then run the same command again",
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
    """Read a checkpoint without executing anything in it (`weights_only`).

    Raises:
        DamageError: It is missing, truncated, or holds more than tensors and plain values.
        CheckpointError: It is of another format.
    """
    import torch

    with own_result(path, "a whole checkpoint of tensors and plain values"):
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            "a checkpoint has another format", where=str(path), expected=str(FORMAT), action="delete it"
        )
    return content


def whole_or_removed(path: Path) -> dict[str, Any] | None:
    """The content of the checkpoint of a stopped run; None, and the file is gone, where the disk damaged it.

    Only time is lost: the same settings, data and seed give the same weights from the beginning.

    Raises:
        CheckpointError: It is of another format.
    """
    try:
        return unpack(path)
    except DamageError as error:
        log.warning("the training starts from the beginning, as its checkpoint is damaged (%s)", error)
        path.unlink()
        return None


def check_fingerprint(path: Path, saved: Fingerprint, expected: Fingerprint) -> None:
    """Refuse a checkpoint made by other settings, data or code.

    Args:
        path: The checkpoint, for the message.
        saved: Fingerprint in the checkpoint.
        expected: Fingerprint of this run.

    Raises:
        CheckpointError: They differ; the message says in what, setting by setting.
    """
    differing = differing_keys(saved, expected)
    if not differing:
        return
    details = "; ".join(_describe_difference(key, saved.get(key, ""), expected[key]) for key in differing)
    raise CheckpointError(
        f"a checkpoint belongs to other {' and '.join(differing)}",
        where=str(path),
        got=details,
        action=f"to go on with it, undo the change; to start afresh, delete the folder {path.parent}",
    )


def differing_keys(saved: Fingerprint, expected: Fingerprint) -> list[str]:
    """Keys of the expected fingerprint whose values the saved one does not have."""
    return [key for key in expected if saved.get(key) != expected[key]]


def _describe_difference(name: str, saved: str, expected: str) -> str:
    try:
        old, new = json.loads(saved), json.loads(expected)
    except ValueError:
        old = new = None
    if not isinstance(old, dict) or not isinstance(new, dict):
        return f"{name} {saved[:16]} in the checkpoint, {expected[:16]} now"
    old, new = _flatten(old), _flatten(new)
    keys = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    return ", ".join(f"{k} {old.get(k)!r} in the checkpoint, {new.get(k)!r} now" for k in keys[:5])


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """States of the random generators that layers such as dropout use."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Go back to the states that :func:`random_states` returned."""
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
