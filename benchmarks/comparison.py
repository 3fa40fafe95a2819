"""Comparison of sides that took turns: who is a peer, which peer is the fastest, and ratios with their spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.summary import Finding, Spread, quantity

__all__ = ["PEERS", "Ratio", "fastest", "finding", "is_peer", "peers", "ratio", "spreads"]

PEERS = ("RecBole", "RecTools", "RePlay", "Transformers4Rec")
"""The libraries that we are compared with; the name of a peer's side begins with one of them."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of two sides, with its spread over the rounds.

    Attributes:
        value: ratio of the medians.
        lowest: lowest ratio of two values of the same round.
        highest: highest ratio of two values of the same round.
    """

    value: float
    lowest: float
    highest: float


def is_peer(side: str) -> bool:
    """Whether a side belongs to a peer."""
    return side.startswith(PEERS)


def peers(sides: Iterable[str], precision: str | None = None) -> list[str]:
    """Sides of peers, only those of a precision if it is given; a side's name ends with its precision."""
    return [side for side in sides if is_peer(side) and (precision is None or side.endswith(precision))]


def fastest(sides: Mapping[str, Spread], ours: str) -> str:
    """The peer with the best median to compare our side with: among those in fp32 if ours is, else among all."""
    found = peers(sides, "fp32" if ours.endswith("fp32") else None)
    many = sides[ours].unit.endswith("/s")  # of a rate, higher is faster
    return (max if many else min)(found, key=lambda side: sides[side].median)


def ratio(over: Spread, under: Spread) -> Ratio:
    """Ratio of two quantities that were measured in the same rounds."""
    rounds = [one / other for one, other in zip(over.values, under.values, strict=True)]
    return Ratio(over.median / under.median, min(rounds), max(rounds))


def finding(
    what: str,
    sides: Mapping[str, Spread],
    over: str,
    under: str,
    target: float | None,
    sense: Literal["at most", "at least"],
) -> Finding:
    """A line of the table: the ratio of two sides. A peer's side is shown as theirs; of two of ours, ``under`` is."""
    found = ratio(sides[over], sides[under])
    ours, theirs = (under, over) if is_peer(over) else (over, under)
    return Finding(
        f"{what}: {over} / {under}",
        found.value,
        "x",
        target,
        sense,
        quantity(sides[ours].median, sides[ours].unit),
        quantity(sides[theirs].median, sides[theirs].unit),
        rounds=(found.lowest, found.highest),
    )


def spreads(result: Mapping[str, Any]) -> dict[str, Spread]:
    """Sides of a result, by name."""
    return {side: Spread(tuple(found["values"]), found["unit"]) for side, found in result["sides"].items()}
