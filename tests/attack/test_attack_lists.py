"""Random and damaged recommendation files are ranked as a plain loop ranks them, or refused with a one-line error."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.helpers import sequences_of

from mclrec.data.split import Targets, leave_one_out
from mclrec.errors import MclrecError
from mclrec.evaluation.listed_ranks import ListedRanks, ranks_of_lists
from mclrec.evaluation.metrics import MISS
from mclrec.evaluation.protocol import Seen
from mclrec.evaluation.recommended_lists import read_lists

pytestmark = pytest.mark.attack

KINDS = (".csv", ".tsv", ".parquet", ".run", ".jsonl")
Rows = list[tuple[int, int, float]]


def random_rows(rng: np.random.Generator, users: int, items: int) -> Rows:
    """Rows of known and unknown users and items, with some duplicates and equal scores."""
    count = int(rng.integers(1, 40))
    drawn = zip(
        rng.integers(1, users + 3, count).tolist(),
        rng.integers(1, items + 3, count).tolist(),
        (rng.integers(0, 9, count) / 4).tolist(),
        strict=True,
    )
    return [(user, item, score) for user, item, score in drawn]


def write(path: Path, rows: Rows) -> None:
    if path.suffix == ".parquet":
        users, items, scores = zip(*rows, strict=True)
        pq.write_table(pa.table({"user": users, "item": items, "score": scores}), path)
    elif path.suffix == ".run":
        path.write_text("".join(f"{u} Q0 {i} 1 {s} tag\n" for u, i, s in rows), encoding="utf-8")
    elif path.suffix == ".jsonl":
        lines = (f'{{"user": {u}, "item": "{i}", "score": {s}}}\n' for u, i, s in rows)
        path.write_text("".join(lines), encoding="utf-8")
    else:
        text = io.StringIO()
        sign = "\t" if path.suffix == ".tsv" else ","
        csv.writer(text, delimiter=sign).writerows([("user_id", "item_id", "score"), *rows])
        path.write_text(text.getvalue(), encoding="utf-8")


def naive(rows: Rows, targets: Targets, seen: Seen) -> list[int]:
    """Ranks computed by a loop over the rows."""
    ranks = []
    histories = targets.histories(np.arange(len(targets))).tolist()
    for user, target, history in zip(targets.users.tolist(), targets.items.tolist(), histories, strict=True):
        own = [(item, score) for owner, item, score in rows if owner == user + 1]
        best = max((score for item, score in own if item == target), default=None)
        if best is None or (seen == "drop" and target in history):
            ranks.append(MISS)
            continue
        rivals = [item for item, score in own if item != target and score >= best]
        ranks.append(1 + sum(seen == "keep" or item not in history for item in rivals))
    return ranks


def judged_or_refused(path: Path, targets: Targets, seen: Seen) -> ListedRanks | None:
    try:
        return ranks_of_lists(read_lists(path), targets, seen)
    except MclrecError as problem:
        text = str(problem)
        assert text.count("\n") <= 1
        assert len(text) <= 300 + len(str(path))
        return None


def test_files_of_lists(attack: Attack, tmp_path: Path) -> None:
    for rng in attack.inputs():
        users, items = int(rng.integers(1, 6)), int(rng.integers(3, 8))
        sequences = [rng.integers(1, items + 1, rng.integers(3, 7)).tolist() for _ in range(users)]
        targets = leave_one_out(sequences_of(sequences, items)).test
        rows = random_rows(rng, users, items)
        seen: Seen = "keep" if rng.random() < 0.5 else "drop"
        path = tmp_path / f"lists{rng.choice(KINDS)}"
        write(path, rows)
        found = judged_or_refused(path, targets, seen)
        known = any(user <= users for user, _, _ in rows) and any(item <= items for _, item, _ in rows)
        assert (found is not None) == known
        if found is not None:
            assert found.ranks.tolist() == naive(rows, targets, seen)
        path.write_bytes(damaged(path.read_bytes(), rng))
        hurt = judged_or_refused(path, targets, seen)
        if hurt is not None:  # whatever was read, ranks stay within the lists
            assert hurt.ranks.min() >= 1
            listed = hurt.ranks[hurt.ranks < MISS]
            assert (listed <= hurt.facts.length).all()
            assert (hurt.best_case() <= hurt.ranks).all()
