import subprocess
import sys
from pathlib import Path

import pytest

from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.models.base import ModelConfig, Recommender
from mclrec.models.model_config import STORED
from mclrec.models.registry import Entry

MINE = Entry("mine:Mine", "Mine", 2026, "nobody, nothing, nowhere", "U", ("prefixes/softmax",))


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))


@pytest.mark.parametrize("name", registry.names())
def test_every_line_leads_to_a_model(name: str) -> None:
    found, line = registry.model_class(name), registry.entry(name)
    assert issubclass(found, Recommender)
    assert issubclass(found.config_type, ModelConfig)
    assert found.__name__.lower() == line.title.lower().replace("-", "")
    assert line.paper
    assert bool(line.regimes) != line.only_counts
    assert (line.family != "trivial") == (line.year > 0)
    for regime in line.regimes if "unit" in found.config_type.model_fields else ():
        unit, _, loss = regime.partition("/")
        config = found.config_type.model_validate({"unit": unit, "loss": loss})
        assert config.model_dump(include={"unit", "loss"}) == {"unit": unit, "loss": loss}


def test_an_unknown_name_gets_the_nearest() -> None:
    for ask in (registry.entry, registry.model_class):
        with pytest.raises(ConfigError, match="unknown model 'mclerc'; did you mean 'mclrec'"):
            ask("mclerc")


def test_models_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("class Mine: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry.register("mine", MINE)
    registry.register("mine", MINE)  # a module may be imported twice
    assert registry.names()[-1] == "mine"
    assert registry.entry("mine") is MINE
    assert registry.model_class("mine").__module__ == "mine"


def test_a_name_is_given_once() -> None:
    with pytest.raises(ConfigError, match=r"'mclrec' is registered already: mclrec\.models\.mclrec:MCLRec"):
        registry.register("mclrec", MINE)
    assert registry.entry("mclrec").title == "MCLRec"


def test_listing_imports_no_model_and_no_torch() -> None:
    code = (
        "import sys; from mclrec.models import registry; registry.names(); registry.entry('mclrec'); "
        "loaded = {name.split('.')[0] for name in sys.modules} | set(sys.modules); "
        "sys.exit(bool({'torch', 'mclrec.models.mclrec', 'mclrec.models.base'} & loaded))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", registry.names())
def test_a_setting_that_is_defined_anew_still_takes_the_default_of_the_first(name: str) -> None:
    """A name means the same in base and derived class: a contrast's temperature was once read as that of the scores."""
    config = registry.model_class(name).config_type
    for field, info in config.model_fields.items():
        for ancestor in config.__mro__[1:]:
            if before := getattr(ancestor, "model_fields", {}).get(field):
                config.model_validate({info.alias or field: before.default}, context=STORED)
