"""Result of an order probe on the terminal: whether the order of interactions matters in a log."""

from __future__ import annotations

from mclrec.cli.terminal import output, plain_table
from mclrec.evaluation.significance import p_text
from mclrec.runs.order_probe import OrderProbe

__all__ = ["print_order"]


def print_order(probe: OrderProbe) -> None:
    """Print one row per system, with and without order, then the verdict in a sentence and the notes."""
    effect, console = probe.effect, output()
    title = f"Is there order in this log? {effect.metric} ({probe.label})"
    table = plain_table("", "in order", "shuffled", "95 % of the difference", "lost", "p (Holm)", title=title)
    for one in effect.systems:
        interval = f"{one.low:+.4f} to {one.high:+.4f}"
        lost = "" if one.lost is None else f"{one.lost:.0%}"
        table.add_row(one.name, f"{one.ordered:.4f}", f"{one.shuffled:.4f}", interval, lost, p_text(one.p))
    console.print()
    console.print(table)
    console.print(effect.verdict, soft_wrap=True)
    for note in probe.notes:
        console.print(note, style="dim", soft_wrap=True)
