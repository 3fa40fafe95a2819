"""Evaluation protocols, reproducible evaluation results, and tables of ranks.

There are two protocols, both of which rank the target among the whole catalogue: **U**, unfiltered, keeps the items of
the user's history as candidates; **F**, filtered, drops them, and a target that is among them is a miss. Their results
are not comparable: on Yelp 6.66 % of the test items are already in their user's history.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mclrec.data.moments import units_of
from mclrec.data.packed import IntArray, Packed
from mclrec.data.parquet_files import read_parquet, write_parquet
from mclrec.data.split import Part, Targets
from mclrec.data.vocabulary import OutsideId
from mclrec.errors import DataError
from mclrec.evaluation.further_metrics import FurtherMetrics
from mclrec.evaluation.metrics import MISS, FloatArray, Metric, by_user, per_user
from mclrec.json_files import parse_json
from mclrec.sealed_json import sealed, unsealed

if TYPE_CHECKING:  # circular at runtime: slices imports this module
    from mclrec.evaluation.slices import Slices

__all__ = [
    "LABEL_OF",
    "SEEN_OF",
    "Protocol",
    "RankTable",
    "Result",
    "Seen",
    "library_versions",
    "load_ranks",
    "repeats",
]

Seen = Literal["keep", "drop"]

LABEL_OF: Mapping[Seen, Literal["U", "F"]] = {"keep": "U", "drop": "F"}
"""Protocol label, by the treatment of items of the history."""

SEEN_OF: Mapping[str, Seen] = {label: seen for seen, label in LABEL_OF.items()}
"""Treatment of items of the history, by protocol label."""

_METADATA = b"mclrec"
_GAP, _USER_COUNT, _UNITS = "gap", "user_count", "units_per_second"


@dataclass(frozen=True, slots=True)
class Protocol:
    """Rules by which a model is evaluated.

    Attributes:
        part: the part of the split whose targets are ranked.
        seen: whether items of the user's history stay candidates (U) or are dropped (F).
        split: name of the rule by which the targets were held out.
        candidates: the items that a target is ranked among.
    """

    part: Part = "test"
    seen: Seen = "keep"
    split: str = "leave-one-out"
    candidates: Literal["all items"] = "all items"

    @property
    def label(self) -> Literal["U", "F"]:
        """U or F."""
        return LABEL_OF[self.seen]

    @property
    def description(self) -> str:
        """The rules in one sentence."""
        seen = "stay candidates" if self.seen == "keep" else "are dropped, and a target among them is a miss"
        return (
            f"{self.label}: {self.part} targets of the {self.split} split, ranked among {self.candidates}; "
            f"items of the user's history {seen}; ties count against the target"
        )


@dataclass(frozen=True, eq=False)
class RankTable:
    """Ranks of M targets with the fields that comparisons and slices need, independent of model and data.

    Attributes:
        users: (M,) outside ids of the users.
        items: (M,) outside ids of the targets.
        ranks: (M,) int64, 1 = best, `MISS` = in no list.
        history_lengths: (M,) number of items in the user's history before the target.
        in_history: (M,) whether the target is one of them.
        popularity: (M,) number of the target's interactions in the training data.
        about: the result without its arrays (see `Result.to_json`), and the checksum of the ``weights``.
        gaps: (M,) time since the user's interaction before the target, in the unit of the log; None if the log has no
            times, and in tables of earlier versions.
        user_counts: (M,) number of the user's interactions in the training data; None if they are not known, and in
            tables of earlier versions.
        units_per_second: time units of ``gaps`` per second; None if their unit is not known.
    """

    users: list[OutsideId]
    items: list[OutsideId]
    ranks: IntArray
    history_lengths: IntArray
    in_history: npt.NDArray[np.bool_]
    popularity: IntArray
    about: dict[str, Any]
    gaps: IntArray | None = None
    user_counts: IntArray | None = None
    units_per_second: int | None = None

    def __len__(self) -> int:
        return len(self.ranks)

    def values(self, metric: Metric, rows: IntArray | None = None) -> FloatArray:
        """(U,) values of a metric, one per user, whose mean is the mean over targets; see `by_user`.

        Args:
            metric: the metric.
            rows: rows of the targets to use; all if None.
        """
        ranks, codes = self.ranks, self._user_codes
        if rows is not None:
            ranks, codes = ranks[rows], None if codes is None else codes[rows]
        gains = per_user(ranks, metric.name, metric.k)
        return gains if codes is None else by_user(gains, codes)

    @cached_property
    def _user_codes(self) -> IntArray | None:
        """(M,) number of each target's user; None if no user has several targets."""
        codes = {user: code for code, user in enumerate(dict.fromkeys(self.users))}
        if len(codes) == len(self.users):
            return None
        return np.array([codes[user] for user in self.users], dtype=np.int64)

    def same_targets(self, other: RankTable) -> bool:
        """Whether both rank the same items of the same users, row by row, as paired comparisons require."""
        return self.users == other.users and self.items == other.items

    def save(self, path: Path) -> None:
        """Write the ranks as Parquet, atomically; ``about``, with a checksum, is in the file's metadata."""
        columns = {
            "user": self.users,
            "item": self.items,
            "rank": self.ranks,
            "history_length": self.history_lengths,
            "in_history": self.in_history,
            "popularity": self.popularity,
            _GAP: self.gaps,
            _USER_COUNT: self.user_counts,
        }
        about = {**self.about, _UNITS: self.units_per_second}
        table = pa.table(
            {name: values for name, values in columns.items() if values is not None},
            metadata={_METADATA: json.dumps(sealed(about), ensure_ascii=False).encode()},
        )
        write_parquet(path, table)


def load_ranks(path: Path) -> RankTable:
    """Read a table of ranks that was written by `RankTable.save`.

    Raises:
        DataError: the file is missing or damaged, or is not a table of ranks.
    """
    cure = "measure again with mclrec evaluate"
    table = read_parquet(path, DataError, cure)
    try:
        about = unsealed(parse_json(table.schema.metadata[_METADATA], str(path)), str(path))
        ranks = table["rank"].to_numpy()
        units = about.pop(_UNITS, None)  # earlier versions wrote no units and no times
        return RankTable(
            users=table["user"].to_pylist(),
            items=table["item"].to_pylist(),
            ranks=np.where(ranks > about["num_items"], MISS, ranks),  # earlier versions wrote V + 1
            history_lengths=table["history_length"].to_numpy(),
            in_history=table["in_history"].to_numpy(),
            popularity=table["popularity"].to_numpy(),
            about=about,
            gaps=_numbers(table, _GAP),
            user_counts=_numbers(table, _USER_COUNT),
            units_per_second=None if units is None else int(units),
        )
    except (pa.ArrowException, KeyError, TypeError, ValueError) as problem:
        raise DataError(f"{path}: not a file of ranks ({problem}); {cure}") from None


def _numbers(table: pa.Table, name: str) -> IntArray | None:
    """A column of numbers; None if the table does not have it."""
    return table[name].to_numpy() if name in table.column_names else None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Result of an evaluation: the metrics, the ranks that they are computed from, and the facts to reproduce it.

    Attributes:
        model: name of the model in the registry.
        protocol: the evaluation protocol.
        metrics: metrics as returned by `mclrec.evaluation.metrics.summarise`.
        ranks: (M,) int64, 1 = best, `MISS` = in no list.
        targets: the M targets.
        popularity: (V + 1,) number of interactions of each item in the training data.
        seed: training seed.
        config: resolved configuration of the model.
        versions: versions of Python and of the libraries.
        seconds: duration of the ranking in seconds.
        further: metrics beyond accuracy; None if they were not requested.
        slices: metrics by groups of targets; None if they were not requested.
        user_counts: (U,) number of interactions of each user in the training data; None if they are not known.
    """

    model: str
    protocol: Protocol
    metrics: dict[str, float]
    ranks: IntArray
    targets: Targets
    popularity: IntArray
    seed: int
    config: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    further: FurtherMetrics | None = None
    slices: Slices | None = None
    user_counts: IntArray | None = None

    @property
    def users(self) -> IntArray:
        """(M,) user rows."""
        return self.targets.users

    @property
    def num_targets(self) -> int:
        """Number of targets, M."""
        return len(self.ranks)

    def to_json(self) -> dict[str, Any]:
        """The result without its arrays, as a JSON object."""
        data = self.targets.data
        return {
            "model": self.model,
            "data": data.name,
            "fingerprint": data.fingerprint,
            "protocol": {
                "label": self.protocol.label,
                **asdict(self.protocol),
                "description": self.protocol.description,
            },
            "num_items": data.num_items,
            "num_targets": self.num_targets,
            "metrics": self.metrics,
            "seed": self.seed,
            "config": self.config,
            "versions": self.versions,
            "seconds": round(self.seconds, 3),
            **({} if self.further is None else {"further": self.further.to_json()}),
            **({} if self.slices is None else {"slices": self.slices.to_json()}),
        }

    def table(self, weights: str) -> RankTable:
        """Make the table of the ranks, with outside ids.

        Args:
            weights: checksum of the evaluated weights.
        """
        data, items = self.targets.data, self.targets.items
        histories = self.targets.histories(np.arange(len(self.targets)))
        return RankTable(
            users=[data.user_ids[row + 1] for row in self.users.tolist()],
            items=[data.item_ids[item] for item in items.tolist()],
            ranks=self.ranks,
            history_lengths=histories.lengths,
            in_history=repeats(histories, items),
            popularity=self.popularity[items],
            about={**self.to_json(), "weights": weights},
            gaps=self.targets.gaps,
            user_counts=None if self.user_counts is None else self.user_counts[self.users],
            units_per_second=None if data.times is None else units_of(data.times),
        )

    def save_ranks(self, path: Path, weights: str) -> None:
        """Write the ranks as Parquet, atomically; `load_ranks` reads them without model and data.

        Args:
            path: the file.
            weights: checksum of the evaluated weights.
        """
        self.table(weights).save(path)


def repeats(histories: Packed, items: IntArray) -> npt.NDArray[np.bool_]:
    """(M,) whether item ``m`` is in history ``m``."""
    rows = histories.rows
    hits = rows[histories.items == items[rows]]
    return np.bincount(hits, minlength=len(histories)) > 0


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("mclrec", "torch", "numpy")},
    }
