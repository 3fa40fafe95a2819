"""Load a model directory or an export into a runtime that answers queries. Torch is imported only if it answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mclrec.arguments import check_choice
from mclrec.data.packed import IntArray
from mclrec.data.vocabulary import OutsideId, Vocabulary, plain_id
from mclrec.errors import ConfigError, MclrecWarning, ModelFileError
from mclrec.files import sha256_file
from mclrec.inference.catalogue import Catalogue
from mclrec.inference.compiled_rules import CompiledRules, RuleBook
from mclrec.inference.engine import Engine, Ranker, VectorEngine
from mclrec.inference.index import INDEX, IndexRanker, check_kind, load_index
from mclrec.inference.item_facts import read_item_facts
from mclrec.inference.onnx_engine import (
    ENCODER,
    MANIFEST,
    RANKING,
    Export,
    OnnxRanker,
    is_export,
    onnx_encoder,
    open_session,
    read_export,
)
from mclrec.inference.queries import (
    NO_ITEMS,
    DenseQuery,
    Query,
    Ranked,
    Recommendation,
    Recommendations,
)
from mclrec.inference.titles import read_titles
from mclrec.models.directory import METRICS, TENSORS, read_config, read_metrics, strangers_of

__all__ = ["DecodedQuery", "EngineName", "Runtime", "load_runtime", "model_card", "model_version"]

EngineName = Literal["auto", "torch", "onnx"]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedQuery:
    """A query in dense ids of one model, and which of its ids the model does not know.

    Attributes:
        query: for the engine.
        unknown: distinct items of the history that the model does not know.
        unknown_user: whether the query names a user for whom the model has no vector.
    """

    query: DenseQuery
    unknown: tuple[OutsideId, ...] = ()
    unknown_user: bool = False


@dataclass(frozen=True)
class Runtime:
    """A model that is ready to answer; shared by Python, bulk files and HTTP.

    Attributes:
        engine: takes dense ids, returns dense ids and scores.
        catalogue: maps dense ids to outside ids and back.
        card: description of the model: name, version, configuration, data, protocol, metrics, sizes, engine, and how
            many of the newest items of a history it reads.
        version: name and a part of the checksum of the weights.
        users: outside ids of the users of its data; None for models without users.
        strangers: dense ids of those users that training has not seen; they are treated as unknown.
        checksum: of the weights, and the kind of index; distinguishes unfinished work from another model's.
        rules: business rules by columns of items.
    """

    engine: Engine
    catalogue: Catalogue
    card: Mapping[str, Any]
    version: str
    users: Vocabulary | None = None
    checksum: str = ""
    strangers: frozenset[int] = frozenset()
    rules: RuleBook = field(default_factory=RuleBook)

    def decode(self, queries: Iterable[Query]) -> list[DecodedQuery]:
        """Decode queries: look up their ids, and compile their rules.

        Unknown items of a history are skipped and reported; an unknown user is reported, and the answer depends on the
        history alone; unknown ids in ``exclude`` and ``allow`` are ignored.

        Raises:
            ConfigError: rules are malformed, or name a column or value that does not exist.
        """
        # Queries of one caller often share lists, and then share the arrays. Lists are kept alive: id() stays unique.
        lists: dict[int, tuple[Sequence[OutsideId], IntArray]] = {}

        def known(items: Sequence[OutsideId]) -> IntArray:
            if isinstance(items, list | tuple) and not items:
                return NO_ITEMS
            if id(items) not in lists:
                lists[id(items)] = items, self.catalogue.items.dense_known(items)
            return lists[id(items)][1]

        queries = list(queries)
        decoded = [self._decode(query, known) for query in queries]
        if any(query.has_rules for query in queries):
            compiled = (self.rules.compiled(one.filter, one.boost, one.diversify) for one in queries)
            return _ruled(decoded, list(compiled))
        return decoded

    def _decode(self, query: Query, known: Callable[[Sequence[OutsideId]], IntArray]) -> DecodedQuery:
        history = self.catalogue.items.dense_all(query.history)
        unknown: tuple[OutsideId, ...] = ()
        if not history.all():
            unknown = _distinct(item for item, dense in zip(query.history, history, strict=True) if not dense)
            history = history[history > 0]
        user = self.dense_user(query.user)
        dense = DenseQuery(
            history,
            min(int(query.k), len(self.catalogue)),
            user,
            known(query.exclude),
            None if query.allow is None else known(query.allow),
            query.include_seen,
        )
        return DecodedQuery(dense, unknown, query.user is not None and not user)

    def encode(self, decoded: Sequence[DecodedQuery], ranked: Sequence[Ranked]) -> list[Recommendations]:
        """Convert the engine's answers to decoded queries to outside ids."""
        # One look-up for all lists; scores come first in zip, which then never consumes an id too many.
        ids = iter(self.catalogue.outside_all(np.concatenate([NO_ITEMS, *(one.items for one in ranked)])))
        return [
            Recommendations(
                [
                    Recommendation(item, score)
                    for score, item in zip(found.scores.tolist(), ids, strict=False)
                ],
                unknown=one.unknown,
                unknown_user=one.unknown_user,
                popular=found.popular,
                text_ids=not self.catalogue.items.integers,
            )
            for one, found in zip(decoded, ranked, strict=True)
        ]

    def answer(self, queries: Iterable[Query]) -> list[Recommendations]:
        """Answer all queries in one batch, in order."""
        decoded = self.decode(queries)
        return self.encode(decoded, self.engine.answer([one.query for one in decoded]))

    def similar(self, item: int, query: Query) -> Recommendations:
        """Items by cosine similarity of their vectors to that of ``item``, a dense id; see `Engine.similar`."""
        decoded = self.decode([query])
        return self.encode(decoded, [self.engine.similar(item, decoded[0].query)])[0]

    def with_titles(self, titles: Sequence[str]) -> Runtime:
        """Copy with titles of the items; see `mclrec.inference.titles.read_titles`."""
        return replace(self, catalogue=replace(self.catalogue, titles=titles))

    def told_of_items(self, titles: Path | None, items: Path | None) -> Runtime:
        """Copy with titles, and with a table of items, to which rules can refer.

        Args:
            titles: file of titles (`mclrec.inference.titles.read_titles`); those of the table if None.
            items: the table (`mclrec.inference.item_facts.read_item_facts`); None for none.

        Raises:
            DataError: one of them cannot be read, or contains none of the model's items.
        """
        known, runtime = self.catalogue.items, self
        if items is not None:
            facts = read_item_facts(items, known)
            runtime = replace(runtime.with_titles(facts.titles), rules=RuleBook(facts))
        return runtime if titles is None else runtime.with_titles(read_titles(titles, known))

    def dense_user(self, user: OutsideId | None) -> int:
        """Dense id of a user, 0 if it is None, unknown or without a trained vector."""
        dense = 0 if user is None or self.users is None else self.users.dense(user)
        return 0 if dense in self.strangers else dense


def _ruled(decoded: Sequence[DecodedQuery], rules: Sequence[CompiledRules | None]) -> list[DecodedQuery]:
    """Apply rules to decoded queries; queries that share lists and rules share the resulting arrays."""
    made: dict[tuple[int, int, int], tuple[IntArray, IntArray | None]] = {}
    found = []
    for one, rule in zip(decoded, rules, strict=True):
        if rule is not None:
            query = one.query
            key = (id(query.excluded), id(query.allowed), id(rule))
            if key not in made:
                made[key] = rule.narrow(query.excluded, query.allowed)
            excluded, allowed = made[key]
            one = replace(one, query=replace(query, excluded=excluded, allowed=allowed, rules=rule.dense))
        found.append(one)
    return found


def _distinct(items: Iterable[OutsideId]) -> tuple[OutsideId, ...]:
    """The distinct ids, in order of first occurrence."""
    return tuple(dict.fromkeys(map(plain_id, items)))


def load_runtime(
    directory: Path,
    *,
    engine: EngineName = "auto",
    index: str | None = None,
    device: str = "cpu",
    threads: int = 1,
) -> Runtime:
    """Load a model directory, or an export on its own.

    Args:
        directory: of a run, or of an export.
        engine: torch, or onnxruntime, which needs an export of exactly these weights; ``auto`` takes onnxruntime if
            there is an export, unless CUDA is requested, and torch, with a `MclrecWarning`, if its weights differ.
        index: kind of index over the items; if None, queries are compared with all items.
        device: auto, cpu or cuda; onnxruntime computes on the CPU.
        threads: number that one call of onnxruntime may use; 0 for as many as there are cores.

    Raises:
        ModelFileError: the directory is missing, damaged, of another format, or does not hold what is requested.
        ConfigError: the device or index does not exist.
    """
    directory = _one_directory(directory)
    check_choice("engine", engine, get_args(EngineName))
    check_choice("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and engine != "torch":
        if engine == "onnx" or is_export(directory):
            raise ModelFileError(
                "onnxruntime computes on the CPU here: leave device out, or use torch and the run's own directory"
            )
        engine = "torch"  # `device = auto` is no reason to import torch where an export can answer
    export = _fitting(directory, engine)
    if export is None:
        if index is not None:
            if engine == "torch":
                raise ConfigError(
                    "an index belongs to an export, which answers on the CPU without torch: leave out engine torch "
                    "and device cuda, or the index"
                )
            raise ModelFileError(f"{directory}: no index: {_build(directory, index)}")
        return _load_torch_runtime(directory, device)
    encoder = onnx_encoder(export.directory / ENCODER, threads)
    ranker: Ranker
    if index is None and export.exact.gains.near is not None:
        ranker = (
            export.exact
        )  # gets every query: a session would hold a second copy of the vectors for nothing
    elif index is None:
        ranker = OnnxRanker(open_session(export.directory / RANKING, threads), export.exact)
    else:
        ranker = _load_index_ranker(export, index, threads)
    return Runtime(
        VectorEngine(encoder, export.exact, export.counts, export.max_length, ranker),
        Catalogue(export.items, export.counts),
        {**export.card, "engine": "onnx", "reads": export.max_length},
        str(export.card["version"]),
        export.users,
        export.weights if index is None else f"{export.weights} {index}",
        export.strangers,
    )


def _one_directory(directory: Path) -> Path:
    """The directory that a link points to now: a link that is switched meanwhile would mix files of two models."""
    there = directory.resolve()
    return directory if there == directory.absolute() else there


def model_version(name: str, weights: str) -> str:
    """Version of a model: its name and the first twelve digits of the checksum of its weights."""
    return f"{name}-{weights[:12]}"


def model_card(directory: Path, version: str) -> dict[str, Any]:
    """Describe a run's model as plain JSON: name, version, configuration, data, date, protocols, metrics and sizes.

    Raises:
        ModelFileError: ``config.json`` or ``metrics.json`` is damaged.
    """
    info, path = read_config(directory), directory / METRICS
    record = read_metrics(directory) if path.exists() else {}
    try:
        results = record.get("results", {}).get("test", {})
        protocol = {label: result["protocol"]["description"] for label, result in results.items()}
        metrics = {label: result["metrics"] for label, result in results.items()}
        targets = {label: result["num_targets"] for label, result in results.items()}
    except (AttributeError, KeyError, TypeError):
        raise ModelFileError(f"{path}: not written by mclrec") from None
    return {
        "name": info["model"],
        "version": version,
        "items": info["num_items"],
        "users": info["num_users"],
        "config": info["config"],
        **{key: info.get(key) for key in ("data", "split", "seed", "versions")},
        "trained": record.get("ended"),
        "epochs": record.get("epochs"),
        "protocol": protocol,
        "targets": targets,
        "metrics": metrics,
        **({"measured_by": measured} if (measured := info.get("measured_by")) else {}),
    }


def _load_index_ranker(export: Export, kind: str, threads: int) -> IndexRanker:
    """Load the index of an export.

    Raises:
        ConfigError: the kind does not exist.
        ModelFileError: the export has no index, or it is damaged.
    """
    check_kind(kind)
    if export.index is None or INDEX not in export.files:
        raise ModelFileError(f"{export.directory}: no index: {_build('RUN', kind)}")
    return load_index(export.directory / INDEX, export.exact, int(export.index["probes"]), threads)


def _build(run: Path | str, kind: str) -> str:
    return f"build one: mclrec export {run} --format onnx --index {kind}"


def _load_torch_runtime(directory: Path, device: str) -> Runtime:
    from mclrec.inference.torch_engine import torch_engine
    from mclrec.models.storage import load_model, resolve_device

    place = resolve_device(device)
    loaded, weights = load_model(directory, place), sha256_file(directory / TENSORS, ModelFileError)
    card = model_card(directory, model_version(loaded.name, weights))
    return Runtime(
        torch_engine(loaded, place),
        Catalogue(loaded.items, loaded.counts),
        {**card, "engine": "torch", "reads": loaded.model.reads},
        str(card["version"]),
        loaded.users,
        weights,
        strangers_of(loaded.model.trained_users()),
    )


def _fitting(directory: Path, engine: str) -> Export | None:
    """Choose the export that answers; None for torch.

    Raises:
        ModelFileError: the export is damaged, onnxruntime is requested without an export of these weights, or torch is
            requested for an export on its own.
    """
    if is_export(directory):
        if engine == "torch":
            raise ModelFileError(f"{directory}: an export; torch needs the run's own directory")
        return read_export(directory)
    if engine == "torch":
        return None
    read_config(directory)  # raises an error if the directory is not a run's
    place = directory / "onnx"
    if engine == "auto" and not (place / MANIFEST).exists():
        return None
    renew = f"mclrec export {directory} --format onnx"
    if not (place / MANIFEST).exists():
        raise ModelFileError(f"{directory}: has no export to ONNX; make one: {renew}")
    export = read_export(place)
    if export.weights == sha256_file(directory / TENSORS, ModelFileError):
        return export
    other = f"{place}: made from different weights than the model has now; renew it: {renew}"
    if engine == "onnx":
        raise ModelFileError(other)
    warnings.warn(f"{other}; torch answers instead", MclrecWarning, stacklevel=3)
    return None
