"""Record of a search within minutes: its candidates and rungs, saved as ``candidates.json`` of the resulting run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mclrec.errors import ConfigError, ModelFileError
from mclrec.json_files import write_json
from mclrec.runs.request import setting_words
from mclrec.runs.run_directory import CANDIDATES
from mclrec.sealed_json import read_sealed, sealed, validated
from mclrec.search.halving import RECIPE, smoothed, winner_of
from mclrec.training.identity import NOTHING_LATER, SETTING, first_difference
from mclrec.wording import count_of

__all__ = ["Candidate", "Move", "Rung", "SearchRecord"]


@dataclass(slots=True)
class Candidate:
    """One candidate: its settings, and how far it has been trained.

    Attributes:
        number: from 1, which is the recipe itself.
        settings: settings that differ from the recipe.
        curve: validation metric of each epoch so far.
        seconds: time of an epoch, validation included; an estimate before the first, 0 if unknown.
        ended: whether early stopping or the maximum number of epochs ended its training.
        state: still compared (``going``), eliminated (``out``) or failed.
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
        """Display name: the settings that distinguish the candidate."""
        return " ".join(setting_words(self.settings)[1::2]) or "the recipe"

    def reached(self, epochs: int) -> bool:
        """Whether the candidate needs no more training for a rung of ``epochs``."""
        return self.ended or len(self.curve) >= epochs


@dataclass(slots=True)
class Rung:
    """A completed rung, which all its candidates have reached.

    Attributes:
        epochs: number of epochs that the candidates were trained for.
        values: smoothed validation metric by candidate number.
        round: round of the search, from 1.
    """

    epochs: int
    values: dict[int, float]
    round: int = 1


@dataclass(slots=True)
class Move:
    """The move of the search to a candidate that is better than the centre of its round.

    Attributes:
        number: number of the better candidate.
        over: number of the previous centre.
        values: smoothed validation metric of both.
        epochs: number of epochs after which they were compared; None if the previous centre was fully trained.
    """

    number: int
    over: int
    values: tuple[float, float]
    epochs: int | None


@dataclass(slots=True)
class SearchRecord:
    """The state of a search, from which it can be resumed.

    Attributes:
        identity: values that must be the same in a resumed search.
        metric: validation metric by which candidates are compared.
        rung: epochs of the current rung.
        candidates: all candidates by number; those of the current round are added when it is `planned`.
        threads: number of threads of every training of the search.
        epochs: epochs of a whole training, if those of the recipe do not fit into the time; else None.
        round: current round, from 1.
        centre: number of the candidate of which the others of the round are variants.
        planned: whether the candidates of the round have been chosen.
        spent: seconds of all sessions until the record was last written.
        rungs: completed rungs.
        moves: each replacement of a centre by a better candidate.
        winner: number of the candidate that is trained to the end; None while several are compared.
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
        """Write the record, with the seconds spent so far."""
        self.spent = spent
        value = asdict(self)
        for rung in value["rungs"]:
            rung["values"] = {str(number): one for number, one in rung["values"].items()}
        write_json(directory / CANDIDATES, sealed(value))

    def check(
        self, identity: Mapping[str, Any], directory: Path, came_later: Mapping[str, Any] = NOTHING_LATER
    ) -> None:
        """Check that this search can be resumed with the given identity.

        Args:
            identity: identity of the resuming search.
            directory: directory of this search.
            came_later: values of identity keys that searches of earlier versions lack.

        Raises:
            ConfigError: this search has other data or settings, or is finished.
        """
        other = first_difference(self.identity, identity, came_later)
        if other is not None:
            raise ConfigError(
                f"{directory / CANDIDATES}: cannot continue with another {other.key}: the search has {other.had!r}, "
                f"now it is {other.now!r}; {other.remedy('give another --out')}"
            )
        if self.finished:
            raise ConfigError(f"{directory}: the search is finished, and the run too; give another --out")

    @property
    def precision(self) -> object:
        """Precision of every training of the search; None if the record lacks it."""
        return self.identity.get(f"{SETTING}precision")

    def of(self, number: int) -> Candidate:
        """The candidate with a number."""
        return self.candidates[number - 1]

    @property
    def recipe(self) -> Candidate:
        """The candidate that is the recipe itself."""
        return self.of(RECIPE)

    @property
    def central(self) -> Candidate:
        """The centre of the round: the candidate of which the others are variants."""
        return self.of(self.centre)

    @property
    def going(self) -> Sequence[Candidate]:
        """Candidates that are still compared."""
        return [candidate for candidate in self.candidates if candidate.state == "going"]

    def values(self, epochs: int) -> dict[int, float]:
        """Smoothed validation metric, by number, of the compared candidates that have reached a rung of ``epochs``."""
        return {
            candidate.number: smoothed(candidate.curve, epochs)
            for candidate in self.going
            if candidate.curve and candidate.reached(epochs)
        }

    def settle(self) -> int:
        """Decide the round, and return the number of the best candidate.

        If the centre was fully trained, another candidate has to exceed the best of its whole training. Otherwise they
        are compared after the last rung that all have reached.
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
        """Begin a further round around the best candidate, which is first trained for ``rung`` epochs."""
        for one in self.going:
            if one.number != centre:
                one.state = "out"
        self.centre, self.rung, self.planned = centre, rung, False
        self.round += 1

    def verdict(self) -> str:
        """The result of the search, in one line."""
        others = len(self.candidates) - 1
        if not others:
            return "trained the recipe alone: the time was too short to compare it with other settings"
        if not self.moves:
            return f"kept the recipe: nothing better was found among {others} other settings"
        return "; ".join(map(self._told, self.moves))

    def _told(self, move: Move) -> str:
        """Text that describes a move."""
        own, other = move.values
        over = "the recipe" if move.over == RECIPE else self.of(move.over).name
        after = "" if move.epochs is None else f" after {count_of(move.epochs, 'epoch')}"
        gain = f", {own / other - 1:+.1%}" if other > 0 else ""
        return (
            f"{self.of(move.number).name} is better than {over}: validation {self.metric} {own:.4f} against "
            f"{other:.4f}{after}{gain}"
        )

    def card_lines(self) -> list[str]:
        """Markdown lines that describe the search, for the card of the run."""
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
        """Table cells with a candidate's value in each rung."""
        if candidate.state == "failed":
            return ["failed" for _ in self.rungs]
        values = [rung.values.get(candidate.number) for rung in self.rungs]
        return ["-" if value is None else f"{value:.4f}" for value in values]
