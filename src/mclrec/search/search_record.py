"""Record of a search within minutes: its candidates and rungs, in ``candidates.json`` of the run that it ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mclrec.errors import ConfigError, ModelFileError
from mclrec.files import write_json
from mclrec.runs.request import setting_words
from mclrec.runs.run_directory import CANDIDATES
from mclrec.sealed_json import read_sealed, sealed, validated
from mclrec.search.halving import RECIPE, smoothed
from mclrec.wording import count_of

__all__ = ["Candidate", "Rung", "SearchRecord"]


@dataclass(slots=True)
class Candidate:
    """One candidate: settings, and how far it has been trained.

    Attributes:
        number: from 1, which is the recipe itself.
        settings: that differ from the recipe.
        curve: validation metric of each epoch so far.
        seconds: of an epoch, validation included; 0 before the first.
        ended: whether early stopping or the number of epochs ended its training.
        state: going on, out after a rung, or failed.
        problem: why it failed.
    """

    number: int
    settings: dict[str, Any]
    curve: list[float] = field(default_factory=list)
    seconds: float = 0.0
    ended: bool = False
    state: Literal["going", "out", "failed"] = "going"
    problem: str = ""

    @property
    def name(self) -> str:
        """What distinguishes it, for people."""
        return " ".join(setting_words(self.settings)[1::2]) or "the recipe"

    def reached(self, epochs: int) -> bool:
        """Whether it needs no more training for a rung of ``epochs``."""
        return self.ended or len(self.curve) >= epochs


@dataclass(slots=True)
class Rung:
    """A rung that all candidates in it have reached.

    Attributes:
        epochs: to which they were trained.
        values: smoothed validation metric by number.
    """

    epochs: int
    values: dict[int, float]


@dataclass(slots=True)
class SearchRecord:
    """All that a search has found out, which is what it goes on from.

    Attributes:
        identity: what a resumed search must have in common with it.
        metric: validation metric that candidates are compared by.
        rung: epochs of the rung under way.
        candidates: the recipe, and since `planned` all others.
        threads: of every training of the search.
        planned: whether it is decided how many candidates there are.
        spent: seconds of all sessions until it was last written.
        rungs: those that are complete.
        winner: number of the candidate that is trained on to its end; None while several are compared.
        finished: whether the winner is trained and measured.
    """

    identity: dict[str, Any]
    metric: str
    rung: int
    candidates: list[Candidate]
    threads: int
    planned: bool = False
    spent: float = 0.0
    rungs: list[Rung] = field(default_factory=list)
    winner: int | None = None
    finished: bool = False

    @classmethod
    def load(cls, directory: Path) -> SearchRecord:
        """Read the record of a directory.

        Raises:
            ModelFileError: it is missing or damaged.
        """
        path = directory / CANDIDATES
        return validated(cls, read_sealed(path, ModelFileError), str(path), ModelFileError)

    def save(self, directory: Path, spent: float) -> None:
        """Write the record, with the seconds that were spent so far."""
        self.spent = spent
        value = asdict(self)
        for rung in value["rungs"]:
            rung["values"] = {str(number): one for number, one in rung["values"].items()}
        write_json(directory / CANDIDATES, sealed(value))

    def check(self, identity: Mapping[str, Any], directory: Path) -> None:
        """Refuse to go on with another search.

        Raises:
            ConfigError: it is of other data or settings, or finished.
        """
        for key in sorted(self.identity.keys() | identity.keys()):
            if self.identity.get(key) != identity.get(key):
                raise ConfigError(
                    f"{directory / CANDIDATES}: cannot go on with another {key}: the search has "
                    f"{self.identity.get(key)!r}, now it is {identity.get(key)!r}"
                )
        if self.finished:
            raise ConfigError(f"{directory}: the search is finished, and the run too; give another --out")

    def of(self, number: int) -> Candidate:
        """The candidate of a number."""
        return self.candidates[number - 1]

    @property
    def recipe(self) -> Candidate:
        """The candidate that is the recipe itself."""
        return self.of(RECIPE)

    @property
    def going(self) -> Sequence[Candidate]:
        """Candidates that are still compared."""
        return [candidate for candidate in self.candidates if candidate.state == "going"]

    def values(self, epochs: int) -> dict[int, float]:
        """Smoothed validation metric of those that are compared and have reached so many epochs."""
        return {
            candidate.number: smoothed(candidate.curve, epochs)
            for candidate in self.going
            if candidate.curve and candidate.reached(epochs)
        }

    def verdict(self) -> str:
        """What the search has come to, in a line."""
        others = len(self.candidates) - 1
        if not others:
            return "trained the recipe alone: the time was too short to compare it with other settings"
        winner = self.of(self.winner or RECIPE)
        if winner.number == RECIPE or not self.rungs:
            return f"kept the recipe: nothing better was found among {others} other settings"
        last = self.rungs[-1]
        own, recipe = last.values[winner.number], last.values[RECIPE]
        gain = f", {own / recipe - 1:+.1%}" if recipe > 0 else ""
        return (
            f"{winner.name} is better than the recipe: validation {self.metric} {own:.4f} against {recipe:.4f} "
            f"after {count_of(last.epochs, 'epoch')}{gain}"
        )

    def card_lines(self) -> list[str]:
        """The search, in lines of Markdown for the card of the run."""
        heads = [count_of(rung.epochs, "epoch") for rung in self.rungs]
        rows = [f"| {one.number} | {one.name} | {' | '.join(self._cells(one))} |" for one in self.candidates]
        table = [f"| | settings | {' | '.join(heads)} |", "| ---: | --- |" + " ---: |" * len(heads), *rows]
        return [
            f"Its settings were found by successive halving on validation: {self.verdict()}.",
            "",
            *(
                (*table, "", f"Validation {self.metric}, the best mean of neighbouring epochs.", "")
                if heads
                else ()
            ),
        ]

    def _cells(self, candidate: Candidate) -> list[str]:
        """A candidate's values in each rung."""
        if candidate.state == "failed":
            return ["failed" for _ in self.rungs]
        values = [rung.values.get(candidate.number) for rung in self.rungs]
        return ["-" if value is None else f"{value:.4f}" for value in values]
