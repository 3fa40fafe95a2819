"""The paper's eight claims, and the rows whose differences decide each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Point(NamedTuple):
    """A row of a campaign's measurements, or a point of its curve."""

    row: str
    x: float | None = None

    def __str__(self) -> str:
        return self.row if self.x is None else f"{self.row} at {self.x:g}"


class Pair(NamedTuple):
    """Two rows whose difference a claim is about."""

    ours: Point
    other: Point


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        title: the claim in a few words.
        sentence: the paper's own sentence.
        section: section of the paper.
        target: target of ``mclrec reproduce`` that measures it.
        pairs: the differences that decide it.
        expected: sign of these differences if the claim holds.
        note: what a reader must know about the comparison.
        models: models of the target that are needed; if empty, the target's own.
        points: number of points of the target's curve that includes the needed ones; None for all.
        recipe: section of the models' recipes with which the claim can be measured as a whole.
    """

    title: str
    sentence: str
    section: str
    target: str
    pairs: Sequence[Pair]
    expected: int = 1
    note: str = ""
    models: Sequence[str] = ()
    points: int | None = None
    recipe: str = "sequences"


def _against(
    ours: str, others: Sequence[str], x: float | None = None, other_x: float | None = None
) -> list[Pair]:
    return [Pair(Point(ours, x), Point(other, other_x)) for other in others]


_ALIKE = ("sasrec", "cl4srec", "duorec")
_A = "(A) MCLRec"

CLAIMS = (
    Claim(
        "Contrast helps",
        "The self-supervised based models perform more effectively than classical models, such as BPR, GRU4Rec, "
        "Caser, and SASRec.",
        "4.2",
        "table3",
        [Pair(Point(model), Point("sasrec")) for model in ("cl4srec", "duorec", "mclrec")],
        note="Loss, training examples and encoder are the same on both sides, so that contrast alone differs: the "
        "paper's SASRec is trained by another loss than its DuoRec and MCLRec.",
        models=("sasrec", "cl4srec", "duorec", "mclrec"),
    ),
    Claim(
        "Both augmentations help",
        "By comparing (A) and (B), the combination of data and model level augmentation could further boost model "
        "performance.",
        "4.3",
        "table4",
        _against(_A, ("(B) w/o L_cl1", "(C) w/o L_cl2")),
        note="(B) has no contrast of data views, (C) none of model views. Where a recipe has lambda 0, as the paper's "
        "on Beauty and `sequences` everywhere, (A) and (B) are one run, and half of the claim stays open. `default` "
        "has the paper's weights of Yelp, lambda .03 and beta .1, and trains on prefixes: hours a run.",
        recipe="default",
    ),
    Claim(
        "Meta learning beats joint learning",
        "MCLRec beats the MCLRec-J.",
        "4.4",
        "figure3",
        _against("MCLRec", ["MCLRec-J"]),
    ),
    Claim(
        "R helps",
        "After removing the regular term, the performance of our model decreases on all three datasets, which "
        "indicates the effectiveness of the regular term.",
        "4.3",
        "table4",
        _against(_A, ["(D) w/o R"]),
    ),
    Claim(
        "R hurts other models",
        "Simply adding R to other models (e.g., CL4SRec and DuoRec) will make the performance worse.",
        "4.3",
        "claim-regularizer",
        [Pair(Point(f"{model} with R"), Point(model)) for model in ("cl4srec", "duorec")],
        expected=-1,
    ),
    Claim(
        "Robust to small batches",
        "MCLRec's performance with 64 batch size can outperform all other models with 256 batch size on Sports and "
        "Yelp.",
        "4.5.1",
        "figure4",
        _against("mclrec", _ALIKE, 64, 256),
        points=4,
    ),
    Claim(
        "Robust to noise",
        "With 15% noise proportion, our model can even outperform other models without noise data on two datasets.",
        "4.5.3",
        "figure7",
        _against("mclrec", _ALIKE, 0.15, 0.0),
        note="ICLRec and SRMA are trained by another loss and are left out of the verdict; the figure has them.",
        models=(*_ALIKE, "mclrec"),
    ),
    Claim(
        "Leads on short histories",
        "The improvement of MCLRec is mainly because it provides better recommendations to users with low interaction "
        "frequency.",
        "4.5.4",
        "figure8",
        [Pair(Point("mclrec, =5"), Point(f"{model}, =5")) for model in _ALIKE],
        note="Tested is whether MCLRec is ahead of each other model among users with five interactions, who have three "
        "for training; they are trained and evaluated alone. That its lead comes mainly from them, as the sentence "
        "says, is not tested: that takes its lead among users with more interactions, which the figure shows.",
    ),
)
"""The claims, in the paper's order of experiments."""
