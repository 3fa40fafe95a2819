"""Data augmentation: stochastic operators on packed batches of sequences."""

from mclrec.augment.operators import Crop, Insert, Mask, Operator, Reorder, Substitute
from mclrec.augment.views import TwoViews, TwoViewsByLength, apply_chosen

__all__ = [
    "Crop",
    "Insert",
    "Mask",
    "Operator",
    "Reorder",
    "Substitute",
    "TwoViews",
    "TwoViewsByLength",
    "apply_chosen",
]
