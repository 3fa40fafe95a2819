"""`mclrec.Model`: a saved model in Python, with outside ids as input and output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mclrec.arguments import check_flag, path_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.packed import Packed
from mclrec.data.vocabulary import OutsideId, Vocabulary, id_list
from mclrec.errors import EvaluationError
from mclrec.inference.asked import (
    check_history,
    check_k,
    check_query,
    queries_of,
    told_lists,
    warn_of,
    warn_of_bulk,
    warn_of_reasons,
)
from mclrec.inference.bulk import BulkOptions, check_format, check_out, recommend_users, users_of
from mclrec.inference.explain import LeaveOneOut
from mclrec.inference.published_models import model_directory
from mclrec.inference.queries import Explanation, Query, RecommendationBatch, Recommendations
from mclrec.inference.runtime import EngineName, Runtime, load_runtime
from mclrec.inference.top_k import FloatArray

if TYPE_CHECKING:
    from mclrec.data.columns import Columns
    from mclrec.data.origin import Reading

__all__ = ["Model"]

_QUERIES = 4096
"""Queries of an iterator that are answered in one batch."""


class Model:
    """A trained model that recommends items. It does not change after loading, so threads may share it.

    Items of a history that the model does not know are skipped, with a `MclrecWarning`. A history without a known item
    gets the popular items, with a `MclrecWarning`. Of a long history the model reads only the newest items, but all of
    its items count as seen. Unknown users are answered from their history alone. Answers report all of this in their
    attributes, see `Recommendations`.

    Args:
        runtime: answers the queries; `Model.load` makes one.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @classmethod
    @refusals_as_ours()
    def load(
        cls,
        path: str | Path,
        device: str = "cpu",
        *,
        engine: EngineName = "auto",
        index: str | None = None,
        titles: str | Path | None = None,
        items: str | Path | None = None,
    ) -> Model:
        """Load a model directory, or an export to ONNX on its own.

        Args:
            path: directory of a run, or of an export; or the name of a published model, see
                `mclrec.inference.published_models`.
            device: auto, cpu or cuda.
            engine: torch, or onnx for the run's export in onnxruntime; ``auto`` takes the export if there is one of
                exactly these weights, unless CUDA is requested.
            index: kind of approximate index in the export; if None, queries are compared with all items.
            titles: file of item titles, see `title`: .csv, .tsv or .parquet with the id and the title of an item
                in each row.
            items: table of items, .csv, .tsv or .parquet: ids in the first column, then columns with any names, to
                which ``filter``, ``boost`` and ``diversify`` of `recommend` refer; one called title holds titles.

        Raises:
            DataError: titles or items cannot be read, or contain none of the model's items.
            ModelFileError: the model is missing, damaged or of another format, or it cannot be downloaded.
            ConfigError: the device or index does not exist.
        """
        runtime = load_runtime(model_directory(path), engine=engine, index=index, device=device, threads=0)
        places = (
            None if given is None else path_of(name, given)
            for name, given in (("titles", titles), ("items", items))
        )
        return cls(runtime.told_of_items(*places))

    @classmethod
    def from_pretrained(cls, repository: str, revision: str | None = None, **options: Any) -> Model:
        """Download and load a model that `mclrec.push_to_hub` has uploaded; ``options`` are those of `load`."""
        return cls.load(import_module("mclrec.inference.hub").download_model(repository, revision), **options)

    @property
    def name(self) -> str:
        """Name of the model in the registry."""
        return str(self.info["name"])

    @property
    def info(self) -> Mapping[str, Any]:
        """Description of the model: name, version, configuration, data, seed, protocol, metrics, sizes, engine."""
        return self._runtime.card

    @property
    def items(self) -> Vocabulary:
        """Outside ids of the items, in the order of dense ids."""
        return self._runtime.catalogue.items

    def title(self, item: OutsideId) -> str | None:
        """Title of an item; None if `load` was given no title for it, or no titles at all."""
        catalogue = self._runtime.catalogue
        dense = catalogue.dense(item)
        return catalogue.titles[dense] or None if dense and catalogue.titles else None

    @property
    def users(self) -> Vocabulary | None:
        """Outside ids of the users that the model has vectors for; None for models without user vectors."""
        return self._runtime.users

    def recommend(
        self,
        history: Sequence[OutsideId] = (),
        k: int = 10,
        *,
        user: OutsideId | None = None,
        exclude: Sequence[OutsideId] = (),
        allow: Sequence[OutsideId] | None = None,
        include_seen: bool = False,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        boost: Sequence[Mapping[str, Any]] | None = None,
        diversify: Mapping[str, int] | None = None,
    ) -> Recommendations:
        """Recommend the k best next items after a history.

        Args:
            history: outside item ids, oldest first.
            k: length of the list; it is shorter where fewer items are left.
            user: outside id, for models with user vectors.
            exclude: items that may not be recommended.
            allow: the only items that may be recommended; None for all.
            include_seen: whether items of the history may be recommended.
            filter: conditions on items that may be recommended, on columns of the table that `load` was given:
                ``{"category": ["dairy"], "available": True, "price": {"max": 10}}``; see `mclrec.inference.rules`.
            boost: changes to scores: ``[{"where": {"brand": "own"}, "factor": 1.5}]``, or ``add``.
            diversify: ``{"category": 2}``: the maximum number of items that share a value of a column.

        Raises:
            EvaluationError: k is not between 1 and the number of items.
            ConfigError: a rule names a column or value that does not exist, or is malformed.
        """
        users = None if user is None else [user]
        asked = Query((), None, k, exclude, allow, include_seen, filter, boost, diversify)
        return self._answer([history], users, asked)[0]

    def recommend_batch(
        self,
        histories: Sequence[Sequence[OutsideId]],
        k: int = 10,
        *,
        users: Sequence[OutsideId | None] | None = None,
        exclude: Sequence[OutsideId] = (),
        allow: Sequence[OutsideId] | None = None,
        include_seen: bool = False,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        boost: Sequence[Mapping[str, Any]] | None = None,
        diversify: Mapping[str, int] | None = None,
    ) -> RecommendationBatch:
        """`recommend` for many histories; `answer` takes queries with individual options.

        Args:
            histories: of outside item ids, oldest first.
            k: length of the lists.
            users: outside ids, one per history, None for a history without one; None for no users.
            exclude: items that may not be recommended to anyone.
            allow: the only items that may be recommended; None for all.
            include_seen: whether items of a history may be recommended.
            filter: as in `recommend`.
            boost: as in `recommend`.
            diversify: as in `recommend`, in each list.

        Raises:
            EvaluationError: k is not between 1 and the number of items, or there is not one user per history.
        """
        asked = Query((), None, k, exclude, allow, include_seen, filter, boost, diversify)
        return self._answer(histories, users, asked)

    def answer(self, queries: Iterable[Query]) -> Iterator[Recommendations]:
        """Answer any number of queries, in order and in bounded memory; unknown ids are reported in the answers.

        Raises:
            EvaluationError: not a query, its k is not between 1 and the number of items, or a list of it is not one.
        """
        if isinstance(queries, Query):
            raise EvaluationError("a query by itself: give a list of queries, as in answer([query])")
        waiting = iter(queries)
        while some := list(islice(waiting, _QUERIES)):
            for query in some:
                check_query(query, len(self.items))
            yield from self._runtime.answer(some)

    def similar(
        self,
        item: OutsideId,
        k: int = 10,
        *,
        exclude: Sequence[OutsideId] = (),
        allow: Sequence[OutsideId] | None = None,
    ) -> Recommendations:
        """The k items whose vectors have the highest cosine similarity to that of an item, excluding the item itself.

        Args:
            item: outside id.
            k: length of the list; it is shorter where fewer items are left.
            exclude: items that may not be listed.
            allow: the only items that may be listed; None for all.

        Raises:
            EvaluationError: the item is unknown, the model has no item vectors, or k is not between 1 and the number of
                items.
        """
        check_k(k, len(self.items))
        dense = self.items.dense(item)
        if not dense:
            raise EvaluationError(self._runtime.catalogue.unknown_item(item))
        return self._runtime.similar(dense, Query((), None, k, *told_lists(self.items, exclude, allow, 3)))

    def explain(
        self,
        history: Sequence[OutsideId],
        items: Sequence[OutsideId],
        *,
        user: OutsideId | None = None,
    ) -> list[Explanation]:
        """Explain scores by leave-one-out: how much each score changes when one item of the history is left out.

        Args:
            history: outside item ids, oldest first.
            items: outside ids whose scores are explained.
            user: outside id, for models with user vectors.

        Returns:
            One explanation for each of ``items``, in their order.

        Raises:
            EvaluationError: one of ``items`` is unknown.
        """
        check_history(history)
        try:
            plan = LeaveOneOut.of(self._runtime, history, items, user)
        except KeyError as unknown:
            raise EvaluationError(self._runtime.catalogue.unknown_item(unknown.args[0])) from None
        warn_of_reasons(plan.unknown, any(plan.dense), stacklevel=3)
        return plan.explain(self._runtime.engine.answer(plan.queries))

    def vectors(
        self,
        histories: Sequence[Sequence[OutsideId]],
        *,
        users: Sequence[OutsideId | None] | None = None,
    ) -> FloatArray:
        """(B, d) query vectors: an item's score is query . item vector, plus what the model adds.

        Biases and the additions of ``co_occurrence`` and ``repeat_bias`` are included in ``recommend`` and exports.

        Args:
            histories: of outside item ids, oldest first.
            users: outside ids, one per history, None for a history without one; None for no users.

        Raises:
            EvaluationError: the model has no vectors, a history has no known item, or users do not match histories.
        """
        decoded = self._runtime.decode(queries_of(histories, users, Query(k=1)))
        warn_of((one.unknown for one in decoded), empty=0, stacklevel=3)
        for row, one in enumerate(decoded):
            if not len(one.query.history):
                raise EvaluationError(f"history {row} has no known item, and so no vector")
        packed = Packed.of([one.query.history for one in decoded])
        ids = np.array([one.query.user for one in decoded], dtype=np.int64)
        return self._runtime.engine.query_vectors(packed, ids)

    def item_vectors(self, items: Sequence[OutsideId] | None = None) -> FloatArray:
        """(m, d) copy of the vectors of some items, or of all in the order of ``model.items``.

        Raises:
            EvaluationError: the model has no vectors, or an item is unknown.
        """
        vectors = self._runtime.engine.item_vectors()
        if items is None:
            return vectors[1:].copy()
        items = list(id_list(items))
        dense = self.items.dense_all(items)
        if not dense.all():
            raise EvaluationError(self._runtime.catalogue.unknown_item(items[int(np.argmin(dense))]))
        return vectors[dense]

    def recommend_file(
        self,
        users: Any,
        out: str | Path,
        k: int = 10,
        *,
        exclude: Sequence[OutsideId] = (),
        allow: Sequence[OutsideId] | None = None,
        include_seen: bool = False,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        boost: Sequence[Mapping[str, Any]] | None = None,
        diversify: Mapping[str, int] | None = None,
        columns: Columns | None = None,
        reading: Reading | None = None,
    ) -> int:
        """Recommend to every user of a log; show a progress bar on the error stream.

        Memory is bounded. A call resumes where an earlier one with the same model and arguments was killed.

        Args:
            users: prepared data, or a log in any form that training reads (path, frame, name of a data set), which is
                not filtered.
            out: file to write atomically: user, rank (from 1), item, score, one row per item. Its suffix determines
                the format: .parquet, .csv or .jsonl.
            k: length of the lists.
            exclude: items that may not be recommended to anyone.
            allow: the only items that may be recommended; None for all.
            include_seen: whether items of a user's history may be recommended.
            filter: as in `recommend`.
            boost: as in `recommend`.
            diversify: as in `recommend`, in each list.
            columns: names of the log's columns; guessed where not given.
            reading: all options for reading the log; ``columns`` takes precedence over its own.

        Returns:
            Number of users.

        Raises:
            ConfigError: different recommendations to the same file are unfinished, or the format is unknown.
            OutputError: ``out`` is the log itself or the table of items, or not a regular file.
            DataError: the log cannot be read.
            EvaluationError: k is not between 1 and the number of items.
        """
        check_k(k, len(self.items))
        include_seen = check_flag("include_seen", include_seen)
        place = path_of("out", out)
        check_format(place)
        check_out(users, place, getattr(self._runtime.rules.facts, "path", None))
        data = users_of(users, columns, reading)
        options = BulkOptions(
            int(k),
            *told_lists(self.items, exclude, allow, stacklevel=3),
            include_seen,
            self._runtime.rules.compiled(filter, boost, diversify),
        )
        found = recommend_users(self._runtime, data, place, options)
        warn_of_bulk(found, data.item_ids, options.k, stacklevel=3)
        return data.num_users

    def _answer(
        self,
        histories: Sequence[Sequence[OutsideId]],
        users: Sequence[OutsideId | None] | None,
        asked: Query,
    ) -> RecommendationBatch:
        check_flag("include_seen", asked.include_seen)
        check_k(asked.k, len(self.items))
        exclude, allow = told_lists(self.items, asked.exclude, asked.allow, stacklevel=4)
        asked = replace(asked, exclude=exclude, allow=allow)
        answers = self._runtime.answer(queries_of(histories, users, asked))
        warn_of((one.unknown for one in answers), sum(one.popular for one in answers), stacklevel=4)
        return RecommendationBatch(answers, text_ids=not self.items.integers)
