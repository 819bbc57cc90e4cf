"""Freed blocks of many sizes go back to the system."""

import os
import platform
import subprocess
import sys

import pytest

from polymode.training.allocator import return_freed_memory

PROGRAM = """
import sys
import torch
from polymode.training.allocator import return_freed_memory

def held():  # MB
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "told":
    assert return_freed_memory()
torch.ones(7_000_000)  # freed at once: from now on glibc takes blocks of up to 28 MB for small ones
start = held()
blocks, between = [], []
for _ in range(60):
    blocks.append(torch.ones(1_000_000))
    between.append(torch.ones(25_000))  # stays, and stands in the way of what lies below it
blocks.clear()
print(held() - start)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_blocks_go_back() -> None:
    """Of 240 MB; untold most of it stays, so that the test measures something."""
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_MMAP_THRESHOLD_"}
    untold, told = (
        float(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, word], env=environment, capture_output=True, text=True, check=True
            ).stdout
        )
        for word in ("untold", "told")
    )
    assert told < 50 and untold > 150


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=33554432")
    assert not return_freed_memory()
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "33554432")
    assert not return_freed_memory()
