"""Sequences become views: stochastic operators on packed batches."""

from mclrec.augment.operators import Crop, Mask, Operator, Reorder
from mclrec.augment.views import TwoViews, apply_chosen

__all__ = ["Crop", "Mask", "Operator", "Reorder", "TwoViews", "apply_chosen"]
