"""One night of a shop: yesterday's model is judged by today's purchases, and today's takes its place if it is no worse.

    python examples/nightly/night.py live today.csv --out runs/2026-06-02 --url http://127.0.0.1:8000

`live` is the symbolic link from which `mclrec serve live` reads its model. In this order:

1. The model that went live last night and the one before it are asked what they would have recommended before today's
   purchases. If the new one is significantly worse (p < .05, bootstrap over users), the link is set back, and the
   service reloads: a rollback.
2. `mclrec.update` continues from the live model, on today's log. It refuses a model that is worse than the live one on
   held-out purchases, no better than popularity, or below a floor (`--floor ndcg@10=0.03`).
3. An accepted model is trained on all data, exported, and put in the place of the old one. The service reloads, which
   loses no request; if it refuses the model, the link is set back.

Each night appends a line to `nights.jsonl` beside the link, which says what was done.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import mclrec
from mclrec.evaluation.significance import paired_bootstrap
from mclrec.runs.live_link import point

K = 20
SURE = 0.05
BATCH = 128
NIGHTS = "nights.jsonl"

Lists = Callable[[Sequence[Sequence[Any]]], list[list[Any]]]
"""Maps histories to lists of recommended items."""


@dataclass
class Verdict:
    """Comparison of two models on the same purchases, on which neither was trained.

    Attributes:
        users: number of users who bought something.
        live: NDCG@20 of the model that is live.
        before: NDCG@20 of the one before it.
        p: p-value of the difference.
    """

    users: int
    live: float
    before: float
    p: float

    @property
    def worse(self) -> bool:
        """Whether the live model is significantly worse."""
        return self.live < self.before and self.p < SURE


@dataclass
class Night:
    """What was done in a night.

    Attributes:
        out: directory of the update.
        until: time of the newest row of the log.
        before: model that was live at the end of the day.
        live: model that is live now.
        rolled_back: live model that was rolled back, as significantly worse than the one before it.
        verdict: the comparison of step 1; None if last night put no new model live.
        outcome: accepted, refused by the comparison on held-out purchases, or not loaded by the service.
        reasons: reasons of a refusal.
        metric: NDCG@10 of the new model on held-out purchases.
        minutes: minutes that the update took.
    """

    out: str
    until: int
    before: str = ""
    live: str = ""
    rolled_back: str = ""
    verdict: Verdict | None = None
    outcome: str = ""
    reasons: list[str] = field(default_factory=list)
    metric: float = 0.0
    minutes: float = 0.0


@dataclass
class Purchases:
    """What users bought after a point in time.

    Attributes:
        users: names of the users.
        histories: for each user, the items until then.
        items: for each user, the items after it.
    """

    users: list[str] = field(default_factory=list)
    histories: list[list[str]] = field(default_factory=list)
    items: list[list[str]] = field(default_factory=list)


class Service:
    """Client of the running service's HTTP interface.

    Args:
        url: address of the service.
        key: administrator's key; None if the service has none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url, self._headers = url, {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the JSON of the answer; a refusal raises RuntimeError with its message."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self._headers)  # noqa: S310 - the user's own address
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as refusal:
            raise RuntimeError(json.load(refusal)["detail"]) from None

    def lists(self, histories: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """What the service recommends after each history."""
        found: list[list[Any]] = []
        for start in range(0, len(histories), BATCH):
            asked = [{"history": list(one), "k": K} for one in histories[start : start + BATCH]]
            answers = self.ask("/recommend/batch", {"requests": asked})["answers"]
            found += [[one["item"] for one in answer["items"]] for answer in answers]
        return found


def lists_of(model: Path) -> Lists:
    """A function that says what a model on disk recommends after each history."""
    loaded = mclrec.Model.load(model)
    k = min(K, len(loaded.items))

    def lists(histories: Sequence[Sequence[Any]]) -> list[list[Any]]:
        answers = loaded.answer(mclrec.Query(list(one), k=k) for one in histories)
        return [[str(one.item) for one in answer] for answer in answers]

    return lists


def purchases_since(log: str | Path, since: int) -> Purchases:
    """Histories until a point in time and the purchases after it, of all users who have both."""
    data = mclrec.load(log, min_count=1)
    assert data.times is not None
    names, found = [str(item) for item in data.item_ids], Purchases()
    bounds = zip(data.user_ids, data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True)
    for user, start, stop in bounds:
        first = start + int(np.searchsorted(data.times[start:stop], since, side="right"))
        if start < first < stop:
            found.users.append(str(user))
            found.histories.append([names[item - 1] for item in data.items[start:first].tolist()])
            found.items.append([names[item - 1] for item in data.items[first:stop].tolist()])
    return found


def gains(lists: Sequence[Sequence[Any]], bought: Sequence[Sequence[str]]) -> Any:
    """(users,) NDCG@20 of each user: the mean over purchases, each as if it were the only one."""
    found = []
    for listed, items in zip(lists, bought, strict=True):
        worth = {str(item): 1 / np.log2(place + 2) for place, item in enumerate(listed)}
        found.append(np.mean([worth.get(item, 0.0) for item in items]))
    return np.array(found, dtype=np.float32)


def compared(live: Lists, before: Lists, log: str | Path, since: int) -> Verdict:
    """Compare two models on the purchases after ``since``."""
    bought = purchases_since(log, since)
    own, other = (gains(lists(bought.histories), bought.items) for lists in (live, before))
    test = paired_bootstrap(own, other, np.random.default_rng(1))
    return Verdict(len(bought.users), float(own.mean()), float(other.mean()), test.p)


def night(
    live: Path,
    log: str | Path,
    out: Path,
    service: Service | None,
    floor: Mapping[str, float],
    final: bool = True,
) -> Night:
    """Judge the live model by today's purchases, and replace it with today's model if that is no worse."""
    data = mclrec.load(log, min_count=1)
    assert data.times is not None
    done = Night(str(out), int(data.times.max()))
    last = last_night(live)
    if last is not None and last.outcome == "accepted":
        asked = lists_of(live.resolve()) if service is None else service.lists
        done.verdict = compared(asked, lists_of(Path(last.before)), log, last.until)
        if done.verdict.worse:
            done.rolled_back = str(live.resolve())
            exchange(live, Path(last.before), service)
    done.before = str(live.resolve())
    began = time.perf_counter()
    update = mclrec.update(live, log, out=out, floor=floor, final=final, export="onnx", progress=False)
    done.minutes = (time.perf_counter() - began) / 60
    assert update.judgement is not None
    done.metric, done.outcome = update.judgement.value, "accepted" if update.accepted else "refused"
    done.reasons = list(update.judgement.faults)
    if update.model is not None:
        try:
            exchange(live, update.model, service)
        except RuntimeError as refusal:
            done.outcome, done.reasons = "not loaded", [str(refusal)]
    done.live = str(live.resolve())
    note(live, done)
    return done


def exchange(live: Path, model: Path, service: Service | None) -> None:
    """Point the link to a model and reload the service; if the service refuses the model, set the link back."""
    before = live.resolve()
    point(live, model)
    if service is None:
        return
    try:
        service.ask("/model/reload", {})
    except RuntimeError:
        point(live, before)
        raise


def note(live: Path, done: Night) -> None:
    """Append a night to the file that records what was done."""
    with (live.parent / NIGHTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(done)) + "\n")


def last_night(live: Path) -> Night | None:
    """The last recorded night, without its verdict; None before the first night."""
    path = live.parent / NIGHTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return None if not lines else Night(**{**json.loads(lines[-1]), "verdict": None})


def told(done: Night) -> str:
    """A night in one line of text."""
    parts = []
    if done.verdict is not None:
        one = done.verdict
        parts.append(
            f"{one.users} buyers: NDCG@20 {one.live:.4f}, the model before {one.before:.4f} (p {one.p:.3f})"
        )
    if done.rolled_back:
        parts.append(f"rolled back from {done.rolled_back}")
    parts.append(f"{done.outcome}: NDCG@10 {done.metric:.4f} on held-out items, {done.minutes:.2f} minutes")
    return "; ".join(parts + done.reasons)


def main() -> None:
    """Run one night, as a timer starts it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("live", type=Path, help="symbolic link to the model that is served")
    parser.add_argument("log", help="the log until today")
    parser.add_argument("--out", type=Path, required=True, help="directory of the update")
    parser.add_argument("--url", help="of the service")
    parser.add_argument("--admin-key", type=Path, help="file with an administrator's key")
    parser.add_argument("--floor", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    given = parser.parse_args()
    key = None if given.admin_key is None else given.admin_key.read_text(encoding="utf-8").split()[0]
    service = None if given.url is None else Service(given.url, key)
    floor = {name: float(value) for name, _, value in (one.partition("=") for one in given.floor)}
    print(told(night(given.live, given.log, given.out, service, floor)))


if __name__ == "__main__":
    main()
