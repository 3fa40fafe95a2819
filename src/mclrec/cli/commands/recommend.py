"""``mclrec recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mclrec.cli.app import (
    DeviceOption,
    EngineOption,
    ItemsOption,
    JsonOption,
    RunArgument,
    TitlesOption,
    app,
    examples,
)
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import print_json, print_recommendations, say, tell_returns
from mclrec.errors import ConfigError, DataError
from mclrec.json_files import parse_json
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading
    from mclrec.data.vocabulary import OutsideId
    from mclrec.inference.model import Model


@app.command(
    epilog=examples(
        'mclrec recommend runs/demo/mclrec --history "BANANAS,EGGS - X-LARGE" --k 5',
        "mclrec recommend runs/demo/mclrec --users log.csv --out recs.parquet",
        "mclrec recommend runs/demo/mclrec --users all --out recs.csv --exclude sold-out.txt",
        """mclrec recommend RUN --history A17 --items items.parquet --filter '{"price": {"max": 10}}'""",
    )
)
@takes_long
@reads_log(rules=False)
def recommend(
    run: RunArgument,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="IDS", help='Items, oldest first: "a,b,c"; quote an id that holds a comma: \'a,"b,c"\'.'
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="With --history: the user it belongs to, for models with user vectors."
        ),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            metavar="LOG|all",
            help="Recommend for every user in this log; all: every user of the run's own data. If interrupted, the "
            "same command continues.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For --users: .parquet, .csv or .jsonl with user, rank, item and score."
        ),
    ] = None,
    k: Annotated[int, typer.Option(metavar="N", help="Number of items.")] = 10,
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Items that may not be recommended, one per line.")
    ] = None,
    allow: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The only items that may be recommended, one per line."),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Items of the history may be recommended.")
    ] = False,
    titles: TitlesOption = None,
    items: ItemsOption = None,
    wanted: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help='Only items with these values in columns of --items: \'{"category": ["dairy"]}\'.',
        ),
    ] = None,
    boost: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help='Change scores: \'[{"where": {"brand": "own"}, "factor": 1.5}]\', or add.'
        ),
    ] = None,
    diversify: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="Maximum number of items with the same value of a column: '{\"category\": 2}'.",
        ),
    ] = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    *,
    reading: Reading,
) -> None:
    """Recommend items after a history, or to every user of a log."""
    if (history is None) == (users is None) or (users is None) != (out is None):
        alone = user is not None and history is None and users is None
        cure = (
            ": --user names the user of a --history; for the users of a log, use --users all --out FILE"
            if alone
            else ""
        )
        raise ConfigError(f"give either --history, or both --users and --out{cure}")
    if titles is not None and history is None:
        raise ConfigError("--titles goes with --history")
    rules = {"filter": wanted, "boost": boost, "diversify": diversify}
    given = {name: parsed(name, text) for name, text in rules.items() if text is not None}
    if given and items is None:
        raise ConfigError(f"--{next(iter(given))} needs --items, the table of items whose columns it names")
    if user is not None and history is None:
        raise ConfigError("--user goes with --history")
    if users in (None, "all") and reading.words():
        raise ConfigError(f"{reading.words()[0]} goes with --users LOG")
    from mclrec.inference.bulk import check_format, check_out
    from mclrec.inference.model import Model
    from mclrec.inference.published_models import PUBLISHED_FILES

    if out is not None:
        check_format(out)
        check_out(users, out, exclude, allow, items, *(run / name for name in PUBLISHED_FILES))
    excluded, allowed = (
        () if exclude is None else read_ids(exclude),
        None if allow is None else read_ids(allow),
    )
    model = Model.load(run, device, engine=engine, titles=titles, items=items)
    if not include_seen:
        tell_returns(run, "--include-seen")
    if users is not None and out is not None:
        from mclrec.runs.remeasure import run_data
        from mclrec.runs.run import open_run

        log = users if users != "all" else run_data(open_run(run), hint="give it as --users LOG")
        count = model.recommend_file(
            log, out, k, exclude=excluded, allow=allowed, include_seen=include_seen, reading=reading, **given
        )
        _print_written(out, count, k, as_json)
        return
    found = model.recommend(
        _ids(history or ""),
        k,
        user=user,
        exclude=excluded,
        allow=allowed,
        include_seen=include_seen,
        **given,
    )
    if as_json:
        print_json([{**one._asdict(), **_titled(model, one.item)} for one in found])
    else:
        print_recommendations(
            found, None if titles is None and items is None else [model.title(item) for item, _ in found]
        )


def _print_written(out: Path, users: int, k: int, as_json: bool) -> None:
    """Print which file was written, and how many lists it has."""
    if as_json:
        print_json({"out": str(out), "users": users, "k": k})
    else:
        say(f"{out}: up to {count_of(k, 'item')} for each of {count_of(users, 'user')}")


def _titled(model: Model, item: OutsideId) -> dict[str, str]:
    title = model.title(item)
    return {} if title is None else {"title": title}


def parsed(name: str, text: str) -> Any:
    """Parse the JSON value of an option.

    Raises:
        ConfigError: it is not valid JSON.
    """
    try:
        return parse_json(text, f"--{name}", ConfigError)
    except ConfigError as problem:
        raise ConfigError(f"{problem}; quote it for the shell as '...'") from None


def read_ids(path: Path) -> list[str]:
    """Read outside ids from a text file, one per line; blank lines are skipped.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # an id may hold other separators
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{path}: cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    return [line.strip() for line in lines if line.strip()]


def _ids(text: str) -> list[str]:
    """Split comma-separated ids; quotes preserve commas and blanks in an id.

    Raises:
        ConfigError: a quote is not closed, or the closing quote is followed by other text.
    """
    from mclrec.data.quoting import MalformedError, split_quoted

    try:
        found = split_quoted(text, ",", strip=True)
    except MalformedError as problem:
        raise ConfigError(
            f"--history {problem}; quote the whole id, and double any quote inside it"
        ) from None
    if found is None:
        raise ConfigError("--history opens a quote that is not closed; double any quote inside an id")
    return [value for value in found if value]
