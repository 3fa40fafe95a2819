"""Settings without effect are refused, and every other setting of every model changes some result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import Field, ValidationError
from tests.helpers import mostly_slow, tiny_data

from mclrec.configuration import Before
from mclrec.data.batches import Histories
from mclrec.data.packed import Packed
from mclrec.errors import ConfigError
from mclrec.models import registry
from mclrec.models.model_config import NONZERO, STORED, ModelConfig, NoEffectError, OnlyWith, OtherThan
from mclrec.models.phases import FitContext, StepContext
from mclrec.nn.dropout import seed_dropout
from mclrec.randomness import Stream, generator
from mclrec.recipes import resolve, section_names
from mclrec.recipes.space import Choices, search_space
from mclrec.training.config import TrainingConfig

DATA = tiny_data(users=14)
TRAINED = [name for name in registry.names() if registry.entry(name).regimes]
SMALL: dict[str, Any] = {
    "layers": 1,
    "hidden_size": 8,
    "inner_size": 16,
    "max_length": 8,
    "intents": 4,
    "short": 3,
    "samples": 9,
    "negatives": 3,
}
CONTEXTS = mostly_slow(range(6), [0])


class Toy(ModelConfig):
    encoder: Literal["transformer", "gru", "convolution"] = "transformer"
    heads: Annotated[int, OnlyWith(encoder="transformer")] = Field(2, ge=1)
    inner: Annotated[int, OnlyWith(encoder=("transformer", "gru"))] = 4
    lambda_: float = Field(0.1, ge=0, alias="lambda")
    beta: float = 0.1
    crop: Annotated[float, OnlyWith(lambda_=NONZERO, beta=NONZERO)] = 0.5
    gamma: Annotated[float | None, OnlyWith(beta=NONZERO), OnlyWith(regularizer="on")] = None
    regularizer: Annotated[Literal["on", "off"], OnlyWith(beta=NONZERO), OnlyWith(gamma=NONZERO)] = "on"
    scale: Annotated[float, OnlyWith(gamma=OtherThan(0))] = 1.0
    absent: Annotated[int, OnlyWith(something="else")] = 1


def refused(*layers: dict[str, Any]) -> str:
    with pytest.raises(NoEffectError) as caught:
        Toy.of_layers(*layers)
    return str(caught.value)


def test_the_reason_and_the_cure_are_told() -> None:
    assert refused({"encoder": "gru", "heads": 2}) == (
        "heads has no effect with encoder = gru, only with encoder = transformer: leave it out"
    )
    assert refused({"encoder": "convolution", "inner": 2}) == (
        "inner has no effect with encoder = convolution, only with encoder = transformer or gru: leave it out"
    )
    assert refused({"lambda": 0, "beta": 0, "crop": 0.1}) == (
        "crop has no effect with lambda = 0.0 and beta = 0.0, only with lambda other than 0 or beta other than 0: "
        "leave it out"
    )
    with pytest.raises(ValidationError, match="heads has no effect with encoder = gru"):
        Toy.model_validate({"encoder": "gru", "heads": 2})


def test_a_setting_whose_own_effect_is_gone_gives_none_to_others() -> None:
    assert refused({"beta": 0, "scale": 2.0}).startswith(
        "scale has no effect with beta = 0.0, only with beta"
    )
    assert refused({"regularizer": "off", "scale": 2.0}).startswith(
        "scale has no effect with regularizer = off"
    )


def test_of_two_settings_that_switch_each_other_off_one_stays() -> None:
    assert "gamma has no effect with regularizer = off" in refused({"regularizer": "off"}, {"gamma": 0.0})
    kept = Toy.of_layers({"gamma": 0.0}, {"regularizer": "off"})
    assert kept.model_dump()["regularizer"] == "off"
    assert "gamma" not in kept.model_dump()


def test_an_earlier_layer_is_forgiven_and_its_setting_has_the_default() -> None:
    config = Toy.of_layers({"heads": 4, "crop": 0.3}, {"encoder": "gru"}, {"lambda_": 0, "beta": 0})
    assert config == Toy.model_validate({"encoder": "gru", "lambda": 0, "beta": 0})
    assert (config.heads, config.crop) == (2, 0.5)
    assert "heads has no effect" in refused({"encoder": "gru"}, {"heads": 4})
    assert "heads has no effect" in refused({"heads": 4}, {"encoder": "gru", "heads": 4})
    assert Toy.of_layers({"encoder": "gru"}, {"encoder": "transformer", "heads": 4}).heads == 4
    assert Toy.of_layers({"absent": 3}).absent == 3  # conditions on unknown settings are ignored


def test_what_is_saved_are_the_settings_in_effect_and_they_load() -> None:
    config = Toy.of_layers({"lambda": 0.3}, {"encoder": "convolution", "beta": 0})
    saved = config.model_dump(mode="json", by_alias=True)
    assert saved == {"encoder": "convolution", "lambda": 0.3, "beta": 0.0, "crop": 0.5, "absent": 1}
    assert Toy.model_validate(saved) == config
    assert Toy.model_validate(saved | {"heads": 8}, context=STORED).model_dump(by_alias=True) == saved


def test_recipes_say_which_layer_was_wrong() -> None:
    config: Any = resolve("mclrec", "beauty", None, {"encoder": "gru"}).config
    assert "heads" not in config.model_dump()
    with pytest.raises(
        ConfigError, match=r"^heads has no effect with encoder = gru, only with encoder = trans"
    ):
        resolve("mclrec", "beauty", None, {"encoder": "gru", "heads": 4})
    with pytest.raises(
        ConfigError, match="negatives has no effect with loss = softmax, only with loss = gbce"
    ):
        resolve("mclrec", "beauty", None, {"negatives": 64})
    with pytest.raises(ConfigError, match="lambda has no effect with contrast = crossed"):
        resolve("duorec", "beauty", None, {"lambda": 0.2})
    config = resolve("duorec", "beauty", None, {"lambda": 0.2, "contrast": "both"}).config
    assert config.lambda_ == 0.2


def settled(config_type: type[ModelConfig], values: dict[str, Any]) -> dict[str, Any]:
    """The settings that have an effect."""
    while True:
        config = config_type.model_validate(values, context=STORED)
        useless = next(config.given_without_effect(), None)
        if useless is None:
            return values
        values = {key: value for key, value in values.items() if key != useless.key}


def alternatives(config: ModelConfig, name: str) -> list[Any]:
    """Values of a setting that are far from its current one."""
    value, annotation = getattr(config, name), type(config).model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return [other for other in get_args(annotation) if other != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        if name == "max_length":
            return [value // 2]  # a few convolutions do not reach further back
        return [0 if value else 1] if name in ("warm_up", "dropped_layers") else [2 * value or 4]
    return [0.9 if value is None or value < 0.6 else 0.3]


def context(config_type: type[ModelConfig], number: int) -> dict[str, Any]:
    """Small sizes and, except for number 0, random choices and zeros in other settings."""
    values = {key: value for key, value in SMALL.items() if key in config_type.model_fields}
    if number % 2 and "layers" in values:
        values["layers"] = 2
    default = config_type.model_validate(values, context=STORED)
    for name, info in config_type.model_fields.items() if number else ():
        candidates = [getattr(default, name)]
        if get_origin(info.annotation) is Literal or isinstance(candidates[0], bool):
            candidates += alternatives(default, name)
        elif any(isinstance(part, Before) for part in info.metadata):
            candidates += alternatives(default, name)  # off by default, and so are those that depend on it
        elif any(getattr(bound, "ge", None) == 0 for bound in info.metadata):
            candidates.append(0)
        if len(candidates) > 1:  # drawn for each setting separately: a new setting does not change the others
            rng = np.random.default_rng([number, *name.encode()])
            values[info.alias or name] = candidates[rng.integers(len(candidates))]
    return settled(config_type, values)


def trace(name: str, config: ModelConfig, training: TrainingConfig | None = None) -> tuple[str, str]:
    """Two hashes after three steps of each phase: of losses and scores together, and of the scores alone."""
    training = training or TrainingConfig(batch_size=12)
    torch.manual_seed(5)
    model = registry.model_class(name)(config, DATA.num_items, DATA.num_users)
    model.on_fit_start(DATA)
    everything = hashlib.sha256()
    for phase in model.phases():
        examples = phase.examples(DATA)
        everything.update(repr((phase.name, phase.epochs, len(examples))).encode())
        model.on_phase_start(phase.name)
        optimisers = {
            group: torch.optim.Adam(
                parameters,
                lr=model.learning_rates().get(group, training.learning_rate),
                weight_decay=training.weight_decay,
            )
            for group, parameters in model.parameter_groups().items()
        }
        model.train()
        for step in (1, 2, 3):
            model.on_epoch_start(FitContext(DATA, step, lambda: generator(1, Stream.CLUSTERING)))
            rows = generator(1, Stream.ORDER, step).permutation(len(examples))[: training.batch_size]
            batch = phase.collate(examples, rows, generator(1, Stream.VIEWS, step))
            for number, update in enumerate(phase.updates):
                model.requires_grad_(False)
                for parameter in model.parameter_groups()[update.group]:
                    parameter.requires_grad_(True)
                seed_dropout(model, generator(1, Stream.DROPOUT, step, number))
                losses = update.loss(batch, StepContext())
                total = torch.stack([term.weight * term.mean for term in losses.values()]).sum()
                everything.update(
                    repr(
                        (update.group, {key: float(term.mean.detach()) for key, term in losses.items()})
                    ).encode()
                )
                optimisers[update.group].zero_grad()
                total.backward()
                optimisers[update.group].step()
    scores = hashlib.sha256()
    with torch.no_grad():
        for histories in histories_of(model.max_length):
            scores.update(model.eval().scores(histories).numpy().tobytes())
    everything.update(scores.digest())
    return everything.hexdigest(), scores.hexdigest()


def histories_of(max_length: int) -> Iterator[Histories]:
    """Histories of known users, and the same histories for unknown users."""
    rows = [DATA.sequence(user)[-max_length:] for user in range(9)]
    yield Histories.of(Packed.of(rows), np.arange(1, 10))
    yield Histories.of(Packed.of(rows))


@pytest.mark.parametrize("number", CONTEXTS)
@pytest.mark.parametrize("name", TRAINED)
def test_a_setting_moves_something_or_is_refused(name: str, number: int) -> None:
    config_type = registry.model_class(name).config_type
    values = context(config_type, number)
    config = config_type.of_layers(values)
    found = trace(name, config)
    for field, info in config_type.model_fields.items():
        key = info.alias or field
        for other in alternatives(config, field):
            if (key, other) == ("regularizer", "off") and values.get("gamma") == 0:
                continue  # two ways to say the same
            try:
                changed = config_type.of_layers(values, {key: other})
            except NoEffectError:
                assert not config_type.model_validate(values | {key: other}, context=STORED).has_effect(field)
                continue
            assert trace(name, changed)[0] != found[0], f"{key} = {other} moves nothing beside {values}"


@pytest.mark.parametrize("number", CONTEXTS)
@pytest.mark.parametrize("name", TRAINED)
def test_what_is_refused_would_have_moved_nothing(name: str, number: int) -> None:
    """Without dropout: masks drawn for views that do not count would change the other masks."""
    config_type = registry.model_class(name).config_type
    off = {key: 0.0 for key in ("dropout", "attention_dropout") if key in config_type.model_fields}
    values = settled(config_type, context(config_type, number) | off)
    config = config_type.of_layers(values)
    found = trace(name, config)
    for field, info in config_type.model_fields.items():
        key = info.alias or field
        for other in alternatives(config, field):
            forced = config_type.model_validate(values | {key: other}, context=STORED)
            if not forced.has_effect(field):
                assert trace(name, forced)[1] == found[1], f"{key} = {other} moves the scores beside {values}"


@pytest.mark.parametrize("name", TRAINED)
def test_no_dimension_of_a_search_moves_nothing(name: str) -> None:
    known = registry.model_class(name).config_type.model_fields
    sizes = {key: SMALL[key] for key in ("hidden_size", "inner_size", "max_length", "layers") if key in known}
    spaces: list[Any] = []
    for section in section_names(name):
        space = search_space(name, "", section)  # raises on a setting without effect
        if space in spaces:
            continue
        spaces.append(space)
        for key, dimension in space.items():
            ends: Sequence[Any] = (
                dimension.values[:2] if isinstance(dimension, Choices) else (dimension.low, dimension.high)
            )
            recipes = [resolve(name, "", section, sizes | {key: value}) for value in ends]
            one, other = (trace(name, recipe.config, recipe.training) for recipe in recipes)
            assert one[0] != other[0], f"{section}: {key} moves nothing"
