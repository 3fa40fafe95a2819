"""Options shared by the commands that read a log; each command receives them as one `Reading`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

if TYPE_CHECKING:
    from mclrec.data.origin import Reading

__all__ = ["reads_log"]

_COLUMNS = "Columns of the log"
_FORMAT = "Format of the log"


def _column(help_text: str) -> Any:
    return typer.Option(metavar="NAME", rich_help_panel=_COLUMNS, help=help_text)


_RULES: dict[str, tuple[Any, Any]] = {
    "min_count": (
        None,
        Annotated[
            int | None,
            typer.Option(
                metavar="K",
                min=1,
                help="k-core: keep users and items with at least K interactions; 5 for a log if not given.",
            ),
        ],
    ),
    "drop_duplicates": (
        False,
        Annotated[
            bool,
            typer.Option(
                "--drop-duplicates", help="Keep one of several rows with the same user, item and time."
            ),
        ],
    ),
    "drop_repeats": (
        False,
        Annotated[
            bool,
            typer.Option("--drop-repeats", help="Keep only each user's first interaction with an item."),
        ],
    ),
    "ties": (
        None,
        Annotated[
            Literal["hash", "file"] | None,
            typer.Option(
                help="Order of a user's rows with equal times: by a hash, which is arbitrary, or as in the file.",
            ),
        ],
    ),
}
"""Rules that decide which rows of a log are kept: default and type of each option."""

_PARTS: dict[str, tuple[Any, Any]] = {
    "valid": (
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="Validation set, if the log is the training set of an existing split.",
            ),
        ],
    ),
    "test": (
        None,
        Annotated[str | None, typer.Option(metavar="FILE", help="Test set; goes with --valid.")],
    ),
}
"""Files of an existing split."""

_FILTER: dict[str, tuple[Any, Any]] = {
    "where": (
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="CONDITION",
                help='Keep rows for which it is true, such as "rating >= 4" or "event = \'purchase\'".',
            ),
        ],
    ),
}
"""Condition on the rows to read."""

_NAMES: dict[str, tuple[Any, Any]] = {
    "user_column": (None, Annotated[str | None, _column("Column of the user; guessed if not given.")]),
    "item_column": (None, Annotated[str | None, _column("Column of the item; guessed if not given.")]),
    "time_column": (None, Annotated[str | None, _column("Column of the time; guessed if not given.")]),
    "sequence_column": (None, Annotated[str | None, _column("Column that orders rows with equal times.")]),
    "history_column": (
        None,
        Annotated[str | None, _column("Column that holds a list of items in order, one row per user.")],
    ),
    "file_order": (
        False,
        Annotated[
            bool,
            typer.Option(
                "--file-order", rich_help_panel=_COLUMNS, help="The log has no time; its rows are in order."
            ),
        ],
    ),
}
"""Names of columns: the fields of `mclrec.data.columns.Columns`."""

_TEXT: dict[str, tuple[Any, Any]] = {
    "header": (
        None,
        Annotated[
            bool | None,
            typer.Option(
                rich_help_panel=_FORMAT,
                help="Whether the first line holds the names of the columns; guessed if not given.",
            ),
        ],
    ),
    "quote": (
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="SIGN",
                rich_help_panel=_FORMAT,
                help="Character that encloses fields: \", ' or none; detected if not given.",
            ),
        ],
    ),
    "encoding": (
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                rich_help_panel=_FORMAT,
                help="Encoding of text, such as latin-1; UTF-8 if not given.",
            ),
        ],
    ),
    "time_format": (
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="FORMAT",
                rich_help_panel=_FORMAT,
                help='How times are written, such as "%d/%m/%Y %H:%M"; ISO if not given.',
            ),
        ],
    ),
    "drop_missing": (
        False,
        Annotated[
            bool,
            typer.Option(
                "--drop-missing",
                rich_help_panel=_FORMAT,
                help="Leave out rows without user, item or time; without this option, they are an error.",
            ),
        ],
    ),
}
"""Format of a log: how its values are written."""


def reads_log(*, rules: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a command's parameter ``reading`` with the options for reading a log.

    Args:
        rules: whether to include the rules for keeping rows and the files of a split; a command that only reads
            users' histories keeps all rows.
    """
    options = (_RULES | _PARTS if rules else {}) | _FILTER | _NAMES | _TEXT

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def read(**values: Any) -> Any:
            given = {name: values.pop(name) for name in options}
            return command(**values, reading=_reading(given))

        kinds = get_type_hints(command, localns={"Reading": Any}, include_extras=True)
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (default, kind) in options.items()
        ]
        parameters = []
        for name, parameter in inspect.signature(command).parameters.items():
            own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kinds[name])
            parameters += added if name == "reading" else [own]
        read.__name__, read.__doc__, read.__module__ = command.__name__, command.__doc__, command.__module__
        read.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        read.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return read

    return decorate


def _reading(values: dict[str, Any]) -> Reading:
    from mclrec.data.columns import Columns
    from mclrec.data.origin import Reading

    names = {name: values.pop(name) for name in _NAMES}
    columns = Columns(**{name.removesuffix("_column"): value for name, value in names.items()})
    return Reading.of(**values, columns=None if columns == Columns() else columns)
