"""Which models a reload accepts, and how it reports on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.serving.rest.conftest import ITEMS, NAMES, make_service, save_directory, use

from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.exporter import export_onnx
from mclrec.inference.runtime import Runtime, load_runtime


def with_items(names: Sequence[OutsideId]) -> Runtime:
    return replace(
        make_service(version="other"), catalogue=Catalogue(Vocabulary(names), np.arange(ITEMS + 1))
    )


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (range(ITEMS), 0),
        ([f"other {name}" for name in NAMES], 0),
        ([*NAMES[:19], *range(ITEMS - 19)], 19),
        ([*NAMES[:20], *range(ITEMS - 20)], None),
        (NAMES, None),
    ],
)
def test_a_model_of_another_catalogue_is_refused(names: Sequence[OutsideId], shared: int | None) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        answer = await http.post("/model/reload")
        assert answer.status_code == (200 if shared is None else 409)
        if shared is not None:
            assert f"shares {shared} of 40 items with counting-1" in answer.json()["detail"]
            assert (await http.post("/recommend", json={"history": []})).json()["model"] == "counting-1"

    use(work, load=lambda: with_items(names))
    if shared is not None:
        shared = None
        use(work, load=lambda: with_items(names), min_overlap=0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = save_directory(tmp_path_factory.mktemp("exported") / "run")
    export_onnx(run)
    return run


def test_a_damaged_export_is_refused_and_one_of_other_weights_is_told(exported: Path) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        good = (await http.post("/model/reload")).json()
        assert (good["engine"], good["warnings"]) == ("onnx", [])
        encoder = exported / "onnx" / "encoder.onnx"
        whole = encoder.read_bytes()
        encoder.write_bytes(whole[:-20])
        refused = await http.post("/model/reload")
        assert refused.status_code == 409
        assert "encoder.onnx: damaged" in refused.json()["detail"]
        assert (await http.post("/recommend", json={"history": []})).json()["model"] == good["model"]
        encoder.write_bytes(whole)
        save_directory(exported, seed=2)
        other = (await http.post("/model/reload")).json()
        assert other["model"] != good["model"] == other["before"]
        assert other["engine"] == "torch"
        assert "torch answers instead" in other["warnings"][0]

    use(work, load=lambda: load_runtime(exported))


@pytest.mark.parametrize("items", [1, 2, 9])
def test_small_catalogues_are_served(tmp_path: Path, items: int) -> None:
    run = save_directory(tmp_path / "run", names=NAMES[:items])

    async def work(http: httpx.AsyncClient) -> None:
        assert (await http.post("/model/reload")).status_code == 200
        answer = await http.post("/recommend", json={"history": NAMES[:1], "include_seen": True})
        assert len(answer.json()["items"]) == items

    use(work, load=lambda: load_runtime(run))
