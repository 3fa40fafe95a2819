"""Recommendations from a saved model: outside ids in, outside ids out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mclrec.data.batches import Histories
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import OutsideId, SequenceData, Vocabulary
from mclrec.errors import EvaluationError, MclrecWarning
from mclrec.evaluation.metrics import check_cut
from mclrec.evaluation.ranking import rows_per_chunk, top_items
from mclrec.models.storage import LoadedModel, load_model
from mclrec.serving.batch import Batch, known, recommend_users

if TYPE_CHECKING:
    from mclrec.data.columns import Columns

__all__ = ["Model", "Recommendation"]

_ROWS = 1024
"""Histories encoded at once, at most: what bounds the memory of encoders."""


class Recommendation(NamedTuple):
    """One recommended item.

    Attributes:
        item: outside id.
        score: the model's, comparable within one list; the training count where popular items were given.
    """

    item: OutsideId
    score: float


class Model:
    """A trained model that recommends. Nothing in it changes after loading, so threads may share it.

    Items of a history that the model does not know are skipped, with a `MclrecWarning`. A history without a
    known item gets the popular items, with a `MclrecWarning`. Of a long history the model reads the newest
    items, but all of it counts as seen. Unknown users are answered from their history alone.
    """

    def __init__(self, loaded: LoadedModel, device: str | torch.device = "cpu") -> None:
        self._model = loaded.model
        self._users = loaded.users
        self._popularity = torch.from_numpy(loaded.counts).float()[None]  # (1, V + 1)
        self._device = torch.device(device)
        self._checksum = loaded.checksum  # by which unfinished work is told from another model's
        self.name = loaded.name
        self.items = loaded.items
        self.info = loaded.info

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Model:
        """Read a model directory.

        Raises:
            ModelFileError: it is missing, damaged or of another format.
        """
        return cls(load_model(Path(path), device), device)

    def recommend(
        self,
        history: Sequence[OutsideId],
        k: int = 10,
        *,
        include_seen: bool = False,
        user: OutsideId | None = None,
    ) -> list[Recommendation]:
        """The k best items after a history.

        Args:
            history: outside item ids, oldest first.
            k: length of the list; it is shorter where fewer items are left.
            include_seen: whether items of the history may be recommended.
            user: outside id, for models with user vectors.

        Raises:
            EvaluationError: k is not between 1 and the number of items.
        """
        users = None if user is None else [user]
        return self._answer([history], k, include_seen, users)[0]

    def recommend_batch(
        self,
        histories: Sequence[Sequence[OutsideId]],
        k: int = 10,
        *,
        include_seen: bool = False,
        users: Sequence[OutsideId] | None = None,
    ) -> list[list[Recommendation]]:
        """`recommend` for many histories; memory is bounded whatever their number.

        Raises:
            EvaluationError: k is not between 1 and the number of items, or there is not one user a history.
        """
        return self._answer(histories, k, include_seen, users)

    def recommend_file(
        self,
        users: str | Path | SequenceData,
        out: str | Path,
        k: int = 10,
        *,
        include_seen: bool = False,
        columns: Columns | None = None,
    ) -> int:
        """Recommend to every user of a log; show a progress bar on the error stream.

        Memory is bounded. A call goes on where an earlier one with the same model and arguments was killed.

        Args:
            users: a log in any format that training reads, of which nothing is filtered; or prepared data.
            out: Parquet file to write, whole or not at all: user, rank (from 1), item, score.
            k: length of the lists.
            include_seen: whether items of a user's history may be recommended.
            columns: names of the log's columns; guessed where not given.

        Returns:
            Number of users.

        Raises:
            ConfigError: other recommendations of that name are unfinished.
            DataError: the log cannot be read.
            EvaluationError: k is not between 1 and the number of items.
        """
        check_cut(k, len(self.items))
        if not isinstance(users, SequenceData):
            # Reading logs needs the database engine, recommending does not.
            from mclrec.data.loading import prepare

            users = prepare(Path(users), min_count=1, columns=columns)
        user_ids = self._dense_users(users.user_ids)
        key = {"model": self._checksum, "k": k, "include_seen": include_seen}

        def lists(histories: Packed, rows: IntArray) -> tuple[IntArray, npt.NDArray[np.float32]]:
            return self._top(histories, user_ids[rows], k, include_seen)

        empty, unknown = recommend_users(Batch(users, self.items, lists, key), Path(out))
        _warn_unknown(list(users.item_ids.take(unknown)), stacklevel=3)
        _warn_empty(empty, stacklevel=3)
        return users.num_users

    def _answer(
        self,
        histories: Sequence[Sequence[OutsideId]],
        k: int,
        include_seen: bool,
        users: Sequence[OutsideId] | None,
    ) -> list[list[Recommendation]]:
        check_cut(k, len(self.items))
        if users is not None and len(users) != len(histories):
            raise EvaluationError(
                f"{len(users)} users for {len(histories)} histories: give one each, or none"
            )
        read = self._encode(histories)
        user_ids = np.zeros(len(read), dtype=np.int64) if users is None else self._dense_users(users)
        ids, scores = self._top(read, user_ids, k, include_seen)
        return [
            [Recommendation(self.items[item], score) for item, score in zip(row, values, strict=True) if item]
            for row, values in zip(ids.tolist(), scores.tolist(), strict=True)
        ]

    def _encode(self, histories: Sequence[Sequence[OutsideId]]) -> Packed:
        """Dense ids of the known items."""
        for history in histories:
            if isinstance(history, str) or not isinstance(history, Iterable):
                raise EvaluationError(f"a history is a list of item ids, not {history!r}")
        packed = Packed.of([self.items.dense_all(history) for history in histories])
        if not packed.items.all():
            given = [item for history in histories for item in history]
            _warn_unknown([given[place] for place in np.flatnonzero(packed.items == 0)], stacklevel=5)
        found = known(packed)
        _warn_empty(int((found.lengths == 0).sum()), stacklevel=5)
        return found

    def _dense_users(self, users: Iterable[OutsideId]) -> IntArray:
        """(B,) dense ids, 0 for users that the model does not know, which is all where it knows none."""
        vocabulary = self._users or Vocabulary([])
        return vocabulary.dense_all(users)

    @torch.inference_mode()
    def _top(
        self, histories: Packed, users: IntArray, k: int, include_seen: bool
    ) -> tuple[IntArray, npt.NDArray[np.float32]]:
        """Dense ids (B, k) and scores (B, k), best first; id 0 where no item is left."""
        popular, counts = top_items(self._popularity, k)
        ids = np.repeat(popular.numpy(), len(histories), axis=0)
        scores = np.repeat(counts.numpy(), len(histories), axis=0)
        rows = np.flatnonzero(histories.lengths)
        size = rows_per_chunk(len(self.items))
        for start in range(0, len(rows), _ROWS):
            chunk = rows[start : start + _ROWS]
            batch = Histories.of(histories.take(chunk, self._model.max_length), users[chunk]).to(self._device)
            for number, part in enumerate(self._model.scores_by_parts(batch, size)):
                some = chunk[number * size : (number + 1) * size]
                seen = None if include_seen else histories.take(some)
                best, values = top_items(part.float(), k, seen)
                ids[some], scores[some] = best.cpu().numpy(), values.cpu().numpy()
        return ids, scores


def _warn_unknown(items: Sequence[OutsideId], stacklevel: int) -> None:
    names = list(dict.fromkeys(items))
    if names:
        shown = ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
        text = f"{len(names)} items are not in the model's catalogue and are skipped: {shown}"
        if len(names) == 1:
            text = f"item {shown} is not in the model's catalogue and is skipped"
        warnings.warn(text, MclrecWarning, stacklevel=stacklevel)


def _warn_empty(count: int, stacklevel: int) -> None:
    if count:
        subject = (
            "1 history without a known item gets"
            if count == 1
            else f"{count} histories without a known item get"
        )
        warnings.warn(f"{subject} the popular items", MclrecWarning, stacklevel=stacklevel)
