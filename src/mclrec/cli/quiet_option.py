"""``--quiet``: the option that silences progress, for every command that may take long."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from mclrec.progress import quietly

__all__ = ["takes_long"]

_QUIET = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress; only warnings go to standard error.")
]


def takes_long(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--quiet`` to a command; with it, everything that shows progress is silent."""

    def run(*, quiet: bool = False, **values: Any) -> Any:
        with quietly(quiet):
            return command(**values)

    kinds = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kinds[name])
        for name, parameter in inspect.signature(command).parameters.items()
    ]
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_QUIET)
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__signature__ = inspect.Signature([*own, option])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, option]}
    return run
