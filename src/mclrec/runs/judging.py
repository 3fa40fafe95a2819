"""Judge recommendations of any system in one table with runs, on the same targets, with the same metrics and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, cast

from mclrec.arguments import check_flag, list_of
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
    """Options of the split as the user gave them, in the form that `mclrec.data.split_choice.chosen_split` takes."""

    split: str | None = None
    valid_from: object = None
    test_from: object = None
    test_until: object = None
    targets: object = None


@dataclass(frozen=True, slots=True)
class JudgedLists:
    """Findings on one file of lists, and what was decided about them.

    Attributes:
        name: name of the system.
        place: the file, or the kind of frame.
        facts: the findings in numbers.
        notes: sentences about these.
    """

    name: str
    place: str
    facts: ListFacts
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """Systems judged under one protocol on one part of the targets.

    Attributes:
        label: label of the protocol.
        protocol: its rules in one sentence.
        part: part of the targets.
        metric: the tested metric.
        rows: one row per system; the first is the baseline of the tests.
        lists: findings on each file of lists.
        baselines: scores of popularity and Markov, unless they are systems themselves.
        skipped: why the baselines were not measured; None if they were.
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
    """Lists and runs to be judged, and the split whose targets they are judged on.

    Attributes:
        entries: lists and runs.
        read: the lists that were read, by index of their entry.
        split: split of the data.
    """

    entries: list[Entry]
    read: dict[int, RecommendedLists]
    split: Split

    @property
    def rules(self) -> list[Seen]:
        """Both rules for items of the history (keep and drop), the one that suits the log first."""
        return [SEEN_OF[label] for label in protocol_order(share_of_returns(self.split.validation))]

    def judged(
        self, seen: str, part: str = "test", metric: str | None = None, ks: Sequence[int] | None = None
    ) -> Judged:
        """Judge the systems under one protocol; arguments and errors as in `judge`."""
        check_part(part)
        label = check_seen(seen)
        wanted = None if metric is None else parse_metric(metric)
        cuts = () if ks is None else list_of("cutoffs", "ks", ks)
        if ks is not None and not cuts:
            raise ConfigError("ks: the list is empty; give one or more cutoffs, or leave it out")
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
    """Findings on a file, with the bounds of the tested metric if the lists do not determine it."""
    notes = list(found.facts.notes(seen))
    if count := found.bounded_at(metric.k):
        low, high = metric.mean(found.ranks), metric.mean(found.best_case())
        notes.append(
            f"{metric} is between {low:.4f} and {high:.4f}: the lists do not tell for {count_of(count, 'target')}"
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
    """Judge recommendations of any system, beside runs, on the held-out targets of a log.

    Lists are files (csv, tsv, JSON, Parquet, TREC run files) or frames of user, item, and rank or score, or with one
    list of items per row. `mclrec.evaluation.listed_ranks` defines the rank of a target in them.

    Args:
        lists: paths, each as it is or as ``NAME=PATH``, and runs or their directories; or a mapping of names to these
            or to frames. The first is the baseline of the tests; several with one name are trainings of one system.
        data: the log, as `mclrec.train` takes it, or the folder of an exported split; if None, that of the first run.
        split: as `mclrec.train` takes it; likewise ``valid_from``, ``test_from``, ``test_until``, ``targets``
            and ``reading``. Lists can answer only one target per user.
        seen: keep (U) or drop (F) items of the history.
        part: test or validation.
        metric: the metric to test; if None, NDCG@10, or NDCG at the length of the shortest lists.
        ks: cutoffs of the metrics; if None, those of 5, 10 and 20 that the longest lists reach.
        list_user: column of the user, in all files; detected if None, and likewise the others.
        list_item: column of the item, or of a list of items in order.
        list_rank: column of the rank.
        list_score: column of the score, which then takes precedence over a rank.
        list_in_order: whether each user's rows are in order although no column says so.

    Raises:
        DataError: a file, or the log, cannot be read; or lists contain none of the users or items.
        EvaluationError: a cutoff is beyond the lists; or a run was measured on other targets.
        ConfigError: nothing is given, or two systems have one name.
    """
    case = open_case(
        lists,
        ListColumns(list_user, list_item, list_rank, list_score, check_flag("list_in_order", list_in_order)),
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
    """Read the lists, and split the data whose targets they are judged on; arguments and errors as in `judge`."""
    entries = entries_of(lists)
    read = {}
    with advancing("lists", len(entries)) as advance:
        for place, entry in enumerate(entries):
            if entry.run is None:
                read[place] = read_lists(entry.source, columns)
            advance(1)
    return Case(entries, read, _split(entries, data, reading or Reading(), asked or AskedSplit()))


def _split(entries: Sequence[Entry], data: Any, reading: Reading, asked: AskedSplit) -> Split:
    """The split that holds the targets: that of a log, of an exported split, or of the first run.

    Raises:
        ConfigError: there is none of these, or an option does not go with it.
        DataError: the data cannot be read, or have changed.
    """
    given = reading != Reading() or asked != AskedSplit()
    if data is None:
        run = next((entry.run for entry in entries if entry.run is not None), None)
        if run is None:
            raise ConfigError("lists are judged by a log: name it with --data, or give a run with them")
        if given:
            raise ConfigError(
                "options of reading and splitting need --data; without it, a run's own data are used"
            )
        run.info.refuse_final(run.directory, "")
        return make_split(run_data(run), run.info.split)
    if isinstance(data, str | Path) and is_export(Path(data)):
        if given:
            raise ConfigError(
                f"{data}: is an exported split, for which options of reading or splitting are not allowed"
            )
        export = read_export(Path(data))
        return make_split(export.data(), export.split)
    rule = chosen_split(data, reading, *asked)
    return make_split(load(data, reading=reading), rule)
