"""A few nights of a shop in two minutes, with everything that can go wrong: ``make test-nightly``.

complete-journey is replayed, with five days from night to night, while customers query the service all the time. The
first night goes well. In the second, the log is damaged and its model is refused; then somebody puts a bad model live
by hand, which the third night rolls back. Not one request may fail.
"""

from __future__ import annotations

import argparse
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from night import Night, Service, exchange, last_night, night, note, told
from shop import Customers, Shop, days, free_port, serving

import mclrec

SMALL: dict[str, Any] = {
    "layers": 1,
    "hidden_size": 32,
    "epochs": 4,
    "cycle": None,
    "learning_rate": 3e-3,
}  # training is cut short, so that each night improves the model
NEWEST = 20  # items in a request
FLOOR = 0.75  # share of the first model's NDCG@10
FIRST = date(2017, 12, 5)
STEP = 5  # days, after which some 900 households have bought something: enough to be sure of a bad model


def main() -> None:
    """Play the nights, and check that all promises are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/nightly-drill"))
    parser.add_argument("--households", type=int, help="of the log; all if not given")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    shop, live = Shop(given.households), given.out / "live"
    first, floor = begin(shop, given.out, FIRST)
    exchange(live, first, None)
    histories = histories_of(shop.log(given.out / "today.csv", FIRST))
    port = free_port()
    service = Service(f"http://127.0.0.1:{port}")
    with serving(live, port, given.out / "service.log") as process, Customers(port, histories) as customers:
        nights = [
            play(shop, given.out, live, service, floor, number, day)
            for number, day in enumerate(days(FIRST, 4, STEP)[1:], 1)
        ]
        version = service.ask("/model")["version"]
    check(nights, customers, live, version, process.returncode)


def histories_of(log: Path) -> list[list[str]]:
    """The newest items of each customer, which they send in their requests."""
    data = mclrec.load(log, min_count=1)
    names = [str(item) for item in data.item_ids]
    ends = zip(data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True)
    return [[names[item - 1] for item in data.items[start:end].tolist()[-NEWEST:]] for start, end in ends]


def begin(shop: Shop, folder: Path, day: date) -> tuple[Path, float]:
    """Train the shop's first model, measured and then on all data; return its directory and the floor based on it."""
    log = shop.log(folder / "today.csv", day)
    measured = mclrec.train(log, "sasrec", out=folder / "first" / "measured", progress=False, **SMALL)
    final = mclrec.finalize(measured, out=folder / "first" / "final", progress=False)
    mclrec.export(final)
    return final.directory, FLOOR * min(found["NDCG@10"] for found in measured.metrics.values())


def play(
    shop: Shop, folder: Path, live: Path, service: Service, floor: float, number: int, day: date
) -> Night:
    """One night of the drill; the second has a damaged log, after which a bad model goes live by hand."""
    change = damage(shop, day) if number == 2 else None
    log = shop.log(folder / "today.csv", day, change)
    done = night(live, log, folder / day.isoformat(), service, {"ndcg@10": floor})
    print(f"{day}{' (damaged log)' if change else ''}: {told(done)}", flush=True)
    if number == 2:
        put_bad_model_live(shop, folder, live, service, day)
        print(f"{day}: somebody has put a bad model live by hand", flush=True)
    return done


def damage(shop: Shop, day: date) -> dict[int, Any]:
    """A join that went wrong: each row has the item of another row."""
    items = shop.items_until(day)
    order = np.random.default_rng(1).permutation(len(items)).tolist()
    return {place: items[other] for place, other in enumerate(order)}


def put_bad_model_live(shop: Shop, folder: Path, live: Path, service: Service, day: date) -> None:
    """Put a model live in which each item has another item's id, recorded as one that was accepted."""
    items = shop.items_until(day)
    names = sorted(set(items))
    other = dict(zip(names, np.random.default_rng(2).permutation(names).tolist(), strict=True))
    log = shop.log(folder / "mixed-up.csv", day, {place: other[item] for place, item in enumerate(items)})
    bad = mclrec.train(log, "sasrec", out=folder / "bad", progress=False, **{**SMALL, "epochs": 1})
    before = str(live.resolve())
    exchange(live, bad.directory, service)
    last = last_night(live)
    assert last is not None
    last.before, last.live, last.outcome = before, str(bad.directory), "accepted"
    note(live, last)


def check(nights: list[Night], customers: Customers, live: Path, version: str, status: int) -> None:
    """Check that all promises are kept.

    Raises:
        SystemExit: a promise was broken.
    """
    _, second, third = nights
    asked = sum(customers.statuses.values())
    print(
        f"{asked} requests by customers, {len(customers.failed)} failed, slowest {customers.slowest * 1000:.0f} ms, "
        f"{len(customers.models)} models answered"
    )
    broken = {
        "no night gave a model": not any(one.outcome == "accepted" for one in nights),
        "a model of a damaged log was accepted": second.outcome != "refused" or second.live != second.before,
        "the bad model was not rolled back": not third.rolled_back.endswith("bad")
        or third.before != second.live,
        f"requests failed: {customers.failed[:3]}": bool(customers.failed),
        "too few requests to say anything": asked < 500,
        "the service has another model than the link": version != mclrec.Model.load(live).info["version"],
        f"the service left with status {status}": status != 0,
    }
    if faults := [fault for fault, so in broken.items() if so]:
        raise SystemExit("; ".join(faults))
    print("all is as it should be")


if __name__ == "__main__":
    main()
