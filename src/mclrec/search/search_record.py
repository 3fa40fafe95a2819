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
from mclrec.search.halving import RECIPE, smoothed, winner_of
from mclrec.training.identity import NOTHING_LATER, SETTING, first_difference
from mclrec.wording import count_of

__all__ = ["Candidate", "Move", "Rung", "SearchRecord"]


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
        round: of the search, from 1.
    """

    epochs: int
    values: dict[int, float]
    round: int = 1


@dataclass(slots=True)
class Move:
    """A candidate that turned out to be better than the one that it was around.

    Attributes:
        number: of the better one.
        over: number of the other.
        values: smoothed validation metric of both.
        epochs: after which they were compared; None where the other was trained to its end.
    """

    number: int
    over: int
    values: tuple[float, float]
    epochs: int | None


@dataclass(slots=True)
class SearchRecord:
    """All that a search has found out, which is what it goes on from.

    Attributes:
        identity: what a resumed search must have in common with it.
        metric: validation metric that candidates are compared by.
        rung: epochs of the rung under way.
        candidates: the recipe, and since `planned` all others of the round.
        threads: of every training of the search.
        epochs: of a whole training, where those of the recipe do not fit into the time; else None.
        round: the one under way, from 1.
        centre: number of the candidate that those of the round are around.
        planned: whether it is decided how many candidates the round has.
        spent: seconds of all sessions until it was last written.
        rungs: those that are complete.
        moves: each time that a candidate turned out to be the best so far.
        winner: number of the candidate that is trained on to its end; None while several are compared.
        finished: whether the winner is trained and measured.
    """

    identity: dict[str, Any]
    metric: str
    rung: int
    candidates: list[Candidate]
    threads: int
    epochs: int | None = None
    round: int = 1
    centre: int = RECIPE
    planned: bool = False
    spent: float = 0.0
    rungs: list[Rung] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
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

    def check(
        self, identity: Mapping[str, Any], directory: Path, came_later: Mapping[str, Any] = NOTHING_LATER
    ) -> None:
        """Refuse to go on with another search.

        Args:
            identity: of the search that would go on.
            directory: of this one.
            came_later: of the identity, values of keys that searches of earlier versions lack.

        Raises:
            ConfigError: it is of other data or settings, or finished.
        """
        other = first_difference(self.identity, identity, came_later)
        if other is not None:
            raise ConfigError(
                f"{directory / CANDIDATES}: cannot go on with another {other.key}: the search has {other.had!r}, "
                f"now it is {other.now!r}; {other.remedy('give another --out')}"
            )
        if self.finished:
            raise ConfigError(f"{directory}: the search is finished, and the run too; give another --out")

    @property
    def precision(self) -> object:
        """Precision of every training of the search; None where the record does not say."""
        return self.identity.get(f"{SETTING}precision")

    def of(self, number: int) -> Candidate:
        """The candidate of a number."""
        return self.candidates[number - 1]

    @property
    def recipe(self) -> Candidate:
        """The candidate that is the recipe itself."""
        return self.of(RECIPE)

    @property
    def central(self) -> Candidate:
        """The candidate that those of the round are around."""
        return self.of(self.centre)

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

    def settle(self) -> int:
        """Decide the round: the number of the best candidate.

        Where the one in the middle was trained to its end, another has to be better than all that came of it. Else they
        are compared after as many epochs as all have in common.
        """
        if self.central.ended:
            epochs = None
            values = {one.number: smoothed(one.curve, len(one.curve)) for one in self.going if one.curve}
        else:
            epochs = self.rungs[-1].epochs if self.rungs else self.rung
            values = self.values(epochs)
        best = winner_of(values, self.centre) if self.centre in values else self.centre
        if best != self.centre:
            move = Move(best, self.centre, (values[best], values[self.centre]), epochs)
            self.moves = [*(one for one in self.moves if one.over != self.centre), move]
        return best

    def begin_round(self, centre: int, rung: int) -> None:
        """Begin a further round around the best candidate, with ``rung`` as the epochs that this one is trained to."""
        for one in self.going:
            if one.number != centre:
                one.state = "out"
        self.centre, self.rung, self.planned = centre, rung, False
        self.round += 1

    def verdict(self) -> str:
        """What the search has come to, in a line."""
        others = len(self.candidates) - 1
        if not others:
            return "trained the recipe alone: the time was too short to compare it with other settings"
        if not self.moves:
            return f"kept the recipe: nothing better was found among {others} other settings"
        return "; ".join(map(self._told, self.moves))

    def _told(self, move: Move) -> str:
        """A move, in words."""
        own, other = move.values
        over = "the recipe" if move.over == RECIPE else self.of(move.over).name
        after = "" if move.epochs is None else f" after {count_of(move.epochs, 'epoch')}"
        gain = f", {own / other - 1:+.1%}" if other > 0 else ""
        return (
            f"{self.of(move.number).name} is better than {over}: validation {self.metric} {own:.4f} against "
            f"{other:.4f}{after}{gain}"
        )

    def card_lines(self) -> list[str]:
        """The search, in lines of Markdown for the card of the run."""
        heads = [
            ("" if rung.round == 1 else f"round {rung.round}, ") + count_of(rung.epochs, "epoch")
            for rung in self.rungs
        ]
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
