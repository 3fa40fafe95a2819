"""Files of campaigns in results/campaigns/: the tables of a target, their numbers, and the runs behind them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.kept_results import directories_with
from mclrec.experiments.reproduction import Outcome, load_outcomes, runs_folder
from mclrec.json_files import read_json, write_json
from mclrec.runs.run import Run
from mclrec.wording import count_of
from scripts.claim_evidence import differences_of
from scripts.row_commands import decided_command, portable_command
from scripts.row_identity import NotPublishableError, check_row, check_scope, check_training, recorded_sizes
from scripts.run_files import OF_RECORD, data_of

_OF_RUN = {"command", "seed", "config", "training", "versions"}


def publish_campaign(directory: Path, folder: Path, *, unfinished: bool = False) -> list[Path]:
    """Publish each target of a campaign as a JSON file: its tables, its numbers, and the runs behind them.

    Args:
        directory: directory of the campaign.
        folder: folder of the results.
        unfinished: whether to publish targets with runs that are not done, which their tables then state; otherwise
            such targets are left out and named on standard error.

    Raises:
        MclrecError: there is no campaign, its data are not all registered data sets, a run of it cannot be published,
            or the file published under its name would be replaced with different or fewer results.
    """
    found = {}
    for outcome in load_outcomes(directory):
        if outcome.missing and not (unfinished and outcome.measurements):
            print(f"{directory}: {outcome.name} lacks {count_of(outcome.missing, 'run')}", file=sys.stderr)
            continue
        record = _record(outcome, directory)
        path = folder / "campaigns" / _file_name(record)
        check_replaced(path, record)
        found[path] = record
    for path, record in found.items():
        write_json(path, record)
    return list(found)


def _record(outcome: Outcome, directory: Path) -> dict[str, Any]:
    """The published record of a target."""
    record = read_json(directory / outcome.name / "outcome.json")
    check_scope(directory / outcome.name, record["scope"])
    keys = dict.fromkeys(key for row in outcome.measurements for key in row.keys)
    runs = {key: _run(runs_folder(directory), key) for key in keys}
    for run in runs.values():
        _check_run(run, record["scope"]["datasets"])
    return {
        "target": outcome.name,
        **record,
        "differences": differences_of(outcome.name, outcome.measurements, runs),
        "runs": {key: _provenance(run) for key, run in runs.items()},
    }


def _file_name(record: Mapping[str, Any]) -> str:
    recipe = record["scope"]["recipe"]
    by_recipe = [] if not recipe else [recipe if isinstance(recipe, str) else "recipes"]
    return "-".join([record["target"], *record["scope"]["datasets"], *by_recipe]) + ".json"


def _run(folder: Path, key: str) -> Run:
    """The campaign's run with a key."""
    found = directories_with(folder, key)
    if not found:
        raise NotPublishableError(f"{folder}: has no run with the key {key}")
    return Run(found[0])


def _check_run(run: Run, datasets: Iterable[str]) -> None:
    """Refuse a run on data other than a data set of the campaign or some of its users."""
    info, row = run.info, run.info.model_dump(mode="json")
    whole = info.data.name in datasets
    of_users = info.data.kind == "dataset" and info.data.place in datasets
    if whole or not of_users:
        check_row(row, run.directory)
    else:
        check_training(row, run.directory)


def _provenance(run: Run) -> dict[str, object]:
    """Command, settings, data, machine and duration of a run."""
    kept = run.info.model_dump(mode="json", include=_OF_RUN)
    record = run.record.model_dump(mode="json", include=set(OF_RECORD))
    command = portable_command(run.info.command, run.directory.name, run.info.data)
    decided = decided_command(command, {"training": run.info.training})
    return {**kept, "command": decided, "data": data_of(run.info.data), **recorded_sizes(run), **record}


def check_replaced(path: Path, campaign: Mapping[str, Any]) -> None:
    """Refuse to replace a published campaign with a different one of the same name, or with fewer results."""
    if not path.is_file():
        return
    there = read_json(path)
    for key in ("recipe", "settings", "points"):
        ours, theirs = (found["scope"].get(key) for found in (campaign, there))
        if ours != theirs:
            raise NotPublishableError(
                f"{path.name}: is published with {key} {theirs}, not {ours}; remove it if it is replaced"
            )
    ours, theirs = _fingerprints(campaign), _fingerprints(there)
    other = [data for data in theirs if data in ours and ours[data] != theirs[data]]
    if other:
        raise NotPublishableError(
            f"{path.name}: is published with other data of the name {other[0]}: fingerprint "
            f"{theirs[other[0]][:12]}, not {ours[other[0]][:12]}; remove it if it is replaced"
        )
    of_models = [] if there["missing"] else [("model", _models)]  # models without a run have nothing to lose
    for what, of in (*of_models, ("row", _rows), ("value", _values)):
        if lost := of(there) - of(campaign):
            raise NotPublishableError(
                f"{path.name}: is published with {count_of(len(lost), what)} more, such as {min(lost)}; "
                "remove it if it is replaced"
            )


def _fingerprints(campaign: Mapping[str, Any]) -> dict[str, str]:
    return {run["data"]["name"]: run["data"]["fingerprint"] for run in campaign["runs"].values()}


def _models(campaign: Mapping[str, Any]) -> set[str]:
    """The models that a campaign compares; empty if its target compares none."""
    target = TARGETS.get(campaign["target"])
    return {*(campaign["scope"]["models"] or (target.models if target else ()))}


def _rows(campaign: Mapping[str, Any]) -> set[str]:
    return {row["row"] for row in campaign["measurements"]}


def _values(campaign: Mapping[str, Any]) -> set[str]:
    """Every metric of every point, with each of its seeds."""
    found = set()
    for row in campaign["measurements"]:
        point = row["row"] if row["x"] is None else f"{row['row']} at {row['x']:g}"
        name = f"{row['metric']} {row['protocol']} of {point} on {row['data']}"
        found |= {f"{name} with seed {seed}" for seed in row["seeds"]}
    return found
