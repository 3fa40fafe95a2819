from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import tiny_data

from mclrec.errors import ConfigError
from mclrec.models.bsarec import BSARec, BSARecConfig
from mclrec.nn.blocks import Block
from mclrec.recipes import resolve


@pytest.mark.parametrize(
    ("settings", "causal"),
    [({}, False), ({"filter": "causal"}, True), ({"unit": "sequences"}, True), ({"unit": "windows"}, True)],
)
def test_no_position_with_a_target_of_its_own_sees_later_items(
    settings: dict[str, Any], causal: bool
) -> None:
    config = BSARecConfig.model_validate({"alpha": 0.2, "frequencies": 7, "layers": 3, **settings})
    made = BSARec(config, tiny_data().num_items)
    blocks = list(made.encoder.blocks)
    assert len(blocks) == 3
    for block in blocks:
        assert isinstance(block, Block)
        assert block.filter is not None
        assert (block.filter.causal, block.filter.kept, block.filter.window) == (causal, 7, 50)
        assert block.alpha == 0.2


@pytest.mark.parametrize("unit", ["sequences", "windows"])
def test_the_papers_filter_is_refused_where_every_position_predicts(unit: str) -> None:
    with pytest.raises(ConfigError, match="filter has no effect"):
        resolve("bsarec", None, overrides={"unit": unit, "filter": "window"})


@pytest.mark.parametrize(("asked", "max_length", "kept"), [(4, 50, 5), (7, 1, 1), (7, 4, 3), (7, 5, 5)])
def test_frequencies_are_odd_and_no_more_than_places(asked: int, max_length: int, kept: int) -> None:
    config = BSARecConfig.model_validate({"frequencies": asked, "max_length": max_length})
    blocks = BSARec(config, num_items=3).encoder.blocks
    assert [block.filter.kept for block in blocks] == [kept, kept]  # type: ignore[union-attr]


def test_blocks_are_post_norm() -> None:
    with pytest.raises(ConfigError, match="norm = 'pre'"):
        resolve("bsarec", None, overrides={"norm": "pre"})


def test_data_sets_have_the_published_settings() -> None:
    found = {name: resolve("bsarec", name).config for name in ("beauty", "sports", "yelp")}
    settings = {name: (config.alpha, config.frequencies, config.heads) for name, config in found.items()}  # type: ignore[attr-defined]
    assert settings == {"beauty": (0.7, 5, 1), "sports": (0.3, 5, 1), "yelp": (0.7, 3, 1)}


def test_without_a_share_of_the_filter_it_has_no_kind() -> None:
    with pytest.raises(ConfigError, match="filter has no effect with alpha"):
        resolve("bsarec", "tiny", None, {"alpha": 0.0, "filter": "causal"})
