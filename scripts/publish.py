"""Publish finished runs and campaigns: small JSON files in results/, and from these docs/results.md, the pages and
pictures in docs/results/, docs/leaderboard.html and a table in the README.

python -m scripts.publish runs/beauty-mclrec-seed1 runs/beauty-sasrec-seed1
python -m scripts.publish --campaign runs/reproduce     # what `mclrec reproduce` wrote there, but for what is not done
python -m scripts.publish --campaign runs/reproduce --unfinished   # that, too; the tables say what is not done
python -m scripts.publish --ranks runs/beauty-markov    # with files of ranks, for intervals on the leaderboard
python -m scripts.publish --targets beauty yelp         # targets of data sets, by which files of ranks are checked
python -m scripts.publish                               # only makes the pages and the table again
python -m scripts.publish --weights DIR --address URL runs/beauty-mclrec-seed1   # release assets of the runs, in DIR
python -m scripts.publish --check                       # writes nothing; fails where a page is not what it makes
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mclrec.data.datasets import named_by
from mclrec.data.split import make_split
from mclrec.errors import MclrecError
from mclrec.experiments.kept_results import directories_with
from mclrec.experiments.reproduction import load_outcomes, runs_folder
from mclrec.files import read_json, write_json, write_text
from mclrec.recipes.auto import AUTO, DataSizes
from mclrec.runs.recipe_choice import sizes_of
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import LABELS, DataInfo, Run
from mclrec.wording import count_of
from scripts.claim_evidence import differences_of
from scripts.leaderboard import RANKS, leaderboard
from scripts.model_assets import publish_weights
from scripts.rank_files import publish_ranks, publish_targets
from scripts.rerun import read_reruns
from scripts.results_overview import overview
from scripts.results_page import data_page, read_campaigns, read_notes, read_results, summary, system
from scripts.results_pictures import FOLDER, Picture, pictures
from scripts.row_commands import decided_command, portable_command, portable_place

ROOT = Path(__file__).parents[1]
RESULTS, DOCS, FIRST_PAGE = ROOT / "results", ROOT / "docs", ROOT / "README.md"
_MARKS = ("<!-- results: made by scripts.publish -->\n", "<!-- end of results -->\n")
_OF_RUN = ("model", "command", "seed", "split", "recipe", "config", "training", "data", "versions")
_OF_RECORD = (
    "status",
    "best_epoch",
    "best_validation",
    "epochs",
    "training_seconds",
    "seconds",
    "device",
    "processor",
    "threads",
)


def publish_run(directory: Path, folder: Path = RESULTS, *, ranks: bool = False) -> Path:
    """Publish one run as a JSON file: its results, and everything that they depend on.

    Args:
        directory: of the run.
        folder: of the results.
        ranks: whether its exact test ranks are published too, in ``ranks`` beside it.
    """
    run = Run(directory)
    if not run.record.finished:
        sys.exit(f"{directory}: is not finished")
    info, record = run.info.model_dump(mode="json"), run.record.model_dump(mode="json")
    variant = system(info).removeprefix(info["model"]).replace(" (", "-").rstrip(")")
    name = f"{info['data']['name']}-{info['model']}{variant}"
    path = folder / f"{name}-seed{info['seed']}.json"
    _check_settings(directory, info, sorted(folder.glob(f"{name}-seed[0-9]*.json")))
    row = {
        **{key: info[key] for key in _OF_RUN},
        "data": _data(run.info.data),
        **({"sizes": asdict(_sizes(run))} if info["recipe"]["section"] == AUTO else {}),
        **{key: record[key] for key in _OF_RECORD if key in record},
        "protocols": {label: record["results"]["test"][label]["protocol"]["description"] for label in LABELS},
        "test": run.metrics,
        "validation": [epoch["metrics"] for epoch in run.history],
    }
    command = portable_command(info["command"], path.stem, run.info.data)
    write_json(path, {**row, "command": decided_command(command, row)})
    for label in LABELS if ranks else ():
        publish_ranks(run, label, folder / RANKS / f"{path.stem}-{label}.parquet")
    return path


def _sizes(run: Run) -> DataSizes:
    """Sizes of a run's data, from which its recipe chose settings."""
    return sizes_of(make_split(run_data(run), run.info.split))


def _check_settings(directory: Path, info: Mapping[str, Any], published: Sequence[Path]) -> None:
    """Leave where a row of this name has other settings, as by ``--set``, which the name would not tell."""
    ours = info["config"] | info["training"]
    for path in published:
        there = read_json(path)
        theirs = there["config"] | there["training"]
        other = [
            key for key in {**theirs, **ours} if key in ours and key in theirs and ours[key] != theirs[key]
        ]
        if other:
            sys.exit(
                f"{directory}: {other[0]} = {ours[other[0]]}, in {path.name} {theirs[other[0]]}: a row has the same "
                "settings with every seed; give these a section in the recipes, or remove the files that are replaced"
            )


def publish_campaign(directory: Path, folder: Path = RESULTS, *, unfinished: bool = False) -> list[Path]:
    """Publish each target of a campaign as a JSON file: its tables, its numbers, and the runs behind them.

    Args:
        directory: of the campaign.
        folder: of the results.
        unfinished: whether targets are published of which runs are not done, which their tables say; they are named on
            standard error and left out otherwise.
    """
    paths = []
    for outcome in load_outcomes(directory):
        if outcome.missing and not (unfinished and outcome.measurements):
            print(f"{directory}: {outcome.name} lacks {count_of(outcome.missing, 'run')}", file=sys.stderr)
            continue
        record = read_json(directory / outcome.name / "outcome.json")
        names = "-".join(Path(place).stem for place in record["scope"]["datasets"])
        keys = dict.fromkeys(key for row in outcome.measurements for key in row.keys)
        runs = {key: _run(runs_folder(directory), key) for key in keys}
        parts = [outcome.name, names]
        if recipe := record["scope"]["recipe"]:
            parts.append(recipe if isinstance(recipe, str) else "recipes")
        paths.append(folder / "campaigns" / f"{'-'.join(parts)}.json")
        _check_replaced(paths[-1], record)
        write_json(
            paths[-1],
            {
                "target": outcome.name,
                **record,
                "differences": differences_of(outcome.name, outcome.measurements, runs),
                "runs": {key: _provenance(run) for key, run in runs.items()},
            },
        )
    return paths


def _check_replaced(path: Path, campaign: Mapping[str, Any]) -> None:
    """Leave where a published campaign of this name has other settings, which the name does not tell, or more rows."""
    if not path.is_file():
        return
    there = read_json(path)
    for key in ("settings", "points"):
        ours, theirs = (found["scope"].get(key) for found in (campaign, there))
        if ours != theirs:
            sys.exit(
                f"{path.name}: is published with {key} {theirs}, not {ours}; remove it if it is replaced"
            )
    lost = _rows(there) - _rows(campaign)
    if lost:
        sys.exit(
            f"{path.name}: is published with {count_of(len(lost), 'row')} more, such as {min(lost)}; "
            "remove it if it is replaced"
        )


def _rows(campaign: Mapping[str, Any]) -> set[str]:
    return {row["row"] for row in campaign["measurements"]}


def pages() -> dict[Path, str]:
    """Every page that is made from the files of results, with its text."""
    results, campaigns, notes = read_results(RESULTS), read_campaigns(RESULTS), read_notes(RESULTS)
    return {
        DOCS / "results.md": overview(results, campaigns, read_reruns(RESULTS)),
        **{
            DOCS / "results" / f"{data}.md": data_page(data, of_data, campaigns, notes)
            for data, of_data in results.items()
        },
        DOCS / "leaderboard.html": leaderboard(RESULTS),
        FIRST_PAGE: with_table(FIRST_PAGE.read_text(encoding="utf-8"), summary(RESULTS)),
    }


def outdated(made: Mapping[Path, str]) -> list[Path]:
    """The pages that are not on disk as they are made, and those of the folder that are made no longer."""
    differing = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    return differing + [path for path in sorted((DOCS / "results").glob("*.md")) if path not in made]


def figures() -> dict[Path, Picture]:
    """Every picture of the published campaigns, by its file."""
    folder = DOCS / "results" / FOLDER
    drawn = [
        picture
        for campaign in read_campaigns(RESULTS)
        for data in campaign["scope"]["datasets"]
        for picture in pictures(campaign, data)
    ]
    return {folder / picture.name: picture for picture in drawn}


def outdated_figures(made: Mapping[Path, Picture]) -> list[Path]:
    """The pictures that are not drawn from their numbers, and those of the folder that no page shows."""
    differing = [path for path, picture in made.items() if not picture.is_drawn(path)]
    return differing + [path for path in sorted((DOCS / "results" / FOLDER).glob("*")) if path not in made]


def with_table(text: str, table: str) -> str:
    """Replace the table between the marks of a page."""
    before, rest = text.split(_MARKS[0])
    _, after = rest.split(_MARKS[1])
    return f"{before}{_MARKS[0]}{table}{_MARKS[1]}{after}"


def _data(data: DataInfo) -> dict[str, Any]:
    """The data of a run, without the paths of this machine."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "source": named_by(data.fingerprint) or portable_place(data.place),
        "options": data.reading.model_dump(mode="json", exclude_defaults=True),
    }


def _run(folder: Path, key: str) -> Run:
    """The run of a campaign with a key."""
    found = directories_with(folder, key)
    return Run(found[0]) if found else sys.exit(f"{folder}: has no run with the key {key}")


def _provenance(run: Run) -> dict[str, object]:
    """Command, data, machine and duration of a run."""
    kept = run.info.model_dump(mode="json", include={"command", "seed", "versions"})
    record = run.record.model_dump(mode="json", include=set(_OF_RECORD))
    command = decided_command(run.info.command, {"training": run.info.training})
    return {**kept, "command": command, "data": _data(run.info.data), **record}


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, help="directories of finished runs")
    parser.add_argument("--campaign", type=Path, help="what mclrec reproduce has written there")
    parser.add_argument(
        "--unfinished", action="store_true", help="publish tables of a campaign with runs that are not done"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail where a page is outdated"
    )
    parser.add_argument("--ranks", action="store_true", help="publish the ranks of the runs too")
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="DATA", help="write down their test targets"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="only write release assets of the runs there"
    )
    parser.add_argument("--address", help="of the folder from which the assets will be downloaded")
    given = parser.parse_args(words)
    if given.unfinished and not given.campaign:
        parser.error("--unfinished goes with --campaign")
    if given.check:
        if given.runs or given.campaign or given.targets or given.weights:
            parser.error("--check publishes nothing: leave all else out")
        _check()
        return
    if given.weights:
        if not given.runs or not given.address or given.campaign or given.targets:
            parser.error("--weights needs the runs and --address, and goes without --campaign and --targets")
        print(*publish_weights(given.runs, given.weights, given.address), sep="\n")
        return
    for place in given.runs:
        print(publish_run(place, ranks=given.ranks))
    if given.campaign:
        print(*publish_campaign(given.campaign, unfinished=given.unfinished), sep="\n")
    for name in given.targets:
        print(publish_targets(name, RESULTS))
    _write()


def _write() -> None:
    """Write the pages, and draw the pictures whose numbers have changed."""
    for path, text in _made().items():
        write_text(path, text)
    for path, picture in figures().items():
        if not picture.is_drawn(path):
            write_text(path, picture.svg())


def _made() -> dict[Path, str]:
    """The pages; leaves with the reason where a submission to the leaderboard does not pass."""
    try:
        return pages()
    except MclrecError as problem:
        sys.exit(f"error: {problem}")


def _check() -> None:
    if wrong := outdated(_made()) + outdated_figures(figures()):
        names = ", ".join(str(path.relative_to(ROOT)) for path in wrong)
        sys.exit(
            f"{names}: not what results/ makes; run python -m scripts.publish, and remove what belongs to no results"
        )


if __name__ == "__main__":
    main()
