"""Training settings, the same for every model."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator

from mclrec.configuration import Before, Configuration
from mclrec.errors import ConfigError
from mclrec.evaluation.metrics import parse_metric
from mclrec.training.precision import quicker_in_bf16

__all__ = ["TrainingConfig"]


class TrainingConfig(Configuration):
    """Settings of the trainer: Adam and early stopping, with the defaults of MCLRec's official code."""

    batch_size: int = Field(default=256, ge=1, description="examples per step")
    epochs: int = Field(default=100, ge=1, description="passes over the examples, at most")
    patience: int = Field(
        default=10, ge=1, description="epochs without progress of the validation metric before it stops"
    )
    stopping: Literal["best", "plateau"] = Field(
        default="best",
        description="stop when `patience` epochs have brought no better metric (best), or when their mean is not .5 % "
        "above that of as many epochs before (plateau)",
    )
    metric: str = Field(
        default="mrr@10", description="validation metric that chooses the epoch: hr@K, ndcg@K or mrr@K"
    )
    seen: Literal["keep", "drop"] = Field(
        default="keep",
        description="at validation, keep a user's earlier items as candidates (U) or drop them (F)",
    )
    # Earlier versions had no limit, which is equivalent except on very long logs.
    validation_targets: Annotated[int | None, Before(100_000)] = Field(
        default=100_000,
        ge=1,
        description="held-out items that are ranked at validation; if there are more, this many are drawn; none: all",
    )
    calibrate_scores: Annotated[bool, Before(True)] = Field(
        default=True,
        description="let validation choose what co_occurrence and repeat_bias add to scores; false: co_occurrence has "
        "the weight that is set, and items of the history gain what was learned",
    )
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="of Adam")
    cycle: Annotated[int | Literal["whole"] | None, Before(None)] = Field(
        default=None,
        description="epochs in which the learning rate rises from 0, for a fifth of them, and falls to 0; whole: all "
        "epochs; none: a constant rate",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty that Adam adds to the gradient")
    average: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="validate and keep a mean of the weights over all steps, step t weighted by t to this power",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="fp32", description="of matrix products in training; auto: bf16 where that is much faster"
    )
    graphs: Annotated[bool, Before(False)] = Field(
        default=False,
        description="record the steps on a CUDA device as graphs and replay them, where all steps have one shape; "
        "histories are then padded",
    )
    checkpoint_minutes: float = Field(
        default=5.0, ge=0, description="minutes between two checkpoints within an epoch"
    )

    def on(self, device: torch.device) -> Self:
        """Copy with ``precision = "auto"`` resolved for a device."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": "bf16" if quicker_in_bf16(device) else "fp32"})

    def check_device(self, device: torch.device) -> None:
        """Refuse a device that does not support the settings.

        Raises:
            ConfigError: ``graphs`` is set, and it is not a CUDA device.
        """
        if self.graphs and device.type != "cuda":
            raise ConfigError(
                f"graphs: steps can be replayed as graphs only on a CUDA device, not on {device.type}: train with "
                "--device cuda, or without --set graphs=true"
            )

    @field_validator("cycle", mode="before")
    @classmethod
    def _known_cycle(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if value not in (None, "whole") and not whole:
            raise ValueError("should be a number of epochs, whole or none")
        return value

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        try:
            metric = parse_metric(value)
        except ConfigError as problem:
            raise ValueError(str(problem)) from None
        return str(metric).lower()
