"""A month of nights: is updating last night's model as good as training from scratch, and what does each cost?

    OMP_NUM_THREADS=1 python examples/nightly/month.py --out runs/month --nights 6 --step 5

Three shops share one log, complete-journey, which grows by some days at a time. The first never changes its model, the
second updates last night's, the third trains from scratch on the whole log, all with the same settings. Each then
recommends items before the purchases of the following days, on which none of them was trained. Each night is saved in
`nights.jsonl` as soon as it is over, so that the same command continues after an interruption; `month.json` has the
whole month, with everything that it depends on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from night import K, gains, lists_of, purchases_since
from shop import Shop, days

import mclrec
from mclrec.evaluation.significance import paired_bootstrap
from mclrec.json_files import write_json

WAYS = ("never", "updated", "anew")
PROTOCOL = (
    f"NDCG@{K} of each household on its purchases of the days that follow, each as if it were the only one, items of "
    "the history left out; intervals and p by the paired bootstrap over households, each with the mean of its nights"
)
NIGHTS, MONTH, PLAN = "nights.jsonl", "month.json", "plan.json"


class GrowingLog(Protocol):
    """A log that grows by the day, such as `Shop`."""

    def log(self, path: Path, day: date) -> Path:
        """Write the log until the end of a day."""


@dataclass
class Night:
    """One night of the three shops.

    Attributes:
        day: day at whose end the log is read.
        rows: number of rows of the log that are trained on.
        gains: NDCG@20 by way and household, for households that buy in the following days.
        minutes: minutes of processor time that training took, by way.
        epochs: number of epochs that were trained, by way.
        outcome: outcome of the update: accepted or refused.
    """

    day: str
    rows: int
    gains: dict[str, dict[str, float]]
    minutes: dict[str, float]
    epochs: dict[str, int]
    outcome: str


@dataclass(frozen=True)
class Plan:
    """What the nights in a folder depend on.

    Attributes:
        model: name of the model.
        seed: seed of all trainings.
        settings: settings of all trainings.
        start: day at whose end the first model is trained.
        step: number of days by which the log grows from night to night.
    """

    model: str
    seed: int
    settings: Mapping[str, Any]
    start: date
    step: int


class Month:
    """The three shops over a month.

    Args:
        shop: the shop whose log grows.
        folder: folder of logs, runs and results.
        plan: what the nights depend on.
    """

    def __init__(self, shop: GrowingLog, folder: Path, plan: Plan) -> None:
        self.shop, self.folder, self.plan = shop, folder, plan
        folder.mkdir(parents=True, exist_ok=True)
        self._keep_plan()

    def _keep_plan(self) -> None:
        """Save the plan; refuse a folder with another plan.

        Raises:
            SystemExit: the folder holds a month with other settings.
        """
        path = self.folder / PLAN
        own = json.loads(json.dumps(asdict(self.plan), default=str))
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != own:
            raise SystemExit(f"{self.folder}: holds a month of other settings; give another --out")
        write_json(path, own)

    def run(self, count: int) -> list[Night]:
        """Play nights, continuing after those that are over."""
        start, step = self.plan.start, self.plan.step
        first = self.folder / "first"
        if not (first / "final" / "metrics.json").exists():
            self._train_from_scratch(self.shop.log(self.folder / "first.csv", start), first)
        found, live = self._played(), first
        for number, day in enumerate(days(start, count + 1, step)[1:]):
            if number == len(found):
                found.append(self.night(day, live))
                with (self.folder / NIGHTS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(found[-1])) + "\n")
                print(row(summary_of(found[-1])), flush=True)
            if found[number].outcome == "accepted":
                live = self.folder / f"updated-{day}"
        return found

    def _played(self) -> list[Night]:
        """The nights that are over."""
        path = self.folder / NIGHTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Night(**json.loads(line)) for line in lines]

    def night(self, day: date, live: Path) -> Night:
        """Play one night: train, update, and ask all three models.

        Args:
            day: day at whose end the log is read.
            live: folder of the second shop's current model, with ``measured`` and ``final`` in it.
        """
        new, anew = self.folder / f"updated-{day}", self.folder / f"anew-{day}"
        for unfinished in (new, anew):  # the cost of an interrupted night is not known
            shutil.rmtree(unfinished, ignore_errors=True)
        log = self.shop.log(self.folder / f"{day}.csv", day)
        with stopwatch() as of_anew:
            self._train_from_scratch(log, anew)
        with stopwatch() as of_update:
            update = mclrec.update(live / "measured", log, out=new, final=True, progress=False)
        models = {
            "never": self.folder / "first" / "final",
            "updated": (new if update.accepted else live) / "final",
            "anew": anew / "final",
        }
        return Night(
            str(day),
            len(mclrec.load(log).items),
            self._gains(models, log, day),
            {"never": 0.0, "updated": of_update[0], "anew": of_anew[0]},
            {"never": 0, "updated": epochs_of(new), "anew": epochs_of(anew)},
            "accepted" if update.accepted else "refused",
        )

    def _train_from_scratch(self, log: Path, out: Path) -> None:
        """Train from scratch on a log: first a measured model, then a final one on all data."""
        plan = self.plan
        measured = mclrec.train(
            log, plan.model, seed=plan.seed, out=out / "measured", progress=False, **plan.settings
        )
        mclrec.finalize(measured, out=out / "final", progress=False)

    def _gains(self, models: Mapping[str, Path], log: Path, day: date) -> dict[str, dict[str, float]]:
        """NDCG@20 of each model for the households that buy in the following days, by way and household."""
        data = mclrec.load(log, min_count=1)
        assert data.times is not None
        later = self.shop.log(self.folder / "later.csv", day + timedelta(days=self.plan.step))
        bought = purchases_since(later, int(data.times.max()))
        return {
            way: dict(
                zip(
                    bought.users, gains(lists_of(model)(bought.histories), bought.items).tolist(), strict=True
                )
            )
            for way, model in models.items()
        }


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Measure the minutes of processor time of a block, in a list that is filled at its end."""
    began, found = time.process_time(), list[float]()
    yield found
    found.append((time.process_time() - began) / 60)


def epochs_of(folder: Path) -> int:
    """Total epochs of the trainings in a folder; a refused update has no final training."""
    records = [folder / name / "metrics.json" for name in ("measured", "final")]
    return sum(json.loads(path.read_text(encoding="utf-8"))["epochs"] for path in records if path.exists())


def summary_of(night: Night) -> dict[str, Any]:
    """A night with gains averaged over its households."""
    means = {way: float(np.mean(list(night.gains[way].values()))) for way in WAYS}
    return {**asdict(night), "gains": means, "households": len(night.gains["anew"])}


def summary(found: Sequence[Night]) -> dict[str, Any]:
    """A month with gains averaged over all households, and bootstrap tests of the differences."""
    households = sorted({name for night in found for name in night.gains["anew"]})
    together = {
        way: np.array(
            [
                np.mean([night.gains[way][name] for night in found if name in night.gains[way]])
                for name in households
            ]
        )
        for way in WAYS
    }
    tests = {
        other: paired_bootstrap(together["updated"], together[other], np.random.default_rng(1))
        for other in ("anew", "never")
    }
    return {
        "nights": [summary_of(night) for night in found],
        "households": len(households),
        "gains": {way: float(values.mean()) for way, values in together.items()},
        "minutes": {way: sum(night.minutes[way] for night in found) for way in WAYS},
        "epochs": {way: sum(night.epochs[way] for night in found) for way in WAYS},
        "updated_less": {
            other: {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p}
            for other, test in tests.items()
        },
    }


def row(night: Mapping[str, Any]) -> str:
    """A night as a row of the table."""
    values = " | ".join(f"{night['gains'][way]:.4f}" for way in WAYS)
    updated, anew = (f"{night['minutes'][way]:.1f} ({night['epochs'][way]})" for way in WAYS[1:])
    refused = ", refused" if night["outcome"] == "refused" else ""
    return f"| {night['day']} | {night['households']:,} | {values} | {updated}{refused} | {anew} |"


def table(month: Mapping[str, Any]) -> str:
    """A month as Markdown: one row per night, and below the table the tests of the differences."""
    lines = [
        "| log until | households | never | updated | anew | minutes (epochs): updated | anew |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(row, month["nights"]),
        row({**month, "day": "all", "outcome": ""}),
        "",
    ]
    for other, one in month["updated_less"].items():
        lines.append(
            f"- updated less {other}: {one['difference']:+.4f}, 95 % interval {one['low']:+.4f} to {one['high']:+.4f}, "
            f"p {'<' if one['p'] < 0.001 else '='} {max(one['p'], 0.001):.3f}"
        )
    return "\n".join(lines)


def published(month: Month, found: Sequence[Night], command: str) -> dict[str, Any]:
    """A month's summary with everything that it depends on."""
    first = mclrec.Run(month.folder / "first" / "measured")
    data = mclrec.load("complete-journey")
    return {
        "command": command,
        "model": first.info.model,
        "seed": first.info.seed,
        "recipe": first.info.recipe.section,
        "config": first.info.config,
        "training": first.info.training,
        "protocol": PROTOCOL,
        "data": {"name": data.name, "fingerprint": data.fingerprint},
        "threads": first.record.threads,
        "versions": first.info.versions,
        **summary(found),
    }


def main() -> None:
    """Play the month, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/month"))
    parser.add_argument("--model", default="sasrec")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--start", type=date.fromisoformat, default=date(2017, 11, 25), help="of the first model"
    )
    parser.add_argument("--nights", type=int, default=6)
    parser.add_argument("--step", type=int, default=5, help="days that the log grows by from night to night")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, its value as JSON; may be repeated",
    )
    given = parser.parse_args()
    settings = {name: json.loads(value) for name, _, value in (one.partition("=") for one in given.set)}
    month = Month(Shop(), given.out, Plan(given.model, given.seed, settings, given.start, given.step))
    found = month.run(given.nights)
    made = published(month, found, " ".join(["python examples/nightly/month.py", *sys.argv[1:]]))
    write_json(given.out / MONTH, made)
    print(table(made))


if __name__ == "__main__":
    main()
