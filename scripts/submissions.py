"""Systems that others submit to the leaderboard: files in ``results/judged/``, and the checks that they must pass.

Each system has one JSON file per data set and protocol, and beside it one rank file per training
(see `scripts.rank_files`). `python -m scripts.submit` makes both from recommendation lists; CONTRIBUTING.md says how.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mclrec.errors import ConfigError, DataError, quoted
from mclrec.evaluation.metrics import parse_metric
from mclrec.files import sha256_file
from mclrec.json_files import read_json
from mclrec.sealed_json import validated
from scripts.rank_files import FileRanks, TargetSet, check_ranks, read_ranks, targets_of

FOLDER = "judged"
TOLERANCE = 5e-5
"""Largest difference between a stated metric and the one computed from the ranks: four decimals."""

_Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^\S(.*\S)?$")]
_Regime = Annotated[str, Field(min_length=1, max_length=30)]
_File = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*\.(parquet|csv)$", max_length=120)]
_Minutes = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(_Record):
    """One training of a system.

    Attributes:
        ranks: name of the rank file, beside the JSON file.
        seed: seed of the training; None for a system without randomness.
        core_minutes: training time as minutes times cores; None if it is not known.
    """

    ranks: _File
    seed: int | None = None
    core_minutes: _Minutes | None = None


class Submission(_Record):
    """A system on one data set under one protocol.

    Attributes:
        system: name of the system.
        data: name of the data set.
        fingerprint: fingerprint of the data, as shown by `mclrec inspect`.
        split: rule by which targets are held out.
        protocol: U (items of the history stay candidates) or F (they are dropped).
        examples: what it is trained on, such as prefixes, sequences or windows; None if it has no such examples.
        loss: loss that it is trained with.
        list_length: length of its lists; None if all items are ranked.
        link: address of the system.
        trainings: trainings, one per seed.
        metrics: means over the trainings, by names such as HR@10; they are recomputed from the ranks.
        notes: what a reader should know, such as what `mclrec judge` decided.
    """

    system: _Name
    data: str
    fingerprint: str
    split: str = "leave-one-out"
    protocol: Literal["U", "F"]
    examples: _Regime | None = None
    loss: _Regime | None = None
    list_length: Annotated[int, Field(ge=1)] | None = None
    link: Annotated[str, Field(pattern=r"^https://[^\s\"'<>]+$", max_length=300)]
    trainings: Annotated[list[Training], Field(min_length=1, max_length=50)]
    metrics: Annotated[dict[str, float], Field(min_length=1)]
    notes: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=20)] = []


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that has passed all checks.

    Attributes:
        path: path of its JSON file.
        submission: content of that file.
        tables: ranks of each training.
    """

    path: Path
    submission: Submission
    tables: Sequence[FileRanks]

    def shows(self, metric: str) -> bool:
        """Whether the lists are long enough for a metric."""
        return shown(metric, self.submission.list_length)


def shown(metric: str, length: int | None) -> bool:
    """Whether lists of a length are long enough for a metric; a length of None means that all items are ranked."""
    return length is None or parse_metric(metric).k <= length


def read_submissions(results: Path, known: Mapping[tuple[str, str], TargetSet]) -> list[Checked]:
    """Read and check all submissions beside the published results.

    Args:
        results: folder of the results.
        known: the targets of each data set and split.

    Raises:
        DataError: a submission does not pass, or a file belongs to no submission.
    """
    folder = results / FOLDER
    if not folder.is_dir():
        return []
    found = [check_submission(path, known) for path in sorted(folder.glob("*.json"))]
    _refuse_twice(found)
    used = {folder / training.ranks for one in found for training in one.submission.trainings}
    expected = used | {one.path for one in found} | {folder / "README.md"}
    for path in sorted(folder.iterdir()):
        if path not in expected:
            raise DataError(f"{path}: belongs to no submission; list it among the trainings of one")
    return found


def check_submission(path: Path, known: Mapping[tuple[str, str], TargetSet]) -> Checked:
    """Read a submission and check it: its statements, its targets, its ranks, and its metrics against these.

    Raises:
        DataError: it does not pass; the message says why.
    """
    said = validated(Submission, read_json(path), str(path))
    targets = targets_of(known, said.data, said.split, path)
    if said.fingerprint != targets.fingerprint:
        raise DataError(
            f"{path}: has the fingerprint {quoted(said.fingerprint[:12])}, but {said.data} has "
            f"{quoted(targets.fingerprint[:12])}: these are other data, or were read in another way"
        )
    _refuse_alike(path, said)
    tables = []
    for training in said.trainings:
        place = path.parent / training.ranks
        tables.append(read_ranks(place))
        check_ranks(place, tables[-1], targets, said.protocol, said.list_length)
    found = Checked(path, said, tables)
    _check_metrics(found)
    return found


def refuse_names(found: Sequence[Checked], taken: Collection[tuple[str, str, str, str]]) -> None:
    """Refuse a submission that has the name of a system of ours on the same data.

    Args:
        found: the submissions.
        taken: system, data, split and protocol of our own rows.

    Raises:
        DataError: a submission has such a name.
    """
    ours = {(system.casefold(), *rest) for system, *rest in taken}
    for one in found:
        said = one.submission
        if (said.system.casefold(), said.data, said.split, said.protocol) in ours:
            raise DataError(
                f"{one.path}: {quoted(said.system)} is the name of a system of this repository on {said.data}; "
                "choose another name"
            )


def _refuse_alike(path: Path, said: Submission) -> None:
    """Refuse a training that occurs twice, which would count as a further seed."""
    first: dict[str, str] = {}
    for training in said.trainings:
        earlier = first.setdefault(sha256_file(path.parent / training.ranks), training.ranks)
        if earlier != training.ranks or [one.ranks for one in said.trainings].count(training.ranks) > 1:
            raise DataError(
                f"{path}: {training.ranks} is the same file as {earlier}: each training counts once"
            )
    seeds = [training.seed for training in said.trainings]
    if len(seeds) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
        raise DataError(f"{path}: several trainings need a seed each, and different ones")


def _check_metrics(found: Checked) -> None:
    """Compare the metrics of a submission with those of its ranks."""
    for name, value in found.submission.metrics.items():
        try:
            metric = parse_metric(name)
        except ConfigError as problem:
            raise DataError(f"{found.path}: {problem}") from None
        if not found.shows(name):
            raise DataError(
                f"{found.path}: lists of {found.submission.list_length} places say nothing about {metric}; leave it out"
            )
        mean = math.fsum(table.metric(name) for table in found.tables) / len(found.tables)
        if not abs(mean - value) <= TOLERANCE:
            raise DataError(f"{found.path}: says {metric} {value:.4f}, but its ranks give {mean:.4f}")


def _refuse_twice(found: Sequence[Checked]) -> None:
    """Refuse two submissions of one system on the same data, and ranks that two submissions share."""
    first: dict[object, Path] = {}
    for one in found:
        said = one.submission
        keys: list[object] = [(said.system.casefold(), said.data, said.split, said.protocol)]
        keys += [training.ranks for training in said.trainings]
        for key in keys:
            if (earlier := first.setdefault(key, one.path)) != one.path:
                what = key if isinstance(key, str) else f"{quoted(said.system)} under {said.protocol}"
                raise DataError(f"{one.path}: {what} is in {earlier.name} already")
