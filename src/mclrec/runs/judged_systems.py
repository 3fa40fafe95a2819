"""The systems to be judged: ranks that lists and runs give to the same targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mclrec.data.split import Part, Split
from mclrec.errors import ConfigError, EvaluationError
from mclrec.evaluation.listed_ranks import ListedRanks, ranks_of_lists
from mclrec.evaluation.metrics import Metric, check_cut, default_cuts, main_metric
from mclrec.evaluation.protocol import LABEL_OF, Protocol, RankTable, Result, Seen, library_versions
from mclrec.evaluation.ranking import rank_targets
from mclrec.evaluation.recommended_lists import RecommendedLists
from mclrec.evaluation.significance import confidence_interval
from mclrec.randomness import Stream, generator
from mclrec.runs.baselines import Score, system_name, too_large, trained_baselines
from mclrec.runs.comparison import Ranked, group_runs, ranked_runs
from mclrec.runs.judged_entries import Entry
from mclrec.runs.remeasure import same_log
from mclrec.runs.run import Run

__all__ = ["JudgedSystems"]


class JudgedSystems:
    """Ranks of several systems on one part of the targets, under one protocol.

    Args:
        entries: lists and runs.
        read: the lists that were read, by index of their entry.
        split: the split that holds the targets.
        part: part of the targets.
        seen: keep or drop items of the history.

    Attributes:
        systems: the systems by label, in the order given.
        listed: name, place and ranks of each file of lists.

    Raises:
        DataError: lists contain none of the users or items.
        EvaluationError: a run was measured on other targets.
        ConfigError: two systems have one name.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        read: Mapping[int, RecommendedLists],
        split: Split,
        part: Part,
        seen: Seen,
    ) -> None:
        self.split, self.part, self.seen = split, part, seen
        self.targets, self.num_items = split.targets(part), split.data.num_items
        self.listed: list[tuple[str, str, ListedRanks]] = []
        self.systems = self._found(entries, read)
        runs = [entry.run.info for entry in entries if entry.run is not None]
        self._measured = {system_name(info.model, info.config) for info in runs} | self.systems.keys()

    def _found(self, entries: Sequence[Entry], read: Mapping[int, RecommendedLists]) -> dict[str, Ranked]:
        found = [*self._of_lists(entries, read), *self._of_runs(entries, LABEL_OF[self.seen])]
        systems: dict[str, Ranked] = {}
        for _, name, system in sorted(found, key=lambda one: one[0]):
            if name in systems:
                raise ConfigError(f"two systems are called {name}; rename one of them, as in NAME=FILE")
            systems[name] = system
        return systems

    def _of_lists(
        self, entries: Sequence[Entry], read: Mapping[int, RecommendedLists]
    ) -> Iterator[tuple[int, str, Ranked]]:
        """Yield the systems given by lists, each with the index of its first entry."""
        named: dict[str, tuple[int, list[ListedRanks]]] = {}
        for place, lists in read.items():
            name = str(entries[place].name)
            found = ranks_of_lists(lists, self.targets, self.seen)
            self.listed.append((name, lists.place, found))
            named.setdefault(name, (place, []))[1].append(found)
        for name, (place, ranks) in named.items():
            yield place, name, self._ranked(name, ranks)

    def _ranked(self, name: str, found: Sequence[ListedRanks]) -> Ranked:
        length = min(ranks.facts.length for ranks in found)
        tables = [self._table(name, ranks) for ranks in found]
        return Ranked(tables, tuple(range(1, len(found) + 1)), trained=True, length=length)

    def _table(self, name: str, found: ListedRanks) -> RankTable:
        """Ranks with the outside ids of the targets, as in the rank table of a run."""
        result = Result(
            model=name,
            protocol=Protocol(self.part, self.seen, self.split.name),
            metrics={},
            ranks=found.ranks,
            targets=self.targets,
            popularity=self.split.training.popularity,
            user_counts=self.split.training.lengths,
            seed=0,
            config={},
            versions=library_versions(),
            seconds=0.0,
        )
        return result.table("")

    def _of_runs(self, entries: Sequence[Entry], label: str) -> Iterator[tuple[int, str, Ranked]]:
        """Yield the systems given by runs, each with the index of its first entry."""
        names: dict[str | None, list[int]] = {}
        for place, entry in enumerate(entries):
            if entry.run is not None:
                names.setdefault(entry.name, []).append(place)
        for name, places in names.items():
            runs = [run for place in places if (run := entries[place].run) is not None]
            groups = group_runs(runs)
            if name is not None and len(groups) > 1:
                raise ConfigError(f"{name}: names runs with different settings; give each its own name")
            for run in runs:
                self._check_run(run, label)
            ranked = ranked_runs(runs, self.part, label)
            for own, members in groups.items():
                yield places[members[0]], name or own, ranked[own]

    def _check_run(self, run: Run, label: str) -> None:
        """Check that a run was trained on these data and ranks these targets.

        Raises:
            EvaluationError: it does not.
        """
        data, table = self.split.data, run.ranks(self.part, label)
        same = same_log(run.info, data)
        users = [data.user_ids[user + 1] for user in self.targets.users.tolist()] if same else []
        items = [data.item_ids[item] for item in self.targets.items.tolist()] if same else []
        if not same or (table.users, table.items) != (users, items):
            raise EvaluationError(
                f"{run.directory}: was trained on other data, or ranks other targets, than those the lists are judged "
                "by; give the run's own log and split"
            )

    def default_metric(self) -> Metric:
        """NDCG@10, or NDCG at a smaller cutoff if the lists or the catalogue are shorter."""
        main = main_metric(self.num_items)
        return Metric(main.name, min([main.k, *self._lengths()]))

    def default_cuts(self) -> list[int]:
        """The paper's cutoffs that the lists of at least one system reach."""
        lengths = self._lengths()
        longest = max(lengths) if len(lengths) == len(self.systems) else self.num_items
        return [k for k in default_cuts(self.num_items) if k <= longest]

    def check_cuts(self, metric: Metric, cuts: Sequence[int]) -> None:
        """Refuse cutoffs beyond the lists or the catalogue.

        Raises:
            EvaluationError: there is such a cutoff.
        """
        for k in (metric.k, *cuts):
            check_cut(k, self.num_items)
            for name, _, found in self.listed:
                found.check_cut(k, name)

    def baselines(self, metric: Metric, cuts: Sequence[int]) -> tuple[tuple[Score, ...], str | None]:
        """Scores of popularity and Markov on the same targets, except those already among the systems, or why none."""
        if (skipped := too_large(self.targets)) is not None:
            return (), skipped
        found, table = [], next(iter(self.systems.values())).tables[0]
        for name, model in trained_baselines(self.split, ""):
            if name not in self._measured:
                ranks = rank_targets(model, self.targets, seen=self.seen)
                means = {str(one): one.mean(ranks) for kind in ("hr", "ndcg") for one in _at(kind, cuts)}
                values = replace(table, ranks=ranks).values(metric)
                interval = confidence_interval(values, generator(0, Stream.BOOTSTRAP))
                found.append(Score(model=name, metrics=means, low=interval.low, high=interval.high))
        return tuple(found), None

    def _lengths(self) -> list[int]:
        return [system.length for system in self.systems.values() if system.length is not None]


def _at(name: str, cuts: Sequence[int]) -> list[Metric]:
    return [Metric(name, k) for k in cuts]
