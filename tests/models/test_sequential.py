"""What models with one encoder share; `tests/reference` checks their losses."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mclrec.data.batches import Batch, Histories
from mclrec.data.negatives import UniformNegatives
from mclrec.data.packed import Packed
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError
from mclrec.losses.recommendation import LOSSES, losses_with
from mclrec.models import registry
from mclrec.models.phases import StepContext
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.models.sequential import EncoderConfig, SequentialRecommender
from mclrec.nn.transformer import TransformerEncoder
from mclrec.recipes import resolve

ITEMS = 11
ROWS = [[1, 2, 3, 4, 5, 6, 7], [8, 9], [10, 11, 1], [2, 4, 6, 8, 10, 1, 3, 5, 7, 9], [11]]
SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "heads": 2,
    "inner_size": 16,
    "max_length": 6,
    "dropout": 0,
    "attention_dropout": 0,
}
REGIMES = list(product(["prefixes", "sequences"], ["softmax", "bce"], ["oldest", "newest"]))


def model(**settings: Any) -> SASRec:
    torch.manual_seed(1)
    made = SASRec(SASRecConfig.model_validate(SMALL | settings), ITEMS)
    for parameter in made.parameters():  # the usual initialisation is too small to show a mistake
        torch.nn.init.normal_(parameter, std=0.5)
    return made.double()


def data() -> SequenceData:
    packed = Packed.of(ROWS)
    items, users = Vocabulary(range(ITEMS)), Vocabulary(range(len(ROWS)))
    return SequenceData(packed.items.astype(np.int32), packed.offsets, items, users)


def batch_of(made: SASRec) -> Batch:
    [phase] = made.phases()
    examples = phase.examples(data())
    rng = np.random.default_rng(0)
    return phase.collate(examples, rng.permutation(len(examples))[:12], rng)


def state(made: SASRec, history: list[int]) -> Tensor:
    """Last hidden state of one history, from the padded form of the encoder."""
    states: Tensor = made.encoder(torch.tensor([history]), torch.tensor([len(history)]))
    return states[0]


@pytest.mark.parametrize(("unit", "loss", "positions"), REGIMES)
def test_regime_decides_examples_and_negatives(unit: str, loss: str, positions: str) -> None:
    made = model(unit=unit, loss=loss, positions=positions)
    [phase] = made.phases()
    batch, examples = batch_of(made), phase.examples(data())
    assert examples.at(np.arange(len(examples))).lengths.max() == SMALL["max_length"]
    assert (batch.negatives is None) == (loss == "softmax")
    targets = len(batch) if unit == "prefixes" else len(batch.histories.items)
    assert len(batch.targets) == targets
    assert made.target_states(batch).shape == (targets, SMALL["hidden_size"])
    assert [update.group for update in phase.updates] == ["all"]
    assert (phase.epochs, phase.validate) == (None, True)
    assert isinstance(getattr(phase.collate, "negatives", None), UniformNegatives) == (loss == "bce")


@pytest.mark.parametrize("positions", ["oldest", "newest"])
@pytest.mark.parametrize("lengths", [[1, 2, 6], [4], [5, 1, 3]])
def test_position_that_is_looked_up(positions: str, lengths: list[int]) -> None:
    """The newest item always has position n - 1 ("newest"), or the oldest has position 0 ("oldest")."""
    made, seen = model(positions=positions), []
    made.encoder.norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    rows = [np.arange(1, 1 + length) for length in lengths]
    made.query_vectors(Histories.of(Packed.of(rows)))
    first = (lambda length: SMALL["max_length"] - length) if positions == "newest" else (lambda length: 0)
    assert made.encoder.positions is not None
    items, places = made.encoder.items.weight, made.encoder.positions.weight
    # Inside the encoder the longest history comes first; spare places follow.
    expected = [
        items[1 + t] + places[first(length) + t]
        for length in sorted(lengths, reverse=True)
        for t in range(length)
    ]
    torch.testing.assert_close(seen[0][: sum(lengths)], torch.stack(expected))


@pytest.mark.parametrize("positions", ["oldest", "newest"])
def test_scores_do_not_depend_on_the_rest_of_the_batch(positions: str) -> None:
    made = model(positions=positions)
    rows = [row[-6:] for row in ROWS]
    together = made.scores(Histories.of(Packed.of(rows)))
    alone = torch.cat([made.scores(Histories.of(Packed.of([row]))) for row in rows])
    torch.testing.assert_close(together, alone)
    by_hand = torch.stack([made.encoder.items.weight[: ITEMS + 1] @ state(made, row) for row in rows])
    torch.testing.assert_close(together, by_hand.float())


def test_configuration_reaches_the_encoder() -> None:
    settings = {"max_length": 9, "hidden_size": 12, "layers": 3, "heads": 3, "inner_size": 20}
    rates = {"dropout": 0.1, "attention_dropout": 0.2, "positions": "newest", "norm": "pre"}
    later = {"alpha": 0.3, "frequencies": 4, "feed_forward": "swiglu"}
    assert set(settings | rates | later) == set(EncoderConfig.model_fields)
    made = SASRec(SASRecConfig.model_validate(settings | rates | later), ITEMS)
    encoder = made.encoder
    assert (made.max_length, encoder.max_length, encoder.positions_from) == (9, 9, "newest")
    assert encoder.items.weight.shape == (ITEMS + 2, 12)
    assert encoder.positions is not None
    assert encoder.positions.weight.shape == (9, 12)
    assert len(encoder.blocks) == 3
    assert isinstance(encoder.last_norm, nn.LayerNorm)
    for block in cast("list[Any]", encoder.blocks):
        assert (block.heads, block.up.out_features, block.down.in_features) == (3, 40, 20)
        assert (block.attention_dropout.p, block.dropout.p, encoder.dropout.p) == (0.2, 0.1, 0.1)
        assert (block.alpha, block.filter.kept, block.filter.window) == (0.3, 5, 9)


@pytest.mark.parametrize("unit", ["prefixes", "sequences", "windows"])
@pytest.mark.parametrize("name", ["sasrec", "mclrec", "duorec", "bsarec", "bert4rec"])
def test_a_filter_shows_later_items_only_where_the_last_one_predicts(name: str, unit: str) -> None:
    config_type = registry.model_class(name).config_type
    given = {"unit": unit} if "unit" in config_type.model_fields else {}
    made = registry.model_class(name)(config_type.of_layers(SMALL, given | {"alpha": 0.2}), ITEMS)
    assert isinstance(made.encoder, TransformerEncoder)
    blocks = cast("list[Any]", made.encoder.blocks)
    assert [block.filter.causal for block in blocks] == 2 * [unit != "prefixes" or not given]


@pytest.mark.parametrize(
    "settings", [{"norm": "post"}, {"norm": "pre"}, {"encoder": "gru"}, {"encoder": "hstu"}], ids=str
)
def test_states_have_a_scale_that_is_not_that_of_the_items(settings: dict[str, Any]) -> None:
    """Otherwise a contrast of inner products could shrink states through the item vectors alone."""
    made = registry.model_class("mclrec")(resolve("mclrec", None, None, settings).config, ITEMS)
    encoder = cast("SequentialRecommender", made).encoder
    for name, parameter in encoder.named_parameters():
        if not name.startswith(("items.", "positions.")):
            nn.init.zeros_(parameter)
    states = encoder.eval().encode(torch.tensor([1, 2, 3, 4]), torch.tensor([0, 1, 4]), "all")
    assert (states == states[0]).all()


@pytest.mark.parametrize("encoder", ["gru", "convolution"])
def test_other_encoders_have_no_filter(encoder: str) -> None:
    with pytest.raises(ConfigError, match=f"alpha has no effect with encoder = {encoder}, only with encoder"):
        resolve("mclrec", None, overrides={"encoder": encoder, "alpha": 0.5})
    with pytest.raises(
        ConfigError, match=r"frequencies has no effect with alpha = 0\.0, only with alpha other"
    ):
        resolve("sasrec", None, overrides={"frequencies": 3})


def test_rotary_positions_need_pairs_of_features() -> None:
    sizes = {"hidden_size": 12, "heads": 4, "positions": "rotary"}
    with pytest.raises(
        ConfigError, match="positions = rotary needs heads of an even size: hidden_size = 12 with"
    ):
        resolve("sasrec", None, overrides=sizes)


def test_scores_are_cosines_over_the_temperature() -> None:
    """In ranking and in the exported form."""
    made = model(temperature=0.2)
    rows = [row[-6:] for row in ROWS]
    found = made.scores(Histories.of(Packed.of(rows)))
    for history, scores in zip(rows, found, strict=True):
        hidden = state(made, history)
        for vector, score in zip(made.encoder.items.weight, scores, strict=False):
            cosine = float(torch.cosine_similarity(hidden, vector.detach(), dim=0).detach())
            assert score.item() == pytest.approx(cosine / 0.2, rel=1e-5)
        exported = made.padded_query_vectors(torch.tensor([history]), torch.tensor([len(history)]))
        torch.testing.assert_close(made.items().scores(exported)[0], scores)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_with_a_temperature_lengths_do_not_count(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"samples": 5, "negatives": 3}
    own = {key: value for key, value in few.items() if loss in losses_with(key)}
    made = model(temperature=0.2, unit="sequences", loss=loss, **own)
    batch, weight = batch_of(made), made.encoder.items.weight
    expected, states = made.loss(batch, StepContext())["rec"].sum, made.target_states(batch)
    if loss == "softmax":
        cosines = torch.cosine_similarity(states[:, None], weight[None, : ITEMS + 1], dim=-1)
        by_hand = torch.nn.functional.cross_entropy(cosines / 0.2, batch.targets, reduction="sum")
        torch.testing.assert_close(expected, by_hand)
    longer = states * (0.5 + torch.rand(len(states), 1, dtype=torch.float64))
    monkeypatch.setattr(made, "target_states", lambda _: longer)
    torch.testing.assert_close(made.loss(batch, StepContext())["rec"].sum, expected)
    tables = [made.table_of(weight * factor).weight for factor in (1.0, 3.0)]
    torch.testing.assert_close(*tables)


@pytest.mark.parametrize("unit", ["prefixes", "sequences", "windows"])
@pytest.mark.parametrize("loss", ["softmax", "sampled", "bce"])
def test_repetition_is_learned_apart(unit: str, loss: str) -> None:
    plain, apart = (model(unit=unit, loss=loss, repeat_bias=repeats) for repeats in (False, True))
    apart.load_state_dict(plain.state_dict(), strict=False)
    batch, gradients = batch_of(plain), []
    for made in (plain, apart):
        losses = made.loss(batch, StepContext())
        torch.stack([term.sum / term.count for term in losses.values()]).sum().backward()
        gradients.append(
            {name: value.grad.clone() for name, value in made.named_parameters() if value.grad is not None}
        )
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    assert apart.repeats is not None
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in apart.repeats.parameters())


@pytest.mark.parametrize("unit", ["prefixes", "windows"])
def test_co_occurrence_is_added_to_scores_that_train_without_it(unit: str) -> None:
    plain, counted = (model(unit=unit, co_occurrence=weight) for weight in (0.0, 2.0))
    counted.load_state_dict(plain.state_dict(), strict=False)
    counted.on_fit_start(data())
    batch = batch_of(plain)
    losses = [made.loss(batch, StepContext())["rec"].sum for made in (plain, counted)]
    assert torch.equal(*losses)
    histories = batch.histories
    assert counted.co_occurrence is not None
    added = counted.co_occurrence(histories.items, histories.offsets)
    assert added.values.gt(0).any()
    torch.testing.assert_close(
        counted.scores(histories), added.add_to(plain.scores(histories)), rtol=1e-5, atol=1e-5
    )
