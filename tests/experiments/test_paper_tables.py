import numpy as np
import pytest

from mclrec.evaluation.protocol import RankTable
from mclrec.experiments.paper_tables import by_repeat, improvement

USERS = 200
REPEATED = np.arange(USERS) % 4 == 0


def _table(ranks: np.ndarray, repeated: np.ndarray = REPEATED) -> RankTable:
    names: list[int | str] = list(range(USERS))
    ones = np.ones(USERS, dtype=np.int64)
    return RankTable(names, names, ranks.astype(np.int64), ones, repeated, ones, {})


RANKS = {
    "weak": [_table(np.full(USERS, 30))],
    "baseline": [
        _table(np.where(np.arange(USERS) < 100, 1, 30)),
        _table(np.where(np.arange(USERS) < 50, 1, 30)),
    ],
    "ours": [_table(np.where(np.arange(USERS) < 120, 1, 30))],
}


def test_ours_is_compared_with_the_best_of_the_others_over_its_seeds() -> None:
    table = improvement("T", RANKS, "ours")
    name, cells = table.rows[0]
    assert name == "HR@5"
    assert [cell.text for cell in cells[:4]] == ["0.6000", "baseline", "0.3750", "+60.0%"]
    assert cells[4].value == pytest.approx(2 / 10_001)
    assert cells[4].text == "\N{LESS-THAN OR EQUAL TO} 0.0002"
    assert len(table.rows) == 6


def test_repeats_are_measured_separately() -> None:
    ranks = {"only repeats": [_table(np.where(REPEATED, 1, 99))], **RANKS}
    table = by_repeat("T", ranks)
    assert table.columns[1:3] == ["HR@20, repeats", "HR@20, others"]
    assert [cell.value for cell in table.rows[0][1]] == [1, 0, 1, 0]
    assert table.notes == ["25.00% of 200 targets are repeats."]


@pytest.mark.parametrize("repeated", [True, False])
def test_a_group_without_targets_has_no_number(repeated: bool) -> None:
    ranks = {"all alike": [_table(np.full(USERS, 3), np.full(USERS, repeated))]}
    table = by_repeat("T", ranks)
    texts = [cell.text for cell in table.rows[0][1][:2]]
    assert texts == (["1.0000", "-"] if repeated else ["-", "1.0000"])
    assert all(cell.value is None or np.isfinite(cell.value) for cell in table.rows[0][1])
