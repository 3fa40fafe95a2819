"""The rows of the benchmarks: the question of each, and the function that measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.outcome import Outcome
from benchmarks.rows.accuracy import measure_accuracy, measure_accuracy_within
from benchmarks.rows.calibration import measure_calibration
from benchmarks.rows.catalogue import measure_catalogue
from benchmarks.rows.compiled import measure_compiled
from benchmarks.rows.contrast import measure_contrast
from benchmarks.rows.cuda import CUDA_ROWS
from benchmarks.rows.epochs import PREFIX_SIDES, measure_prefixes
from benchmarks.rows.evaluation import EVALUATION_SIDES, measure_evaluation
from benchmarks.rows.growth import measure_growth
from benchmarks.rows.kept_memory import measure_kept_memory
from benchmarks.rows.memory import measure_memory
from benchmarks.rows.preparation import measure_preparation
from benchmarks.rows.sequence_epochs import SEQUENCE_SIDES, measure_sequences
from benchmarks.rows.serving import measure_serving
from benchmarks.rows.shards import measure_shards
from benchmarks.rows.start import measure_start
from benchmarks.rows.streaming import measure_streaming
from benchmarks.rows.threads import measure_threads
from benchmarks.rows.train_command import measure_train_command
from benchmarks.session import Session

__all__ = ["ROWS", "Part", "Row"]

Part = Literal["bench", "accuracy", "cuda", "serving", "shards", "train"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the benchmarks.

    Attributes:
        title: what it measures, in one line.
        measure: function that runs it.
        part: rows of ``bench`` run by default.
        sides: sides of a comparison; a result that lacks one was measured before that side was added.
    """

    title: str
    measure: Callable[[Session], Outcome]
    part: Part = "bench"
    sides: tuple[str, ...] = ()


ROWS = {
    "epoch-prefixes": Row(
        "an epoch of MCLRec and of SASRec on prefixes, against the peers' SASRec",
        measure_prefixes,
        sides=PREFIX_SIDES,
    ),
    "epoch-sequences": Row(
        "an epoch of SASRec on sequences, against RecTools', RePlay's and Transformers4Rec's",
        measure_sequences,
        sides=SEQUENCE_SIDES,
    ),
    "evaluation": Row(
        "full-ranking evaluation, against RecBole's", measure_evaluation, sides=EVALUATION_SIDES
    ),
    "threads": Row(
        "a training step by one thread and by all, on a free and on a busy machine", measure_threads
    ),
    "compiled": Row("an epoch of MCLRec with its feed-forward parts as native code", measure_compiled),
    "calibration": Row(
        "what validation chooses after training, by scores that are computed once", measure_calibration
    ),
    "contrast": Row("the contrast of all states, without the zeros of short histories", measure_contrast),
    "preparation": Row(
        "a log of 20 million rows becomes sequences; one of 100 million too", measure_preparation
    ),
    "catalogue": Row("a training step as the catalogue grows to a million items", measure_catalogue),
    "kept-memory": Row(
        "a training step that keeps the memory which the one before freed", measure_kept_memory
    ),
    "memory": Row("peak memory of training MCLRec on Beauty", measure_memory),
    "streaming": Row(
        "training from prepared data of 100 million interactions on the disk", measure_streaming
    ),
    "start": Row("the time until `mclrec --help` and `import mclrec` are done", measure_start),
    "growth": Row("time and memory against interactions and the length of histories", measure_growth),
    "catalogue-shards": Row(
        "memory of a process where 1, 2 and 4 processes shard 5 million items", measure_shards, "shards"
    ),
    "serving": Row("`mclrec serve` under load, open loop", measure_serving, "serving"),
    "train-100m": Row(
        "where the time of `mclrec train` on a log of 100 million rows goes", measure_train_command, "train"
    ),
    "accuracy": Row(
        "MCLRec on Beauty until early stopping ends it, three seeds", measure_accuracy, "accuracy"
    ),
    "accuracy-within": Row(
        "MCLRec on Beauty within 3.5 minutes, three seeds", measure_accuracy_within, "accuracy"
    ),
    **{name: Row(title, measure, "cuda") for name, (title, measure) in CUDA_ROWS.items()},
}
"""All rows by name, in the order in which they are run."""
