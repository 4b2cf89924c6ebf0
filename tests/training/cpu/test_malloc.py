"""Freed memory stays with the process within the context, and only there."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What glibc itself counts (mallinfo2(3), hblkhd: bytes lying in blocks mapped from the system one by
# one, which go back to it when freed). Not page faults: some systems do not count them.
MAPPED = """
import ctypes, sys, torch
from pipeline.training.cpu.malloc import keep_freed_memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit(print(0, 0, 0, 0, 0))
libc.mallinfo2.restype = Counts

def mapped(megabytes):
    before = libc.mallinfo2().hblkhd
    block = torch.zeros(megabytes << 18)
    return libc.mallinfo2().hblkhd - before

plain = mapped(64)  # above the largest size at which glibc turns to the heap by itself
with keep_freed_memory() as able:
    kept = mapped(64)
    held = libc.mallinfo2().fordblks
print(int(able), plain, kept, held, mapped(256))  # more than the heap holds
"""


def test_freed_memory_stays_only_within_the_frame() -> None:
    # In a process of its own: what another test freed would lie there to be used again.
    completed = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    able, plain, kept, held, after = map(int, completed.stdout.split())
    if not able:
        pytest.skip("another C library")
    block = 64 << 20
    assert plain >= block  # outside: mapped, and gone when freed
    assert kept == 0 and held >= block  # within: from the heap, and still there when freed
    assert after >= 4 * block
