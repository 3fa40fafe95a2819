"""Publish finished runs and campaigns: small JSON files in results/, and from these docs/results.md and a table in
the README.

python -m scripts.publish runs/beauty-mclrec-seed1 runs/beauty-sasrec-seed1
python -m scripts.publish --campaign runs/reproduce     # what `mclrec reproduce` wrote there
python -m scripts.publish                               # only makes docs/results.md and the table again
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mclrec.experiments.reproduction import load_outcomes, runs_folder
from mclrec.files import read_json, write_json, write_text
from mclrec.runs.run import LABELS, DataInfo, Run
from scripts.results_page import page, summary, system

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, FIRST_PAGE = ROOT / "results", ROOT / "docs" / "results.md", ROOT / "README.md"
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
    "threads",
)


def publish_run(directory: Path, folder: Path = RESULTS) -> Path:
    """Publish one run as a JSON file: its results, and everything that they depend on."""
    run = Run(directory)
    if not run.record.finished:
        sys.exit(f"{directory}: is not finished")
    info, record = run.info.model_dump(mode="json"), run.record.model_dump(mode="json")
    variant = system(info).removeprefix(info["model"]).replace(" (", "-").rstrip(")")
    path = folder / f"{info['data']['name']}-{info['model']}{variant}-seed{info['seed']}.json"
    write_json(
        path,
        {
            **{key: info[key] for key in _OF_RUN},
            "data": _data(run.info.data),
            **{key: record[key] for key in _OF_RECORD},
            "protocols": {
                label: record["results"]["test"][label]["protocol"]["description"] for label in LABELS
            },
            "test": run.metrics,
            "validation": [epoch["metrics"] for epoch in run.history],
        },
    )
    return path


def publish_campaign(directory: Path, folder: Path = RESULTS) -> list[Path]:
    """Publish each target of a campaign as a JSON file: its tables, its numbers, and the runs behind them.

    Targets whose runs are not all done are named on standard error and left out.
    """
    paths = []
    for outcome in load_outcomes(directory):
        if outcome.missing:
            print(f"{directory}: {outcome.missing} runs of {outcome.name} are not done", file=sys.stderr)
            continue
        record = read_json(directory / outcome.name / "outcome.json")
        names = "-".join(Path(place).stem for place in record["scope"]["datasets"])
        keys = dict.fromkeys(key for row in outcome.measurements for key in row.keys)
        runs = {key: _provenance(runs_folder(directory), key) for key in keys}
        parts = [outcome.name, names]
        if recipe := record["scope"]["recipe"]:
            parts.append(recipe if isinstance(recipe, str) else "recipes")
        paths.append(folder / "campaigns" / f"{'-'.join(parts)}.json")
        write_json(paths[-1], {"target": outcome.name, **record, "runs": runs})
    return paths


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
        "source": data.place,
        "options": data.reading.model_dump(mode="json", exclude_defaults=True),
    }


def _provenance(folder: Path, key: str) -> dict[str, object]:
    """Command, data and duration of the run with a key."""
    [directory] = folder.glob(f"*-{key}")
    run = Run(directory)
    kept = run.info.model_dump(mode="json", include={"command", "seed", "versions"})
    record = run.record.model_dump(mode="json", include=set(_OF_RECORD))
    return {**kept, "data": _data(run.info.data), **record}


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", nargs="*", type=Path)
    words.add_argument("--campaign", type=Path)
    given = words.parse_args()
    for place in given.runs:
        print(publish_run(place))
    if given.campaign:
        print(*publish_campaign(given.campaign), sep="\n")
    write_text(PAGE, page(RESULTS))
    write_text(FIRST_PAGE, with_table(FIRST_PAGE.read_text(encoding="utf-8"), summary(RESULTS)))
