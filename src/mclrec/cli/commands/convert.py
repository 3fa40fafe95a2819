"""``mclrec convert``: turns a RecBole checkpoint into a run, without executing code that is pickled in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mclrec.cli.app import JsonOption, app, examples
from mclrec.cli.quiet_option import takes_long
from mclrec.cli.reading_options import reads_log
from mclrec.cli.terminal import print_json, say
from mclrec.wording import count_of

if TYPE_CHECKING:
    from mclrec.data.origin import Reading


@app.command(
    epilog=examples(
        "mclrec convert saved/SASRec-Jan-01-2026.pth --data dataset/shop/shop.inter --out runs/shop-recbole",
        "mclrec convert MCLRec-Beauty.pth --data beauty --items ids --out runs/beauty-official",
        "mclrec serve runs/shop-recbole",
    )
)
@takes_long
@reads_log(rules=True)
def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoint of SASRec, MCLRec, CL4SRec or DuoRec, saved by RecBole or the official MCLRec.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="LOG", help="The log that it was trained on, with RecBole's filters as options."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the run.")],
    items: Annotated[
        str,
        typer.Option(
            metavar="ORDER",
            help="Which item each row of the item table belongs to: appearance (RecBole's own order), ids (item i has "
            "row i), or a file of the items' ids, one per line.",
        ),
    ] = "appearance",
    heads: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Attention heads, if the file does not state them; 2 if not given."
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            "--leave-out",
            metavar="PREFIX",
            help="Leave out tensors whose names begin with this, as scores do not depend on them; may be repeated.",
        ),
    ] = None,
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint of RecBole to a run, and measure it under both protocols.

    Nothing that is pickled in the file is run; a file that asks for that is refused.
    """
    from mclrec.cli.scores import print_scores, run_json
    from mclrec.integrations.converting import convert as converted

    run = converted(
        checkpoint, data, out, items=items, heads=heads, leave_out=tuple(leave_out or ()), reading=reading
    )
    if as_json:
        print_json(run_json(run))
        return
    print_scores(run)
    say(
        f"{run.directory}: {count_of(run.info.num_items, 'item')}; can recommend, be exported and be served like any "
        "run"
    )
