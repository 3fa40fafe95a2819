"""Sequences become views: stochastic operators on packed batches."""

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
