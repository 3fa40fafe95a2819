"""Views of histories as points of the plane, and in numbers how close pairs are and how spread out all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mclrec.data.batches import Histories
from mclrec.data.examples import whole
from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import FloatArray
from mclrec.experiments.cells import Cells, data_name
from mclrec.experiments.frame import Entry
from mclrec.experiments.sheet import Box, Sheet
from mclrec.models.mclrec import MCLRec
from mclrec.models.storage import load_model
from mclrec.randomness import Stream, generator
from mclrec.runs.sources import make_split

__all__ = ["Cloud", "alignment", "clouds_of", "sheets_of", "uniformity"]

_MEASURED = 2048
"""Histories behind the numbers."""

_SHOWN = 100
"""Pairs that are drawn."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Both views of some histories, under one run.

    Attributes:
        data: name of the data set.
        row: name of the entry.
        views: names of the two views, as in the paper.
        one: places (x, y) of the first view of each history.
        other: of the second.
        alignment: see `alignment`.
        uniformity: see `uniformity`, over both views.
        epoch: at which the weights were chosen; None if the model has none.
        seed: of the run.
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


def alignment(one: FloatArray, other: FloatArray) -> float:
    """Mean squared distance of the two views of a history, on the unit sphere; 0 if they are the same.

    Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, section 4.1.2, with alpha = 2.

    Args:
        one: (B, d).
        other: (B, d).
    """
    difference = _on_sphere(one) - _on_sphere(other)
    return float(np.square(difference).sum(1).mean())


def uniformity(vectors: FloatArray) -> float:
    """Logarithm of the mean of exp(-2 squared distance) over all pairs, on the unit sphere; lower is more spread out.

    Wang and Isola, ICML 2020, section 4.1.2, with t = 2. It is 0 if all are the same.

    Args:
        vectors: (B, d), B at least 2.
    """
    sphere = _on_sphere(vectors)
    above = np.triu_indices(len(sphere), 1)
    squared = (2 - 2 * sphere @ sphere.T)[above]
    return float(np.log(np.exp(-2 * squared).mean()))


def clouds_of(cells: Cells, entries: Sequence[Entry], views: tuple[str, str]) -> list[Cloud]:
    """One for each finished run of the entries.

    Args:
        cells: where runs are.
        entries: runs of MCLRec.
        views: which of h1, h2, z1 and z2.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    found = []
    for entry in entries:
        for cell in entry.cells:
            if cells.done(cell):
                run = cells.run(cell)
                pair = _representations(run.directory, cells.datasets.of(cell), views)
                found.append(_cloud(entry, views, pair, cell.seed, run.record["best_epoch"]))
    return found


def sheets_of(clouds: Sequence[Cloud]) -> list[Sheet]:
    """The numbers: a table a data set."""
    names = dict.fromkeys(cloud.data for cloud in clouds)
    return [_sheet(data, [cloud for cloud in clouds if cloud.data == data]) for data in names]


def _sheet(data: str, clouds: Sequence[Cloud]) -> Sheet:
    views = " and ".join(clouds[0].views)
    rows = [
        (
            f"{cloud.row}, seed {cloud.seed}",
            [
                Box(f"{cloud.alignment:.3f}", value=cloud.alignment),
                Box(f"{cloud.uniformity:.3f}", value=cloud.uniformity),
                Box(str(cloud.epoch or "-"), value=float(cloud.epoch or 0)),
            ],
        )
        for cloud in clouds
    ]
    notes = [
        "Alignment: mean squared distance of the two views of a history. Lower is closer.",
        "Uniformity: log of the mean of exp(-2 squared distance) over all pairs. Lower is more spread out.",
        "Both on the unit sphere (Wang and Isola, ICML 2020).",
        "The weights are those of the epoch that validation chose; the paper shows them after 300 epochs.",
    ]
    return Sheet(
        f"Views {views} of training histories on {data_name(data)}",
        ["", "alignment", "uniformity", "epoch"],
        rows,
        notes,
    )


@torch.inference_mode()
def _representations(
    directory: Path, data: SequenceData, views: tuple[str, str]
) -> tuple[FloatArray, FloatArray]:
    """(B, d) twice, of the same histories and the same random views whatever the run."""
    model = load_model(directory).model
    if not isinstance(model, MCLRec) or (viewer := model.viewer()) is None:
        raise ConfigError(f"{directory}: views are drawn for mclrec with a contrast alone")
    training = make_split(data, "leave-one-out").training
    rng = generator(0, Stream.PICTURE)
    examples = whole(training, model.max_length)
    histories = examples.inputs(rng.choice(len(examples), min(_MEASURED, len(examples)), replace=False))
    drawn = [Histories.of(view) for view in viewer(histories, rng)]
    found: Mapping[str, torch.Tensor] = model.representations(drawn)
    one, other = (found[name].double().numpy() for name in views)
    return one, other


def _cloud(
    entry: Entry, views: tuple[str, str], pair: tuple[FloatArray, FloatArray], seed: int, epoch: int | None
) -> Cloud:
    one, other = pair
    places = _plane(np.concatenate([one[:_SHOWN], other[:_SHOWN]]))
    shown = [(round(x, 2), round(y, 2)) for x, y in places.tolist()]
    half, spread = len(shown) // 2, uniformity(np.concatenate(pair))
    return Cloud(
        entry.data, entry.row, views, shown[:half], shown[half:], alignment(one, other), spread, epoch, seed
    )


def _plane(vectors: FloatArray) -> FloatArray:
    """(B, 2) by t-SNE, of directions: z has length 1, and h is measured as if it had."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ConfigError('t-SNE needs scikit-learn: pip install "mclrec[cluster]"') from None
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places: FloatArray = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(
        _on_sphere(vectors)
    )
    return places


def _on_sphere(vectors: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
