"""Ids of every Python and library type: a lookup is the inverse of what was loaded, or is refused."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic_core import to_json
from tests.attack.inputs import Attack
from tests.inference.onnx_export import save_run

from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import MclrecError
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.model import Model
from mclrec.serving.rest.schemas import RecommendRequest

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning")]


class Coin(enum.IntEnum):
    """An integer with a name."""

    HEADS = 1


class Side(str, enum.Enum):  # noqa: UP042 - its str() is its name, not its value
    """A string with a name."""

    LEFT = "1"


EDGES = [0, 1, -1, 5, 7, 10, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**30]
TEXTS = [
    "",
    " ",
    "7",
    "07",
    "+7",
    " 7",
    "7 ",
    "1_0",
    "-0",
    "7.0",
    "1e1",
    "\u0667",
    "\uff17",
    "0x7",
    "True",
    "None",
]
TEXTS += [
    "nan",
    "inf",
    "é",
    "e\u0301",
    "\x00",
    "\n",
    "a\tb",
    "\u200b",
    "'",
    '"',
    "<b>",
    "日本",
    "\U0001f600",
    "9" * 30,
]
STRANGE: list[Any] = [
    None,
    True,
    False,
    5.0,
    5.7,
    float("inf"),
    float("nan"),
    1j,
    b"7",
    bytearray(b"7"),
    [7],
    (7,),
]
STRANGE += [
    {7: 7},
    {7},
    object(),
    int,
    len,
    decimal.Decimal(7),
    fractions.Fraction(7),
    dt.date(2020, 1, 1),
]
STRANGE += [
    np.float64(5.0),
    np.float32(7),
    np.bool_(True),
    np.array(7),
    np.array([7]),
    np.datetime64("2020-01-01"),
]
STRANGE += [np.void(b"7"), np.bytes_(b"7"), pa.scalar(7), pa.scalar("7"), "\ud800", 10**5000, -(10**5000)]
KINDS: list[Callable[[int], Any]] = [
    int,
    str,
    np.int64,
    np.uint64,
    np.int32,
    np.int8,
    np.str_,
    Coin,
    float,
    bool,
]


def a_catalogue(rng: np.random.Generator) -> list[OutsideId]:
    """Ids that are integers, strings or both, distinct as text."""
    some = [*rng.choice(EDGES, 4), *rng.integers(-20, 20, 4)]
    ids: list[OutsideId] = [int(value) for value in some]
    if rng.random() < 0.5:
        ids = [*map(str, rng.choice(TEXTS, 8)), *(ids if rng.random() < 0.3 else [])]
    return list({str(value): value for value in ids}.values())


def an_outside(rng: np.random.Generator, ids: list[OutsideId]) -> Any:
    """One of the catalogue's ids converted to another type, or an arbitrary value."""
    kind = rng.integers(4)
    if kind == 0:
        return STRANGE[rng.integers(len(STRANGE))]
    if kind == 1:
        return TEXTS[rng.integers(len(TEXTS))]
    value = ids[rng.integers(len(ids))] if kind == 2 else EDGES[rng.integers(len(EDGES))]
    try:
        return KINDS[rng.integers(len(KINDS))](value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return Side.LEFT if rng.random() < 0.5 else value


def named_by(outside: Any, ids: list[OutsideId]) -> int | None:
    """Expected result of a lookup: the position of the same id, 0 if unknown, None for a value that is not an id."""
    if isinstance(outside, str):
        text = outside.value if isinstance(outside, enum.Enum) else str(outside)
    elif isinstance(outside, int | np.integer) and not isinstance(outside, bool):
        if abs(int(outside)) > 10**1000:
            return 0
        text = str(int(outside))
    else:
        return None
    return {str(value): place for place, value in enumerate(ids, start=1)}.get(text, 0)


def check(refusal: MclrecError) -> None:
    """Check that a refusal is short."""
    assert len(str(refusal)) <= 300
    assert str(refusal).count("\n") <= 1


def test_look_ups(attack: Attack) -> None:
    for rng in attack.inputs():
        ids = a_catalogue(rng)
        vocabulary = Vocabulary(ids)
        if rng.random() < 0.3:
            vocabulary = Vocabulary.from_arrow(vocabulary.to_arrow())
        assert [vocabulary[vocabulary.dense(value)] for value in ids] == list(vocabulary)
        outside = an_outside(rng, ids)
        expected = named_by(outside, ids)
        for look_up in (vocabulary.dense, lambda value, all_=vocabulary.dense_all: all_([value])[0]):
            try:
                found = int(look_up(outside))
            except MclrecError as refusal:
                found = None
                check(refusal)
            assert found == expected, outside
        assert Catalogue(vocabulary, np.ones(len(ids) + 1, dtype=np.int64)).unknown_item(outside)


def test_what_becomes_a_vocabulary_comes_back(attack: Attack) -> None:
    for rng in attack.inputs():
        ids = [an_outside(rng, [7, "7"]) for _ in range(rng.integers(0, 6))]
        try:
            vocabulary = Vocabulary(ids)
            found = vocabulary.dense_all(ids).tolist()
        except MclrecError as refusal:
            check(refusal)
            continue
        assert found == list(range(1, len(ids) + 1))


def test_json_and_back(attack: Attack) -> None:
    """An id that the service writes is accepted back as the same id, as a number and as text."""
    for rng in attack.inputs():
        ids = [value for value in a_catalogue(rng) if len(str(value)) < 500]
        vocabulary = Vocabulary(ids)
        stored = list(vocabulary)
        for sent in (stored, list(map(str, stored))):
            body = to_json({"history": sent})
            assert json.loads(body) == {"history": sent}
            history = RecommendRequest.model_validate_json(body).history
            assert vocabulary.dense_all(history).tolist() == list(range(1, len(ids) + 1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with user vectors."""
    folder: Path = tmp_path_factory.mktemp("ids")
    return Model.load(save_run(folder, "bpr"), engine="torch")


def test_anything_as_an_id_of_the_python_interface(attack: Attack, model: Model) -> None:
    names: list[OutsideId] = [*model.items, "user 001", "item"]

    def some(rng: np.random.Generator) -> Any:
        ids = [an_outside(rng, names) for _ in range(rng.integers(0, 3))]
        return ids if rng.random() < 0.9 else an_outside(rng, names)

    for rng in attack.inputs():
        options = {name: some(rng) for name in ("exclude", "allow") if rng.random() < 0.3}
        k = an_outside(rng, [3]) if rng.random() < 0.2 else 3
        user = an_outside(rng, names) if rng.random() < 0.3 else None
        calls: list[Callable[[], Any]] = [
            lambda: model.recommend(some(rng), k, user=user, **options),  # noqa: B023 - called at once
            lambda: model.recommend_batch([some(rng)], k, users=some(rng), **options),  # noqa: B023
            lambda: model.similar(an_outside(rng, names), k, **options),  # noqa: B023
            lambda: model.explain(some(rng), some(rng), user=user),  # noqa: B023
            lambda: model.vectors([some(rng)], users=some(rng)),  # noqa: B023
            lambda: model.item_vectors(some(rng)),  # noqa: B023
        ]
        try:
            calls[rng.integers(len(calls))]()
        except MclrecError as refusal:
            check(refusal)
