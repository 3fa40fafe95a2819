"""``mclrec tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mclrec.cli.app import app
from mclrec.cli.options import (
    DataArgument,
    DeviceOption,
    DropRepeats,
    FileOrder,
    Header,
    ItemColumn,
    MinCount,
    ModelOption,
    RecipeOption,
    SeedOption,
    SequenceColumn,
    SettingOption,
    SplitOption,
    TimeColumn,
    TrackOption,
    UserColumn,
    columns_of,
    examples,
    source_options,
)


@app.command(
    epilog=examples(
        "mclrec tune complete-journey --trials 30 --workers 2",
        "mclrec tune log.csv --model sasrec --set max_length=20 --dry-run",
        "mclrec tune beauty --storage /shared/beauty.journal  (on several machines)",
    )
)
def tune(
    data: DataArgument,
    model: ModelOption = "mclrec",
    recipe: RecipeOption = None,
    setting: SettingOption = None,
    trials: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of the whole search, over all calls and machines.")
    ] = 50,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes; the same command beside adds its own.")
    ] = 1,
    storage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Journal that all share; under runs/tune, by data and model, if not given."
        ),
    ] = None,
    seed: SeedOption = 1,
    device: DeviceOption = "auto",
    budget: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0, help="Stop then; the next call goes on.")
    ] = None,
    track: TrackOption = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only print what would be searched.")] = False,
    split: SplitOption = "leave-one-out",
    min_count: MinCount = None,
    drop_repeats: DropRepeats = False,
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    sequence_column: SequenceColumn = None,
    file_order: FileOrder = False,
    header: Header = None,
) -> int:
    """Search for a model's best settings by validation. An interrupted search goes on with the same command."""
    from mclrec.recipes import parse_setting
    from mclrec.runs.sources import DataSource
    from mclrec.search import check_installed

    check_installed()
    from mclrec.cli import tune as view
    from mclrec.search.tune import TuneRequest

    columns = columns_of(user_column, item_column, time_column, sequence_column, file_order)
    request = TuneRequest(
        DataSource(data, source_options(min_count, drop_repeats, header, columns)),
        model,
        recipe,
        dict(parse_setting(text) for text in setting or []),
        seed,
        storage,
        device,
        split,
        track,
    )
    if dry:
        view.dry_run(request)
        return 0
    return view.run(request, trials, workers, budget)
