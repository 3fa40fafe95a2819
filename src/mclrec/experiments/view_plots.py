"""View plots: t-SNE of the two views of training histories, with alignment and uniformity (paper, figures 2 and 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mclrec.data.batches import Histories
from mclrec.data.examples import whole
from mclrec.data.sequences import SequenceData
from mclrec.data.split import make_split
from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import FloatArray
from mclrec.experiments.data_names import data_name
from mclrec.experiments.planned_runs import RunStore
from mclrec.experiments.results_table import PlannedRow, ResultTable, TableCell
from mclrec.extras import require
from mclrec.models.mclrec import MCLRec
from mclrec.models.storage import load_model
from mclrec.randomness import Stream, generator

__all__ = ["ViewPlot", "alignment", "uniformity", "view_plots_of", "view_tables"]

_MEASURED = 2048
"""Number of histories that alignment and uniformity are computed on."""

_SHOWN = 100
"""Number of histories that are drawn."""


@dataclass(frozen=True, slots=True)
class ViewPlot:
    """The two views of a sample of training histories, as the model of one run embeds them.

    Attributes:
        data: name of the data set.
        row: name of the row.
        views: names of the two views, as in the paper.
        one: t-SNE coordinates (x, y) of each history's first view.
        other: t-SNE coordinates (x, y) of each history's second view.
        alignment: see `alignment`.
        uniformity: see `uniformity`, over both views.
        epoch: epoch whose weights validation chose; None if the model is not trained in epochs.
        seed: seed of the run.
    """

    data: str
    row: str
    views: tuple[str, str]
    one: Sequence[tuple[float, float]]
    other: Sequence[tuple[float, float]]
    alignment: float
    uniformity: float
    epoch: int | None
    seed: int

    @classmethod
    def of(cls, plot: Mapping[str, Any]) -> ViewPlot:
        """Make a plot from its JSON object.

        Raises:
            KeyError, TypeError: it is not a plot.
        """
        return cls(**{**plot, "views": tuple(plot["views"])})


def alignment(one: FloatArray, other: FloatArray) -> float:
    """Mean squared distance between the two views of a history, on the unit sphere; 0 if they coincide.

    Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, section 4.1.2, with alpha = 2.

    Args:
        one: (B, d) first view of each history.
        other: (B, d) second view of each history.
    """
    difference = _on_sphere(one) - _on_sphere(other)
    return float(np.square(difference).sum(1).mean())


def uniformity(vectors: FloatArray) -> float:
    """Logarithm of the mean of exp(-2 squared distance) over all pairs, on the unit sphere; lower is more uniform.

    Wang and Isola, ICML 2020, section 4.1.2, with t = 2. It is 0 if all vectors coincide.

    Args:
        vectors: (B, d), B at least 2.
    """
    sphere = _on_sphere(vectors)
    above = np.triu_indices(len(sphere), 1)
    squared = (2 - 2 * sphere @ sphere.T)[above]
    return float(np.log(np.exp(-2 * squared).mean()))


def view_plots_of(store: RunStore, rows: Sequence[PlannedRow], views: tuple[str, str]) -> list[ViewPlot]:
    """Make a view plot for each finished run of the rows.

    Args:
        store: the run directories.
        rows: rows with runs of MCLRec.
        views: two of h1, h2, z1 and z2.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    found = []
    for row in rows:
        for planned in row.runs:
            if store.is_complete(planned):
                run = store.run(planned)
                pair = _representations(run.directory, store.datasets.of(planned), views)
                found.append(_view_plot(row, views, pair, planned.seed, run.record.best_epoch))
    return found


def view_tables(plots: Sequence[ViewPlot]) -> list[ResultTable]:
    """Tables of the alignment and uniformity of view plots, one per data set."""
    names = dict.fromkeys(plot.data for plot in plots)
    return [_table(data_name(data, names), [plot for plot in plots if plot.data == data]) for data in names]


def _table(name: str, plots: Sequence[ViewPlot]) -> ResultTable:
    views = " and ".join(plots[0].views)
    rows = [
        (
            f"{plot.row}, seed {plot.seed}",
            [
                TableCell(f"{plot.alignment:.3f}", value=plot.alignment),
                TableCell(f"{plot.uniformity:.3f}", value=plot.uniformity),
                TableCell(str(plot.epoch or "-"), value=float(plot.epoch or 0)),
            ],
        )
        for plot in plots
    ]
    notes = [
        "Alignment: mean squared distance between the two views of a history. Lower is closer.",
        "Uniformity: log of the mean of exp(-2 squared distance) over all pairs. Lower is more uniform.",
        "Both on the unit sphere (Wang and Isola, ICML 2020).",
        "The weights are those of the epoch that validation chose; the paper shows them after 300 epochs.",
    ]
    return ResultTable(
        f"Views {views} of training histories on {name}",
        ["", "alignment", "uniformity", "epoch"],
        rows,
        notes,
    )


@torch.inference_mode()
def _representations(
    directory: Path, data: SequenceData, views: tuple[str, str]
) -> tuple[FloatArray, FloatArray]:
    """Vectors (B, d) of each of two views; histories and random augmentations are the same for every run."""
    model = load_model(directory).model
    if not isinstance(model, MCLRec) or (viewer := model.viewer()) is None:
        raise ConfigError(
            f"{directory}: view plots need an mclrec model that was trained with a contrastive loss"
        )
    training = make_split(data, "leave-one-out").training
    rng = generator(0, Stream.PICTURE)
    examples = whole(training, model.reads)
    histories = examples.inputs(rng.choice(len(examples), min(_MEASURED, len(examples)), replace=False))
    drawn = [Histories.of(view) for view in viewer(histories, rng)]
    found: Mapping[str, torch.Tensor] = model.representations(drawn)
    one, other = (found[name].double().numpy() for name in views)
    return one, other


def _view_plot(
    row: PlannedRow, views: tuple[str, str], pair: tuple[FloatArray, FloatArray], seed: int, epoch: int | None
) -> ViewPlot:
    one, other = pair
    places = _t_sne(np.concatenate([one[:_SHOWN], other[:_SHOWN]]))
    shown = [(round(x, 2), round(y, 2)) for x, y in places.tolist()]
    half, spread = len(shown) // 2, uniformity(np.concatenate(pair))
    return ViewPlot(
        row.data, row.row, views, shown[:half], shown[half:], alignment(one, other), spread, epoch, seed
    )


def _t_sne(vectors: FloatArray) -> FloatArray:
    """t-SNE coordinates (B, 2) of the vectors' directions: z has length 1, and h is normalised likewise."""
    require("t-SNE")
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places: FloatArray = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(
        _on_sphere(vectors)
    )
    return places


def _on_sphere(vectors: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
