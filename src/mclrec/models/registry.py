"""Which models there are. Listing them imports none: a model's file is imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from mclrec.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from mclrec.models.base import Recommender

__all__ = ["Entry", "entry", "model_class", "names", "register"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry.

    Attributes:
        location: ``module:Class``.
        title: as papers write it.
        year: of publication.
        paper: authors, title, venue.
        family: "U" (prefixes, softmax), "F" (sequences, one negative) or "trivial".
        regimes: what it can be trained by.
    """

    location: str
    title: str
    year: int
    paper: str
    family: Literal["U", "F", "trivial"]
    regimes: tuple[str, ...]


_MODELS: dict[str, Entry] = {}


def register(name: str, entry: Entry) -> None:
    """Add a model, one of ours or of yours.

    Raises:
        ConfigError: the name is taken by another model.
    """
    if _MODELS.get(name, entry) != entry:
        raise ConfigError(f"a model named {name!r} is registered already: {_MODELS[name].location}")
    _MODELS[name] = entry


def names() -> list[str]:
    """Names of all models, in the order of registration."""
    return list(_MODELS)


def entry(name: str) -> Entry:
    """The registry's line of one model.

    Raises:
        ConfigError: no such model; the nearest name is suggested.
    """
    if name not in _MODELS:
        raise ConfigError(unknown_name("model", name, _MODELS))
    return _MODELS[name]


def model_class(name: str) -> type[Recommender]:
    """The class of one model; imports its file."""
    module, _, attribute = entry(name).location.partition(":")
    found: type[Recommender] = getattr(import_module(module), attribute)
    return found


register(
    "mclrec",
    Entry(
        "mclrec.models.mclrec:MCLRec",
        "MCLRec",
        2023,
        "Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation, SIGIR 2023",
        "U",
        ("prefixes/softmax", "sequences/softmax", "sequences/bce"),
    ),
)
register(
    "sasrec",
    Entry(
        "mclrec.models.sasrec:SASRec",
        "SASRec",
        2018,
        "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018",
        "F",
        ("prefixes/softmax", "sequences/softmax", "sequences/bce"),
    ),
)
register(
    "popularity",
    Entry(
        "mclrec.models.trivial:Popularity", "Popularity", 0, "items by how often they occur", "trivial", ()
    ),
)
register(
    "recency",
    Entry("mclrec.models.trivial:Recency", "Recency", 0, "the user's own latest items", "trivial", ()),
)
register(
    "markov",
    Entry(
        "mclrec.models.trivial:Markov", "Markov", 0, "what followed the last item most often", "trivial", ()
    ),
)
