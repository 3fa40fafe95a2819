import subprocess
import sys

import pytest
import torch

from mclrec.errors import ResourceError
from mclrec.models import registry, sizes
from mclrec.recipes import resolve


@pytest.mark.parametrize("name", registry.names())
def test_the_size_of_every_model_is_known_before_it_is_built(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_class, config = registry.model_class(name), resolve(name, None).config
    state = model_class(config, 50, 20).state_dict()
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    before = torch.get_rng_state()
    monkeypatch.setattr(sizes, "_memory", lambda: 4 * size)
    sizes.check_memory(model_class, config, 50, 20, sizes.IN_TRAINING)
    monkeypatch.setattr(sizes, "_memory", lambda: size - 1)
    with pytest.raises(ResourceError, match="not enough memory: with 50 items"):
        sizes.check_memory(model_class, config, 50, 20)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("setting", ["hidden_size", "inner_size", "max_length"])
def test_the_largest_sizes_do_not_fit(setting: str) -> None:
    largest = {"hidden_size": 65_536, "inner_size": 1_000_000, "max_length": 100_000}
    config = resolve("sasrec", None, None, {"hidden_size": 65_536, setting: largest[setting]}).config
    with pytest.raises(ResourceError, match="the weights need"):
        sizes.check_memory(registry.model_class("sasrec"), config, 10**7, 0)


@pytest.mark.slow
def test_asking_for_a_size_does_not_import_the_compiler() -> None:
    code = """
import sys
from mclrec.models import registry
from mclrec.models.sizes import check_memory
from mclrec.recipes import resolve
for name in registry.names():
    config = resolve(name, None).config
    for changed in (config, config.model_copy(update={"repeat_bias": True})):
        check_memory(registry.model_class(name), changed, 50, 20)
        assert "torch._dynamo" not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", code], check=True)
