"""Judging recommendations of any system: in one table with runs, by the same targets, metrics and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, cast

from mclrec.arguments import list_of
from mclrec.crashes import refusals_as_ours
from mclrec.data.loading import load
from mclrec.data.origin import Reading
from mclrec.data.returns import protocol_order, share_of_returns
from mclrec.data.split import Part, Split, check_part, make_split
from mclrec.data.split_choice import chosen_split
from mclrec.data.split_export import is_export, read_export
from mclrec.errors import ConfigError
from mclrec.evaluation.listed_ranks import ListedRanks, ListFacts
from mclrec.evaluation.metrics import Metric, check_cut, parse_metric
from mclrec.evaluation.protocol import SEEN_OF, Protocol, Seen
from mclrec.evaluation.recommended_columns import ListColumns
from mclrec.evaluation.recommended_lists import RecommendedLists, read_lists
from mclrec.progress import advancing
from mclrec.runs.baselines import Score
from mclrec.runs.comparison import Ranked, Row, compare_systems
from mclrec.runs.judged_entries import Entry, entries_of
from mclrec.runs.judged_systems import JudgedSystems
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import check_seen
from mclrec.wording import count_of

__all__ = ["AskedSplit", "Case", "Judged", "JudgedLists", "judge", "open_case"]


class AskedSplit(NamedTuple):
    """What was said about the split, as `mclrec.data.split_choice.chosen_split` takes it."""

    split: str | None = None
    valid_from: object = None
    test_from: object = None
    test_until: object = None
    targets: object = None


@dataclass(frozen=True, slots=True)
class JudgedLists:
    """What was found in the lists of a system, and decided.

    Attributes:
        name: of the system.
        place: the file, or the kind of frame.
        facts: numbers.
        notes: sentences about them.
    """

    name: str
    place: str
    facts: ListFacts
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """Systems under one protocol, by one part of the targets.

    Attributes:
        label: of the protocol.
        protocol: its rules in a sentence.
        part: of the targets.
        metric: what was tested.
        rows: the systems; the first is the baseline of the tests.
        lists: what was found in each file of lists.
        baselines: popularity and Markov, unless they are systems themselves.
        skipped: why these were not measured; None if they were.
        systems: ranks of the systems, by label.
    """

    label: str
    protocol: str
    part: str
    metric: Metric
    rows: tuple[Row, ...]
    lists: tuple[JudgedLists, ...]
    baselines: tuple[Score, ...]
    skipped: str | None
    systems: dict[str, Ranked]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Lists and runs that are to be judged, and the split whose targets they are judged by.

    Attributes:
        entries: lists and runs.
        read: the lists, by their places among the entries.
        split: of the data.
    """

    entries: list[Entry]
    read: dict[int, RecommendedLists]
    split: Split

    @property
    def rules(self) -> list[Seen]:
        """What to do with items of the history, both ways: the one that suits the log first."""
        return [SEEN_OF[label] for label in protocol_order(share_of_returns(self.split.validation))]

    def judged(
        self, seen: str, part: str = "test", metric: str | None = None, ks: Sequence[int] | None = None
    ) -> Judged:
        """Judge the systems under one protocol; arguments and errors are those of `judge`."""
        check_part(part)
        label = check_seen(seen)
        wanted = None if metric is None else parse_metric(metric)
        cuts = () if ks is None else list_of("cutoffs", "ks", ks)
        for k in cuts:
            check_cut(k)
        found = JudgedSystems(self.entries, self.read, self.split, cast("Part", part), cast("Seen", seen))
        tested = wanted or found.default_metric()
        found.check_cuts(tested, cuts)
        listed = sorted({*(cuts or found.default_cuts()), tested.k})
        baselines, skipped = found.baselines(tested, listed)
        return Judged(
            label=label,
            protocol=Protocol(found.part, found.seen, self.split.name).description,
            part=part,
            metric=tested,
            rows=tuple(compare_systems(found.systems, tested, listed)),
            lists=tuple(_told(name, place, ranks, found.seen, tested) for name, place, ranks in found.listed),
            baselines=baselines,
            skipped=skipped,
            systems=found.systems,
        )


def _told(name: str, place: str, found: ListedRanks, seen: Seen, metric: Metric) -> JudgedLists:
    """What was found in a file, and what it leaves open of the tested metric."""
    notes = list(found.facts.notes(seen))
    if count := found.bounded_at(metric.k):
        low, high = metric.mean(found.ranks), metric.mean(found.best_case())
        notes.append(
            f"{metric} is between {low:.4f} and {high:.4f}: of {count_of(count, 'target')} the lists do not say"
        )
    return JudgedLists(name, place, found.facts, tuple(notes))


@refusals_as_ours()
def judge(
    lists: Any,
    *,
    data: Any = None,
    split: str | None = None,
    valid_from: int | str | date | None = None,
    test_from: int | str | date | None = None,
    test_until: int | str | date | None = None,
    targets: str | None = None,
    reading: Reading | None = None,
    seen: str = "keep",
    part: str = "test",
    metric: str | None = None,
    ks: Sequence[int] | None = None,
    list_user: str | None = None,
    list_item: str | None = None,
    list_rank: str | None = None,
    list_score: str | None = None,
    list_in_order: bool = False,
) -> Judged:
    """Judge recommendations of any system, beside runs, by the held-out targets of a log.

    Lists are files (csv, tsv, JSON, Parquet, TREC run files) or frames of user, item, and rank or score, or of a list
    of items a row. `mclrec.evaluation.listed_ranks` says how the rank of a target is found in them.

    Args:
        lists: paths, each as it is or as ``NAME=PATH``, and runs or their directories; or a mapping of names to these
            or to frames. The first is the baseline of the tests; several of one name are trainings of one system.
        data: the log, as `mclrec.train` takes it, or the folder of an exported split; of the first run if None.
        split: as `mclrec.train` takes it; likewise ``valid_from``, ``test_from``, ``test_until``, ``targets``
            and ``reading``. Lists answer one target a user.
        seen: keep (U) or drop (F) items of the history.
        part: test or validation.
        metric: what is tested; NDCG@10 if None, or NDCG at the end of the shortest lists.
        ks: cuts of the metrics; 5, 10 and 20 if None, as far as there are lists of that length.
        list_user: column of the user, of all files; found if None, and likewise the others.
        list_item: column of the item, or of a list of items in order.
        list_rank: column of the rank.
        list_score: column of the score, which is then taken also where there is a rank.
        list_in_order: whether each user's rows are in order, with no column that says so.

    Raises:
        DataError: a file, or the log, cannot be read; or lists know none of the users or items.
        EvaluationError: a cut is beyond the lists; or a run was measured on other targets.
        ConfigError: nothing is given, or two systems have one name.
    """
    case = open_case(
        lists,
        ListColumns(list_user, list_item, list_rank, list_score, list_in_order),
        data=data,
        reading=Reading.of(reading),
        asked=AskedSplit(split, valid_from, test_from, test_until, targets),
    )
    return case.judged(seen, part, metric, ks)


def open_case(
    lists: Any,
    columns: ListColumns,
    *,
    data: Any = None,
    reading: Reading | None = None,
    asked: AskedSplit | None = None,
) -> Case:
    """Read the lists, and hold out the targets that they are judged by; arguments and errors as `judge`."""
    entries = entries_of(lists)
    read = {}
    with advancing("lists", len(entries)) as advance:
        for place, entry in enumerate(entries):
            if entry.run is None:
                read[place] = read_lists(entry.source, columns)
            advance(1)
    return Case(entries, read, _split(entries, data, reading or Reading(), asked or AskedSplit()))


def _split(entries: Sequence[Entry], data: Any, reading: Reading, asked: AskedSplit) -> Split:
    """The split that holds the targets: of a log, of an export, or of the first run.

    Raises:
        ConfigError: there is none of these, or an option that does not go with it.
        DataError: the data cannot be read, or are not what they were.
    """
    given = reading != Reading() or asked != AskedSplit()
    if data is None:
        run = next((entry.run for entry in entries if entry.run is not None), None)
        if run is None:
            raise ConfigError("lists are judged by a log: name it with --data, or give a run beside them")
        if given:
            raise ConfigError(
                "how a log is read and split goes with --data; without it, a run's own data are taken"
            )
        run.info.refuse_final(run.directory, "")
        return make_split(run_data(run), run.info.split)
    if isinstance(data, str | Path) and is_export(Path(data)):
        if given:
            raise ConfigError(
                f"{data}: is an exported split, with which no option of reading or splitting goes"
            )
        export = read_export(Path(data))
        return make_split(export.data(), export.split)
    rule = chosen_split(data, reading, *asked)
    return make_split(load(data, reading=reading), rule)
