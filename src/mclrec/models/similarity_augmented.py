"""Shared base of models whose augmentations use item similarity (CoSeRec, LMA4Rec)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mclrec.augment.operators import Crop, Insert, Mask, Reorder, Substitute
from mclrec.augment.similarity import Nearest, by_users, by_vectors, either
from mclrec.augment.views import TwoViewsByLength
from mclrec.data.batches import Batch
from mclrec.data.packed import IntArray, Packed
from mclrec.data.sequences import SequenceData
from mclrec.models.all_states import AllOrPadded, AllStatesConfig, AllStatesRecommender
from mclrec.models.contrast_weight import ContrastByLater, contrast_share
from mclrec.models.model_config import NONZERO, OnlyWith
from mclrec.models.phases import FitContext

__all__ = ["SimilarityAugmentedConfig", "SimilarityAugmentedRecommender"]

_Contrasted = OnlyWith(lambda_=NONZERO)


class SimilarityAugmentedConfig(AllStatesConfig):
    """Weight of the contrast, ratios of the view operators, and the warm-up before similarity is recomputed."""

    lambda_: float = Field(0.1, ge=0, alias="lambda", description="weight of the contrast")
    contrast_by: Annotated[ContrastByLater, _Contrasted] = "history"
    contrast: Annotated[AllOrPadded, _Contrasted] = "all"
    insert_ratio: Annotated[float, _Contrasted] = Field(
        0.5, ge=0, le=1, description="share of items before which a similar one is inserted"
    )
    substitute_ratio: Annotated[float, _Contrasted] = Field(
        0.05, ge=0, le=1, description="share of items that are replaced by similar ones"
    )
    crop_ratio: Annotated[float, _Contrasted] = Field(
        0.2, gt=0, le=1, description="share of items that crop keeps"
    )
    mask_ratio: Annotated[float, _Contrasted] = Field(
        0.7, ge=0, lt=1, description="share of items that mask hides"
    )
    reorder_ratio: Annotated[float, _Contrasted] = Field(
        0.2, ge=0, le=1, description="share of items that reorder shuffles"
    )
    short: Annotated[int, _Contrasted] = Field(
        12, ge=0, description="length up to which a history is neither cropped nor reordered"
    )
    warm_up: Annotated[int, _Contrasted] = Field(
        220, ge=0, description="epochs before learned vectors take part in item similarity"
    )


class SimilarityAugmentedRecommender(AllStatesRecommender):
    """Base of models that keep each item's most similar item: by co-occurrence, and after a warm-up also by vectors."""

    config: SimilarityAugmentedConfig
    item_tensors = (*AllStatesRecommender.item_tensors, "nearest")
    supports_sharding = False  # similarity compares all item vectors at once
    nearest: Tensor

    def __init__(self, config: SimilarityAugmentedConfig, num_items: int, num_users: int = 0) -> None:
        super().__init__(config, num_items, num_users)
        self._by_users: Nearest | None = None
        self._on_host: tuple[tuple[int, int], IntArray] | None = None
        # A buffer, so that an epoch resumed midway continues with the same items that it began with.
        self.register_buffer("nearest", torch.arange(num_items + 1))

    def on_fit_start(self, data: SequenceData) -> None:
        """Compute item similarity by co-occurrence in histories."""
        super().on_fit_start(data)
        self._by_users = by_users(Packed(data.items.astype("int64"), data.offsets), self.num_items)
        self.nearest.copy_(torch.from_numpy(self._by_users.items))

    def on_epoch_start(self, context: FitContext) -> None:
        """After the warm-up, take the more similar of two candidates: by co-occurrence and by learned vectors."""
        if context.epoch > self.config.warm_up and self._by_users is not None:
            vectors = self.encoder.items.weight[: self.num_items + 1].detach().float().cpu().numpy()
            self.nearest.copy_(torch.from_numpy(either(self._by_users, by_vectors(vectors)).items))

    def views(self) -> TwoViewsByLength:
        """Make the operator that draws the two views of each history."""
        config = self.config
        operators = (
            Insert(config.insert_ratio, self._most_similar, self.max_length),
            Substitute(config.substitute_ratio, self._most_similar),
            Mask(config.mask_ratio),
            Crop(config.crop_ratio),
            Reorder(config.reorder_ratio),
        )
        return TwoViewsByLength(operators, for_short=3, short=config.short)

    def contrast_weight(self, batch: Batch) -> float:
        """Weight of the contrast of a history relative to the mean loss of a target."""
        return contrast_share(self.config.contrast_by, batch) * self.config.lambda_

    def _most_similar(self) -> IntArray:
        """`nearest` on the host, copied only if it has changed, because views are drawn for every batch."""
        version = (self.nearest.data_ptr(), self.nearest._version)
        if self._on_host is None or self._on_host[0] != version:
            self._on_host = (version, self.nearest.cpu().numpy())
        return self._on_host[1]
