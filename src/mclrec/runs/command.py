"""The command line that does a training run, and how it goes on where its directory holds a checkpoint."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mclrec.data.origin import Origin

__all__ = ["begin_or_resume", "setting_words", "train_command"]


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
    """What to type for a run; see `mclrec.runs.training_run.TrainRequest`.

    Args:
        data: where the data come from, or what names them.
        model: name of a registered model.
        seed: of everything random.
        recipe: section or file; None for the data set's own.
        settings: go before the recipe's.
        split: leave-one-out or time.
        warm_start: directory of the earlier run that training starts from.
    """
    words = ["mclrec", "train", *([data] if isinstance(data, str) else data.words())]
    words += ["--model", model, "--seed", str(seed)]
    if recipe is not None:
        words += ["--recipe", str(recipe)]
    if split != "leave-one-out":
        words += ["--split", split]
    words += setting_words(settings or {})
    if warm_start is not None:
        words += ["--warm-start", warm_start]
    return shlex.join(words)


def setting_words(settings: Mapping[str, Any]) -> list[str]:
    """``--set KEY=VALUE`` for each, as it is read back."""
    return [
        word for key, value in settings.items() for word in ("--set", f"{key.rstrip('_')}={_text(value)}")
    ]


def begin_or_resume(directory: Path) -> bool:
    """Whether a run in ``directory`` has a checkpoint to go on from; what lies there without one is removed."""
    resume = (directory / "checkpoint" / "state.safetensors").exists()
    if not resume:
        shutil.rmtree(directory, ignore_errors=True)
    return resume


def _text(value: Any) -> str:
    """As ``--set`` reads it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
