"""How much co-occurrence adds to trained models, by its weight: validation only, nothing is trained.

This made the table of docs/auto.md: python -m scripts.co_occurrence_weights runs/first runs/second
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mclrec.data.split import make_split
from mclrec.evaluation.metrics import summarise
from mclrec.evaluation.ranking import rank_targets
from mclrec.models.base import VectorRecommender
from mclrec.models.storage import load_model
from mclrec.nn.co_occurrence import CoOccurrence
from mclrec.runs.remeasure import run_data
from mclrec.runs.run import open_run

WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)


def row(directory: Path) -> str:
    """The table row of a run: validation NDCG@10 under F and U by weight."""
    run = open_run(directory)
    data, loaded = run_data(run), load_model(run.directory)
    model = loaded.model
    assert isinstance(model, VectorRecommender)
    split = make_split(data, run.info.split)
    counted = CoOccurrence(model.num_items, model.max_length, 1.0)
    counted.count(split.training)
    cells = []
    for weight in WEIGHTS:
        counted.choose(counted.chosen._replace(weight=weight))
        model.co_occurrence = counted if weight else None
        ranks = [rank_targets(model, split.validation, seen=seen) for seen in ("drop", "keep")]
        cells.append(" / ".join(f"{summarise(each, (10,))['NDCG@10']:.4f}"[1:] for each in ranks))
    return f"| {data.name}, {loaded.name}, seed {run.info.seed} | {' | '.join(cells)} |"


def main() -> None:
    """Print a table with a row for each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, trained with any weight")
    print(f"| NDCG@10, F / U | {' | '.join(f'{weight:g}' for weight in WEIGHTS)} |")
    print("| --- |" + " --- |" * len(WEIGHTS))
    for directory in parser.parse_args().runs:
        print(row(directory), flush=True)


if __name__ == "__main__":
    main()
