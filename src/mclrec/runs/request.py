"""Requests for training runs: everything that determines a run, and the command line for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mclrec.configuration import option_text
from mclrec.data.origin import Origin, Reading
from mclrec.data.split_rules import SplitRule
from mclrec.runs.run import Run

__all__ = ["TrainRequest", "run_name", "setting_words", "train_command"]


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Request for a training run: everything that determines it.

    Attributes:
        data: name of a data set, path of a log or of prepared data, frame, or `SequenceData`.
        model: name of a registered model.
        recipe: section or file; None for the data set's own section, or ``auto`` for a log.
        settings: override the recipe's settings.
        seed: seed of everything random.
        out: directory; None for a free one under ``runs/``.
        device: auto, cpu or cuda.
        resume: whether to resume from the directory's checkpoint.
        warm_start: earlier run, or its directory, whose model training starts from.
        split: rule by which targets are held out, as `SplitRule` writes it; ``everything`` holds nothing out, and takes
            the number of epochs from ``like``.
        command: command line to record; derived from the other fields if None.
        measured: whether test targets are ranked at the end; a search must not look at them.
        track: experiment tracker to use beside the run's history; None for none.
        shard_items: whether the item table is sharded by rows among the processes, instead of whole in each.
        reading: how a log is read; not used for data that are prepared already.
        like: run whose settings replace those of a recipe; None to use the recipe.
        found: how the settings were found, as lines of Markdown for the model card.
    """

    data: Any
    model: str = "mclrec"
    recipe: str | Path | None = None
    settings: Mapping[str, Any] | None = None
    seed: int = 1
    out: Path | None = None
    device: str = "auto"
    resume: bool = False
    warm_start: Any = None
    split: str = "leave-one-out"
    command: str | None = None
    measured: bool = True
    track: str | None = None
    shard_items: bool = False
    reading: Reading = field(default_factory=Reading)
    like: Run | None = None
    found: Sequence[str] = ()


def run_name(data: str, model: str, seed: int) -> str:
    """Default name of a run's directory under ``runs/``."""
    return f"{data}-{model}-seed{seed}"


def train_command(
    data: Origin | str,
    model: str,
    seed: int,
    *,
    recipe: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    split: str = "leave-one-out",
    warm_start: str | None = None,
) -> str:
    """Command line of a training run.

    Args:
        data: origin of the data, or their name or path.
        model: name of a registered model.
        seed: seed of everything random.
        recipe: section or file; None for the default recipe.
        settings: override the recipe's settings.
        split: rule by which targets are held out, as `SplitRule` writes it.
        warm_start: directory of the earlier run that training starts from.
    """
    words = ["mclrec", "train", *([data] if isinstance(data, str) else data.words())]
    words += ["--model", model, "--seed", str(seed)]
    if recipe is not None:
        words += ["--recipe", str(recipe)]
    words += SplitRule.of(split).words()
    words += setting_words(settings or {})
    if warm_start is not None:
        words += ["--warm-start", warm_start]
    return shlex.join(words)


def setting_words(settings: Mapping[str, Any]) -> list[str]:
    """Command-line words ``--set KEY=VALUE`` for each setting, in the form in which they are parsed."""
    return [
        word
        for key, value in settings.items()
        for word in ("--set", f"{key.rstrip('_')}={option_text(value)}")
    ]
