"""The intake in words: a summary of a few lines, and warnings that name the option that helps."""

from __future__ import annotations

from typing import NamedTuple

from mclrec.data.far_text import far_warning
from mclrec.data.id_warnings import id_warnings
from mclrec.data.intake import HASHED, Counts, Intake, Measures, PartsTaken, Rule, shortened
from mclrec.data.returns import PROTOCOLS, suited_protocol
from mclrec.data.watched_text import watched_lines, watched_warnings
from mclrec.wording import count_of, percent

__all__ = ["Warned", "intake_lines", "intake_warnings", "measure_lines", "summary"]

_FEW_LEFT = 0.5
"""Share of rows or users left by the k-core below which a warning is given."""

_TIED = 0.05
_UNORDERED = 0.5
"""Shares of tied rows above which a log is only partly in order, and hardly in order at all."""

_FEW_USERS = 100
_ONE_ITEM = 0.2
"""Share of rows above which an item is suspect."""

_SHORT = 0.1
"""Share of users who are never measured above which a warning is given."""

_DUPLICATES = 0.01
"""Share of rows that are duplicates above which a warning is given."""

_DROPPED: dict[Rule, str] = {
    "missing": "without user, item or time",
    "where": "condition not met",
    "duplicates": "the same event twice",
    "repeats": "later returns",
    "k-core": "users and items with too few rows",
}

_HELD_OUT = 3  # interactions that a user needs to be measured


class Warned(NamedTuple):
    """A warning: its subject in a word, and its text with the remedy."""

    kind: str
    text: str


def summary(intake: Intake) -> str:
    """The intake in aligned lines, without warnings."""
    return "\n".join(f"{label:<10} {text}" for label, text in intake_lines(intake))


def intake_lines(intake: Intake) -> list[tuple[str, str]]:
    """What was read, dropped and left: a few lines, each with a label."""
    columns = ", ".join(
        f"{column.role} {column.name}" + ("" if column.sample is None else f" ({column.sample})")
        for column in intake.columns
    )
    read = ": ".join(text for text in (intake.format, columns) if text)
    lines = [("log", read)] if read else []
    lines.append(("read", _sizes(intake.read)))
    if intake.parts is not None:
        lines.append(("split", _parts(intake.parts)))
    before = intake.read
    for step in intake.steps:
        if step.left != before:
            lines.append(("dropped", f"{_lost(before, step.left)}: {_DROPPED[step.rule]} ({step.option})"))
        before = step.left
    if intake.dates is not None:
        lines.append(("dates", f"times are numbers of the form {intake.dates}, and are read as dates"))
    return [*lines, *watched_lines(intake.watched), *measure_lines(intake.left, intake.tie_order)]


def measure_lines(left: Measures, tie_order: str | None) -> list[tuple[str, str]]:
    """Statistics of the sequences, in labelled lines."""
    sizes = _sizes(Counts(users=left.users, items=left.items, rows=left.rows))
    span = "no times, rows in order" if left.first is None else f"{left.first} to {left.last}"
    lengths, suited = left.lengths, suited_protocol(left.returns)
    ties = ""
    if left.tied:
        ties = f"; {percent(left.tied)} of rows share their time; ties broken by {tie_order}"
    returns = "unknown" if left.returns is None else percent(left.returns)
    return [
        ("left", f"{sizes}; {span}"),
        (
            "histories",
            (
                f"{lengths.least} to {count_of(lengths.most, 'item')}, median {lengths.median}, "
                f"mean {left.mean_length:.1f}{ties}"
            ),
        ),
        (
            "popularity",
            (
                f"Gini {left.gini:.2f}; the top 1 % of items have {percent(left.top_hundredth)} of the rows, "
                f"the top 10 % {percent(left.top_tenth)}"
            ),
        ),
        (
            "returns",
            f"{percent(left.repeats)} of rows, {returns} of validation targets: {PROTOCOLS[suited].title} suits",
        ),
    ]


def intake_warnings(intake: Intake) -> list[Warned]:
    """What a person should know before trusting numbers from this log, most important first."""
    found = [
        *(Warned(*warning) for warning in watched_warnings(intake.watched)),
        None if (far := far_warning(intake)) is None else Warned("times", far),
        *(Warned(*warning) for warning in id_warnings(intake.doubtful)),
        _core(intake),
        _order(intake),
        *_suspects(intake),
        _few_users(intake.left),
    ]
    found += [_short(intake.left)] if intake.parts is None else _split_warnings(intake.parts, intake.left)
    return [warned for warned in found if warned is not None]


def _core(intake: Intake) -> Warned | None:
    """The warning that the k-core left little."""
    step = intake.step("k-core")
    if step is None:
        return None
    before, left = step
    shares = [left.rows / before.rows, (left.users or 0) / max(before.users or 0, 1)]
    if min(shares) >= _FEW_LEFT:
        return None
    return Warned(
        "k-core",
        f"only {left.rows:,} of {before.rows:,} rows and {left.users:,} of {before.users:,} users are left after "
        "removing users and items with few rows; a smaller --min-count keeps more, --min-count 1 keeps all",
    )


def _order(intake: Intake) -> Warned | None:
    """The warning that times do not tell in which order rows came."""
    left = intake.left
    if left.tied is None or left.tied <= _TIED or intake.tie_order != HASHED:
        return None
    if left.first == left.last and left.rows > 1:
        return Warned(
            "order",
            f"all times are the same ({left.first}), so nothing tells what came next; name another --time-column or "
            "a --sequence-column, or keep the order of the rows with --file-order",
        )
    extent = "hardly any order: " if left.tied > _UNORDERED else ""
    return Warned(
        "ties",
        f"{extent}{percent(left.tied)} of rows share their time with another row of their user, and a hash orders "
        "them; if the log has them in order, use --ties file or name a --sequence-column; if not, use --ties hash",
    )


def _suspects(intake: Intake) -> list[Warned | None]:
    """Warnings about what may not be interactions of people: a dominant item, and duplicates."""
    left = intake.left
    item = twice = None
    if left.top_share > _ONE_ITEM and left.items > 1:
        item = Warned(
            "item",
            f"the item {left.top_item} makes up {percent(left.top_share)} of the rows; if it is not a real item, "
            "remove it from the log, as it is the first recommendation for nearly everybody",
        )
    if left.duplicates is not None and left.duplicates > _DUPLICATES:
        twice = Warned(
            "duplicates",
            f"{percent(left.duplicates)} of rows repeat the user, item and time of another; if these are the same "
            "event twice, leave the second out with --drop-duplicates",
        )
    return [item, twice]


def _few_users(left: Measures) -> Warned | None:
    measured = left.users - left.unmeasured
    if measured >= _FEW_USERS:
        return None
    return Warned(
        "users",
        f"metrics are means over {count_of(measured, 'user')}, which is few: a hit rate is uncertain by up to "
        f"{0.98 / max(measured, 1) ** 0.5:.2f}; rely on the intervals",
    )


def _short(left: Measures) -> Warned | None:
    if left.unmeasured <= _SHORT * left.users:
        return None
    return Warned(
        "short",
        f"{left.unmeasured:,} of {left.users:,} users have fewer than {_HELD_OUT} interactions: they are trained on "
        f"but never evaluated; --min-count {_HELD_OUT} leaves them out",
    )


def _parts(parts: PartsTaken) -> str:
    """The number of rows left of each file."""
    names = ("for training", "for validation", "for testing")
    sizes = ", ".join(
        f"{rows:,} {name} ({shortened(place)})"
        for rows, name, place in zip(parts.rows, names, parts.places, strict=True)
    )
    repeated = (
        f"; {count_of(parts.repeated, 'item')} of lists repeat what came before" if parts.repeated else ""
    )
    return f"by files, no k-core: {sizes}{repeated}"


def _split_warnings(parts: PartsTaken, left: Measures) -> list[Warned | None]:
    """Warnings about a split that came in files."""
    leak = order = unmeasured = None
    if parts.leaked:
        cure = "remove them" if left.first is None else "leave them out with --drop-duplicates"
        leak = Warned(
            "leak",
            f"{count_of(parts.leaked, 'row')} of the validation and test files can also be found in an earlier file, "
            f"so the model may already have learnt what it is asked; unless they are returns, {cure}",
        )
    if parts.disordered:
        order = Warned(
            "parts",
            f"{parts.disordered:,} of {left.users:,} users have rows that are older than rows of an earlier file; the "
            "files' order precedes the times, so histories contain what came later: check how the log was split",
        )
    if left.unmeasured > _SHORT * left.users:
        unmeasured = Warned(
            "unmeasured",
            f"{left.unmeasured:,} of {left.users:,} users have no row in the test file with a row before it: metrics "
            "are means over the others",
        )
    return [leak, order, unmeasured]


def _sizes(counts: Counts) -> str:
    parts = [count_of(counts.rows, "row")]
    parts += [] if counts.users is None else [count_of(counts.users, "user")]
    parts += [] if counts.items is None else [count_of(counts.items, "item")]
    return ", ".join(parts)


def _lost(before: Counts, left: Counts) -> str:
    """The number of rows, users and items that a rule dropped."""
    parts = []
    for name in ("rows", "users", "items"):
        earlier, later = getattr(before, name), getattr(left, name)
        if earlier is not None and later is not None and later < earlier:
            lost = earlier - later
            parts.append(f"{count_of(lost, name.removesuffix('s'))} ({percent(lost / earlier)})")
    return ", ".join(parts)
