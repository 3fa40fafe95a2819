"""CoSeRec: Liu et al., Contrastive Self-supervised Sequential Recommendation with Robust Augmentation, 2021.

CL4SRec with two more operators, which use item similarity: substitute and insert. Short histories, which a crop would
destroy, are augmented by insert, substitute and mask only. All states of a view, side by side, are contrasted.

Similarity is computed from co-occurrence in histories, with inverse user frequency; after a warm-up also from the
learned item vectors, taking the more similar of the two candidates after both similarities are scaled to 0..1.

Follows the authors' code in: only the most similar item is used, and at least one item is substituted or inserted; two
draws may choose the same operator; a masked item becomes the padding id, which nothing attends to; on Beauty, short
histories are augmented like long ones. Departs from it in: rows leave out the states of padding, unless
``contrast = "padded"``; the vectors are compared again at the start of each epoch after the warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence

from mclrec.data.batches import Batch
from mclrec.losses.contrastive import info_nce_of
from mclrec.models.all_states import contrast_of_all_states
from mclrec.models.phases import Losses, Phase, StepContext, Term, Update
from mclrec.models.similarity_augmented import SimilarityAugmentedConfig, SimilarityAugmentedRecommender

__all__ = ["CoSeRec", "CoSeRecConfig"]


class CoSeRecConfig(SimilarityAugmentedConfig):
    """Configuration of CoSeRec: an encoder, a regime, the contrast and its views."""


class CoSeRec(SimilarityAugmentedRecommender):
    """A transformer with a contrast between views that insert and substitute similar items."""

    config_type = CoSeRecConfig
    config: CoSeRecConfig

    def phases(self) -> Sequence[Phase]:
        """One phase with one update per batch."""
        return (self.phase([Update(self.loss, "all")], self.views()),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec and the contrast of the two views."""
        views = self.contrasted(batch.views)
        pairs = contrast_of_all_states(self.all_states(views), views, self.max_length, context)
        losses = self.recommendation_losses(self.target_states(batch), batch)
        return losses | {"cl": Term(info_nce_of(pairs)[0], weight=self.contrast_weight(batch), whole=True)}
