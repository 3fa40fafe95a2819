"""Freed memory is kept in the process during training, and returned afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mclrec.training.kept_memory import kept_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an allocator that Linux alone has")
SIZE = 64 << 20


def page_faults(times: int = 8) -> int:
    """Page faults of this thread while it allocates and fills a large block of memory, `times` times in a row."""
    import resource

    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(times):
        b"x" * SIZE
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_is_freed_is_used_again_and_returned_at_the_end() -> None:
    usual = page_faults()
    with kept_memory():
        page_faults(1)
        assert page_faults() < usual / 100
        inside = resident()
    assert resident() < inside - SIZE / 2
    assert page_faults() > usual / 2


def test_a_user_who_has_tuned_the_allocator_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = page_faults()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    with kept_memory():
        assert page_faults() > usual / 2


def test_an_error_ends_it_too() -> None:
    usual = page_faults()
    with pytest.raises(ValueError, match="within"), kept_memory():
        raise ValueError("within")
    assert page_faults() > usual / 2
