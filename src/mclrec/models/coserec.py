"""CoSeRec: Liu et al., Contrastive Self-supervised Sequential Recommendation with Robust Augmentation, 2021.

CL4SRec with two more operators, which use item similarity: substitute and insert. Short
histories, which a crop would destroy, are augmented by insert, substitute and mask alone. All states of a
view, side by side, are contrasted.

Similarity is by co-occurrence in histories, with inverse user frequency; after a warm-up also by the learned item
vectors, whichever is the more similar after scaling both to 0 .. 1.

Follows the authors' code in: the single most similar item, and at least one item substituted or inserted; two draws may
choose the same operator; a masked item becomes the padding id, which nothing attends to; on Beauty, short histories are
augmented as long ones. Departs from it in: states of padding are in no row, unless ``contrast = "padded"``; the vectors
are compared anew at the start of each epoch after the warm-up.
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
        """One phase, one update a batch."""
        return (self.phase([Update(self.loss, "all")], self.views()),)

    def loss(self, batch: Batch, context: StepContext) -> Losses:
        """L_rec and the contrast of the two views."""
        views = self.contrasted(batch.views)
        pairs = contrast_of_all_states(self.all_states(views), views, self.max_length, context)
        losses = self.recommendation_losses(self.target_states(batch), batch)
        return losses | {"cl": Term(info_nce_of(pairs)[0], weight=self.contrast_weight(batch), whole=True)}
