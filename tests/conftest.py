"""Isolation for every test: one thread each, no user cache, no downloads, and deterministic examples in CI."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Set before torch is imported, and inherited by every process that a test starts, because workers share the cores.
os.environ["OMP_NUM_THREADS"] = "1"

_FLAGS = [
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a shell's background job, which tests would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
if SHARED_DATA.is_dir():
    os.environ.setdefault("MCLREC_DATA", str(SHARED_DATA))

settings.register_profile("mclrec", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("mclrec")


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session its own empty cache, and a mirror that refuses connections in place of the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCLREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MCLREC_MIRROR", "http://127.0.0.1:9/")
        yield


def _missing(reason: str) -> None:
    """Skip the test, or fail in CI, where a browser is required."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium for tests of pages."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed: pip install 'mclrec[browser]'")
    chromium = shutil.which("chromium")
    if chromium is None:
        _missing("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield launched
        launched.close()
