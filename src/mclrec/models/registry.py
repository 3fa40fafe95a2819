"""Registry of models. Listing models imports none of them: a model's file is imported when the model is used.

Register a model of your own with `register`. An installed package adds one by an entry point of the group
``mclrec.models``, which has the model's name and refers to a module that registers the model on import.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from mclrec.errors import ConfigError, unknown_name
from mclrec.extras import require
from mclrec.plugins import Plugins
from mclrec.records import Records

if TYPE_CHECKING:
    from mclrec.models.base import Recommender
    from mclrec.models.model_config import ModelConfig

__all__ = [
    "Entry",
    "ModelSummary",
    "entries",
    "entry",
    "model_class",
    "names",
    "register",
    "require_extra",
    "summaries",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """Registry entry of a model.

    Attributes:
        location: ``module:Class``.
        title: name as written in papers.
        year: of publication; 0 for none.
        paper: authors, title, venue; a description if there is no paper.
        family: "U" (prefixes, softmax), "F" (sequences, one negative), "closed form" (from a paper, without training in
            epochs) or "trivial".
        regimes: combinations ``examples/loss`` that it can be trained with.
    """

    location: str
    title: str
    year: int
    paper: str
    family: Literal["U", "F", "closed form", "trivial"]
    regimes: tuple[str, ...]

    @property
    def only_counts(self) -> bool:
        """Whether it is not trained in epochs: everything is counted, or solved for, once."""
        return self.family in ("closed form", "trivial")


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model in the list of models: its name and the contents of its registry entry."""

    name: str
    title: str
    year: int | None
    family: str
    regimes: tuple[str, ...]
    paper: str


_MODELS: dict[str, Entry] = {}
_PLUGINS = Plugins("mclrec.models", "model", lambda: _MODELS)


def register(name: str, entry: Entry) -> None:
    """Register a model under a name, which Python and the command line then accept.

    Raises:
        ConfigError: the name is taken by another model.
    """
    if _MODELS.get(name, entry) != entry:
        raise ConfigError(f"a model named {name!r} is registered already: {_MODELS[name].location}")
    _MODELS[name] = entry


def names() -> list[str]:
    """Names of all models: ours first, then those of installed packages, which are not imported for this."""
    return _PLUGINS.names()


def entries() -> dict[str, Entry]:
    """All entries by name; a package that cannot be imported is left out with a warning."""
    return {name: _MODELS[name] for name in _PLUGINS.load_all()}


def summaries() -> Records[ModelSummary]:
    """All models as a list that prints as a table; a package that cannot be imported is left out with a warning."""
    return Records(
        [
            ModelSummary(name, found.title, found.year or None, found.family, found.regimes, found.paper)
            for name, found in entries().items()
        ],
        ("name", "year", "family", "regimes", "paper"),
    )


def entry(name: str) -> Entry:
    """Return the registry entry of one model.

    Raises:
        ConfigError: no such model (the nearest name is suggested), or its package cannot be imported.
    """
    if name not in _MODELS:
        _PLUGINS.load(name)
    if name not in _MODELS:
        raise ConfigError(unknown_name("model", name, names()))
    return _MODELS[name]


def model_class(name: str) -> type[Recommender]:
    """Return the class of one model; imports its file."""
    module, _, attribute = entry(name).location.partition(":")
    found: type[Recommender] = getattr(import_module(module), attribute)
    return found


def require_extra(name: str, config: ModelConfig) -> None:
    """Check that the optional feature for training a model with a configuration, if any, is installed.

    Raises:
        ConfigError: it is not.
    """
    extra = model_class(name).extra_of_training(config)
    if extra is not None:
        require(extra)


_SEQUENTIAL = tuple(
    f"{unit}/{loss}"
    for unit in ("prefixes", "sequences", "windows")
    for loss in ("softmax", "sampled", "gbce", "bce", "bpr-max", "top1-max")
)
"""Regimes of the models that have one encoder and one item table."""


register(
    "mclrec",
    Entry(
        "mclrec.models.mclrec:MCLRec",
        "MCLRec",
        2023,
        "Qin et al., Meta-optimized Contrastive Learning for Sequential Recommendation, SIGIR 2023",
        "U",
        _SEQUENTIAL,
    ),
)
register(
    "bpr",
    Entry(
        "mclrec.models.bpr:BPR",
        "BPR",
        2009,
        "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009",
        "F",
        ("interactions/bpr",),
    ),
)
register(
    "gru4rec",
    Entry(
        "mclrec.models.gru4rec:GRU4Rec",
        "GRU4Rec",
        2016,
        "Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "caser",
    Entry(
        "mclrec.models.caser:Caser",
        "Caser",
        2018,
        "Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM 2018",
        "F",
        ("windows/bce",),
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
        _SEQUENTIAL,
    ),
)
register(
    "bert4rec",
    Entry(
        "mclrec.models.bert4rec:BERT4Rec",
        "BERT4Rec",
        2019,
        "Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations, CIKM 2019",
        "F",
        ("cloze/softmax",),
    ),
)
register(
    "s3rec",
    Entry(
        "mclrec.models.s3rec:S3Rec",
        "S3-Rec",
        2020,
        "Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation, CIKM 2020 (MIP only)",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "cl4srec",
    Entry(
        "mclrec.models.cl4srec:CL4SRec",
        "CL4SRec",
        2022,
        "Xie et al., Contrastive Learning for Sequential Recommendation, ICDE 2022",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "duorec",
    Entry(
        "mclrec.models.duorec:DuoRec",
        "DuoRec",
        2022,
        "Qiu et al., Contrastive Learning for Representation Degeneration Problem, WSDM 2022",
        "U",
        _SEQUENTIAL,
    ),
)
register(
    "coserec",
    Entry(
        "mclrec.models.coserec:CoSeRec",
        "CoSeRec",
        2021,
        "Liu et al., Contrastive Self-supervised Sequential Recommendation with Robust Augmentation, 2021",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "iclrec",
    Entry(
        "mclrec.models.iclrec:ICLRec",
        "ICLRec",
        2022,
        "Chen et al., Intent Contrastive Learning for Sequential Recommendation, WWW 2022",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "lma4rec",
    Entry(
        "mclrec.models.lma4rec:LMA4Rec",
        "LMA4Rec",
        2022,
        "Hao et al., Learnable Model Augmentation Self-Supervised Learning for Sequential Recommendation, 2022",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "srma",
    Entry(
        "mclrec.models.srma:SRMA",
        "SRMA",
        2022,
        "Liu et al., Improving Contrastive Learning with Model Augmentation, 2022",
        "F",
        _SEQUENTIAL,
    ),
)
register(
    "bsarec",
    Entry(
        "mclrec.models.bsarec:BSARec",
        "BSARec",
        2024,
        "Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention, AAAI 2024",
        "U",
        _SEQUENTIAL,
    ),
)
register(
    "hstu",
    Entry(
        "mclrec.models.hstu:HSTU",
        "HSTU",
        2024,
        "Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative "
        "Recommendations, ICML 2024 (items only)",
        "F",
        _SEQUENTIAL,
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
    "frequency",
    Entry(
        "mclrec.models.trivial:Frequency",
        "Frequency",
        0,
        "the user's own items by how often they occur",
        "trivial",
        (),
    ),
)
register(
    "markov",
    Entry(
        "mclrec.models.trivial:Markov", "Markov", 0, "what followed the last item most often", "trivial", ()
    ),
)
register(
    "itemknn",
    Entry(
        "mclrec.models.itemknn:ItemKNN",
        "ItemKNN",
        2004,
        "Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, ACM TOIS 2004",
        "closed form",
        (),
    ),
)
register(
    "cooccurrence",
    Entry(
        "mclrec.models.cooccurrence:Cooccurrence",
        "Co-occurrence",
        0,
        "what others had soon after the items of the history: only what `co_occurrence` adds to other models",
        "trivial",
        (),
    ),
)
register(
    "ease",
    Entry(
        "mclrec.models.ease:EASE",
        "EASE",
        2019,
        "Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019",
        "closed form",
        (),
    ),
)
