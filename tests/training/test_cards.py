"""One card for each fold: stand-in cards, real processes, and one of them killed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.settings.training import TrainingSettings
from pipeline.training import cards
from pipeline.training.cards import device_of_its_own, free_card

CARDS = ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]


def fold(folder: str, told: Connection) -> None:
    """A fold's process: says which card it has, and keeps it until it is told to end."""
    with free_card(CARDS, Path(folder)) as number:
        told.send(number)
        told.recv()


def started(folder: Path) -> tuple[multiprocessing.Process, Connection]:
    """A fold in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=fold, args=(str(folder), theirs))
    process.start()
    return process, ours


def test_four_folds_have_four_cards_and_the_fifth_waits_for_one_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cards, "ASK_AGAIN_SECONDS", 0.05)
    running = [started(tmp_path) for _ in CARDS]
    numbers = [pipe.recv() for _, pipe in running]
    assert sorted(numbers) == [0, 1, 2, 3]
    victim, _ = running[2]
    killer = threading.Timer(0.3, lambda: os.kill(victim.pid or 0, signal.SIGKILL))
    killer.start()
    begun = time.monotonic()
    with caplog.at_level(logging.INFO), free_card(CARDS, tmp_path) as number:
        assert number == numbers[2] and time.monotonic() - begun > 0.2
        assert "no card is free: each of the 4 has a fold" in caplog.text
        assert str(victim.pid) in caplog.text and "is free after" in caplog.text
        # The others keep theirs, and nobody has this one besides.
        sixth, pipe = started(tmp_path)
        assert not pipe.poll(0.3)
    assert pipe.recv() == numbers[2]
    for process, channel in [*running, (sixth, pipe)]:
        if process is not victim:
            channel.send("end")
        process.join()


@pytest.fixture
def three_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A machine with three cards that are none; the numbers of those that were made the current one."""
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda n: SimpleNamespace(uuid=f"uuid-{n}"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(cards, "locks_folder", lambda: tmp_path)
    for name in cards.JOB_OF_A_SCHEDULER:
        monkeypatch.delenv(name, raising=False)
    return current


def test_folds_side_by_side_get_cards_of_their_own(three_cards: list[int]) -> None:
    with device_of_its_own(TrainingSettings()) as first, device_of_its_own(TrainingSettings()) as second:
        assert (str(first.device), str(second.device)) == ("cuda:0", "cuda:1")
        # What a checkpoint must agree in is the kind of device: a fold goes on on any card.
        assert first.identity() == second.identity() == {"device": "cuda", "precision": "bf16"}
    with device_of_its_own(TrainingSettings()) as third:
        assert str(third.device) == "cuda:0"
    assert three_cards == [0, 1, 0]


def test_a_card_that_is_named_is_taken_as_told(three_cards: list[int]) -> None:
    named = TrainingSettings(device="cuda:1")
    with device_of_its_own(named) as first, device_of_its_own(named) as second:
        assert str(first.device) == str(second.device) == "cuda:1"


def test_the_card_that_a_scheduler_granted_is_taken(
    three_cards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs of SLURM see their card as number 0, whichever it is; neither waits for the other."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with device_of_its_own(TrainingSettings()) as first, device_of_its_own(TrainingSettings()) as second:
        assert str(first.device) == str(second.device) == "cuda:0"


def test_a_processor_needs_no_lock(three_cards: list[int], tmp_path: Path) -> None:
    with device_of_its_own(TrainingSettings(device="cpu")) as config:
        assert config.device.type == "cpu" and not list(tmp_path.iterdir())
