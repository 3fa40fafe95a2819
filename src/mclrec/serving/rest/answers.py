"""From requests to questions, and from answers to replies: outside ids on one side, dense ids on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mclrec.data.packed import IntArray
from mclrec.data.sequences import OutsideId
from mclrec.serving.catalogue import Catalogue
from mclrec.serving.engine import Answer, Question
from mclrec.serving.rest.schemas import Ask, AskMany, Explain
from mclrec.serving.rest.settings import Settings
from mclrec.serving.service import Service

__all__ = ["Asked", "Explaining", "LimitExceeded", "check", "scored"]

_DIGITS = 6


class LimitExceeded(Exception):
    """A request is larger than the settings allow; the message says what, and what is allowed."""


def check(request: Ask | AskMany | Explain, settings: Settings) -> None:
    """Hold a request against the limits.

    Raises:
        LimitExceeded: it is beyond one.
    """
    if isinstance(request, AskMany):
        _at_most("requests", len(request.requests), settings.max_batch)
        for one in request.requests:
            check(one, settings)
        return
    _at_most("history", len(request.history), settings.max_history)
    if isinstance(request, Explain):
        _at_most("items", len(request.items), settings.max_explained)
        return
    if request.k > settings.max_k:
        raise LimitExceeded(f"k = {request.k}: at most {settings.max_k}")
    _at_most("exclude", len(request.exclude), settings.max_list)
    _at_most("allow", len(request.allow or ()), settings.max_list)


def _at_most(name: str, given: int, allowed: int) -> None:
    if given > allowed:
        raise LimitExceeded(f"{name} has {given} entries: at most {allowed}")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One request for recommendations, in the ids of one service.

    Attributes:
        question: for the engine.
        unknown: ids of the history that the service does not know, each once.
    """

    question: Question
    unknown: list[OutsideId]

    @classmethod
    def of(cls, service: Service, ask: Ask) -> Asked:
        """Look the ids up; unknown ones in ``exclude`` and ``allow`` mean nothing."""
        catalogue = service.catalogue
        dense = [catalogue.dense(item) for item in ask.history]
        history = _ids(dense)
        excluded = _known(catalogue, ask.exclude)
        return cls(
            Question(
                history,
                min(ask.k, len(catalogue)),
                excluded if ask.include_seen else np.concatenate([excluded, history]),
                None if ask.allow is None else _known(catalogue, ask.allow),
            ),
            _unknown(ask.history, dense),
        )

    def reply(self, service: Service, answer: Answer) -> dict[str, Any]:
        """As `schemas.Answer`."""
        return {
            "items": scored(service.catalogue, answer),
            "unknown": self.unknown,
            "popular": answer.popular,
            "model": service.version,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Explaining:
    """One request for reasons: the history whole, and without each of the items that the model reads.

    Attributes:
        questions: the whole history first.
        items: (m,) dense ids whose scores are explained.
        dense: dense id of each place of the history, 0 where unknown.
        left_out: places of the history, one a further question.
        unknown: ids of the history that the service does not know, each once.
    """

    questions: list[Question]
    items: IntArray
    dense: list[int]
    left_out: list[int]
    unknown: list[OutsideId]

    @classmethod
    def of(cls, service: Service, request: Explain) -> Explaining:
        """Look the ids up.

        Raises:
            KeyError: an item is unknown; the argument is its id.
        """
        catalogue = service.catalogue
        wanted = [catalogue.dense(item) for item in request.items]
        if 0 in wanted:
            raise KeyError(request.items[wanted.index(0)])
        dense = [catalogue.dense(item) for item in request.history]
        known = [place for place, item in enumerate(dense) if item]
        # Leaving out an older item changes nothing: the model does not read it.
        left_out = known[-service.engine.max_length :] if len(known) > 1 else []
        histories = [dense, *(dense[:place] + dense[place + 1 :] for place in left_out)]
        items = _ids(wanted)
        distinct = np.unique(items)
        questions = [
            Question(_ids(history), max(len(distinct), 1), allowed=distinct) for history in histories
        ]
        return cls(questions, items, dense, left_out, _unknown(request.history, dense))

    def reply(self, service: Service, answers: Sequence[Answer]) -> dict[str, Any]:
        """As `schemas.Explanation`."""
        whole, *without = [dict(zip(a.items.tolist(), a.scores.tolist(), strict=True)) for a in answers]
        scores = dict(zip(self.left_out, without, strict=True))
        return {
            "items": [
                {
                    "item": service.catalogue.outside(item),
                    "score": round(whole[item], _DIGITS),
                    "because": [
                        {
                            "position": place,
                            "item": service.catalogue.outside(seen),
                            "difference": round(
                                whole[item] - self._without(scores, place, item, whole), _DIGITS
                            ),
                        }
                        for place, seen in enumerate(self.dense)
                        if seen
                    ],
                }
                for item in self.items.tolist()
            ],
            "unknown": self.unknown,
            "model": service.version,
        }

    def _without(
        self, scores: dict[int, dict[int, float]], place: int, item: int, whole: dict[int, float]
    ) -> float:
        """Score of ``item`` without one place of the history."""
        if sum(map(bool, self.dense)) == 1:
            return 0.0  # nothing is left that could be compared with
        return scores[place][item] if place in scores else whole[item]


def scored(catalogue: Catalogue, answer: Answer) -> list[dict[str, Any]]:
    """Items with their scores, as `schemas.Scored`."""
    return [
        {"item": catalogue.outside(item), "score": round(score, _DIGITS)}
        for item, score in zip(answer.items.tolist(), answer.scores.tolist(), strict=True)
    ]


def _ids(dense: Sequence[int]) -> IntArray:
    """Dense ids of what is known."""
    return np.array([item for item in dense if item], dtype=np.int64)


def _known(catalogue: Catalogue, items: Sequence[OutsideId]) -> IntArray:
    return _ids([catalogue.dense(item) for item in items])


def _unknown(items: Sequence[OutsideId], dense: Sequence[int]) -> list[OutsideId]:
    return list(dict.fromkeys(item for item, known in zip(items, dense, strict=True) if not known))
