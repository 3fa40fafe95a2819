"""Scoreboards: human-readable metrics of a run beside its baselines, with the protocol that suits the log first."""

from __future__ import annotations

from dataclasses import dataclass

from mclrec.data.returns import PROTOCOLS, protocol_order
from mclrec.evaluation.metrics import main_metric
from mclrec.evaluation.protocol import Result
from mclrec.runs.baselines import Score, read_baselines, score, system_name
from mclrec.runs.intake_file import returns_of
from mclrec.runs.run import Run

__all__ = ["Scoreboard", "scoreboard", "scoreboards", "skipped_baselines"]


_LEVEL = 0.05
"""Significance level of a difference."""


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """Scores of a run and its baselines under one protocol.

    Attributes:
        label: label of the protocol.
        part: part of the targets.
        metric: the metric that has intervals.
        scores: score of the run, then those of the baselines.
    """

    label: str
    part: str
    metric: str
    scores: list[Score]

    @property
    def title(self) -> str:
        """The part and the title of the protocol."""
        return f"{self.part}, {PROTOCOLS[self.label].title}"

    @property
    def note(self) -> str:
        """One line on what the protocol means and where it is suitable."""
        return PROTOCOLS[self.label].note

    @property
    def verdict(self) -> str | None:
        """One line on what p tests and which baselines are significantly better; None without baselines."""
        own, *others = self.scores
        if not others:
            return None
        best = own.metrics[self.metric]
        ahead = [
            one.model
            for one in others
            if one.metrics[self.metric] > best and one.p is not None and one.p < _LEVEL
        ]
        text = f"p: for the difference in {self.metric} from {own.model}, paired over users."
        if not ahead:
            return text
        return f"{text} {' and '.join(ahead)} {'is' if len(ahead) == 1 else 'are'} significantly ahead of {own.model}."


def scoreboards(run: Run) -> list[Scoreboard]:
    """Scoreboards of a finished run on its test targets; none if it was not measured.

    Raises:
        ModelFileError: a file of the run is damaged.
    """
    info, measured, baselines = run.info, run.record.test, read_baselines(run.directory)
    boards = []
    for label in protocol_order(returns_of(run.directory)):
        if label in measured:
            own = score(
                system_name(info.model, info.config),
                run.ranks("test", label),
                measured[label].metrics,
                info.num_items,
            )
            others = baselines.scores.get(label, ()) if baselines else ()
            metric = str(main_metric(info.num_items))
            boards.append(Scoreboard(label, "test", metric, [own, *others]))
    return boards


def scoreboard(run: Run, result: Result) -> Scoreboard:
    """Scoreboard of an evaluation of a run, with its baselines if they have the same targets and cutoffs."""
    num_items, label = result.targets.data.num_items, result.protocol.label
    own = score(system_name(result.model, result.config), result.table(""), result.metrics, num_items)
    baselines = read_baselines(run.directory) if result.protocol.part == "test" else None
    others = [
        one
        for one in (baselines.scores.get(label, ()) if baselines else ())
        if one.metrics.keys() == own.metrics.keys()
    ]
    return Scoreboard(label, result.protocol.part, str(main_metric(num_items)), [own, *others])


def skipped_baselines(run: Run) -> str | None:
    """Why a run has no baselines; None if it has some, or was trained with an earlier version."""
    baselines = read_baselines(run.directory)
    return None if baselines is None else baselines.skipped
