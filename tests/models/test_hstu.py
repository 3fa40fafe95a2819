from __future__ import annotations

from typing import Any, cast

import pytest

from mclrec.errors import ConfigError
from mclrec.models.hstu import HSTU, HSTUConfig
from mclrec.recipes import resolve


def test_configuration_reaches_the_encoder() -> None:
    sizes = {"max_length": 9, "hidden_size": 12, "layers": 3, "heads": 3, "dropout": 0.1}
    made = HSTU(HSTUConfig.model_validate(sizes), num_items=7)
    blocks = cast("list[Any]", made.encoder.blocks)
    assert [(block.heads, block.max_length, block.dropout.p) for block in blocks] == 3 * [(3, 9, 0.1)]
    assert made.encoder.dropout.p == 0.1
    assert made.config.temperature == 0.05
    with pytest.raises(ConfigError, match="hidden_size = 12 is not a multiple of heads = 5"):
        resolve("hstu", None, overrides={"hidden_size": 12, "heads": 5})
