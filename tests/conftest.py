"""What every test may rely on: one thread each, no user's cache, no download, the same examples in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported, and inherited by every process a test starts: workers share the cores.
os.environ["OMP_NUM_THREADS"] = "1"

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
if SHARED_DATA.is_dir():
    os.environ.setdefault("MCLREC_DATA", str(SHARED_DATA))

settings.register_profile("mclrec", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("mclrec")


@pytest.fixture(scope="session", autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty cache of the session's own, and a mirror that refuses instead of the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCLREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MCLREC_MIRROR", "http://127.0.0.1:9/")
        yield
