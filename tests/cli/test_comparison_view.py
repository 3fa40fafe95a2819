"""A comparison on the terminal fits a narrow window without losing information."""

import io

import pytest
from rich.console import Console

from mclrec.cli.comparison_view import print_comparison
from mclrec.evaluation.claims import Finding
from mclrec.evaluation.effects import Effect
from mclrec.evaluation.significance import Interval
from mclrec.runs.comparison import Row


def row(label: str, finding: Finding | None) -> Row:
    metrics = dict.fromkeys(("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20"), 0.1234)
    return Row(label, (1, 2), metrics, Interval(0.1234, 0.1111, 0.1357), True, finding)


def rows(count: int) -> list[Row]:
    effect = Effect(Interval(0.01, 0.005, 0.015), Interval(0.1, 0.05, 0.15), 0.0123)
    found = [
        Finding(name, "base", "NDCG@10", 943, (2, 2), effect, 0.0123 * count, count, 0.008, 0.1)
        for name in ("gru4rec", "mclrec")[:count]
    ]
    return [row("base", None), *(row(one.system, one) for one in found)]


def shown(found: list[Row], width: int) -> list[str]:
    file = io.StringIO()
    print_comparison(found, "U", "ndcg@10", console=Console(file=file, width=width, color_system=None))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("count", [1, 2])
def test_narrow_and_wide(count: int) -> None:
    wide, narrow = shown(rows(count), 160), shown(rows(count), 80)
    assert max(map(len, narrow)) <= 80
    assert sum(line.startswith("base ") for line in wide) == 1
    assert "95 % of NDCG@10" in "\n".join(wide)
    assert "ndcg" not in "\n".join(wide)
    heads = [line.split() for line in narrow if line.startswith("system")]
    assert [head[1] for head in heads] == ["HR@5", "seeds"]
    assert ("(Holm)" in heads[1]) == (count == 2)
    assert "0.1111 to 0.1357" in "".join(narrow)  # no number is wrapped
    words = " ".join(" ".join(narrow).split())
    assert "mclrec is ahead of base on NDCG@10 by 10.0 % (5.0 to 15.0 %), p = 0.0246" in words or count == 1


def test_one_system_alone() -> None:
    lines = shown([row("base", None)], 160)
    assert "Few seeds of base (2)" in " ".join(lines)
    assert not any("cannot" in line for line in lines)
