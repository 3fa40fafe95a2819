"""k-means, by scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["kmeans"]


def kmeans(points: Tensor, clusters: int, rng: np.random.Generator) -> Tensor:
    """Centroids after at most 20 rounds from randomly drawn points.

    Args:
        points: (N, d).
        clusters: K; where there are fewer points, centroids come more than once.
        rng: draws the first centroids.

    Returns:
        (K, d) where ``points`` are.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.cluster import KMeans

    found = KMeans(
        min(clusters, len(points)),
        init="random",
        n_init=1,
        max_iter=20,
        random_state=int(rng.integers(1 << 31)),
    ).fit(points.float().cpu().numpy())
    centroids = torch.from_numpy(found.cluster_centers_).to(points)
    return centroids[torch.arange(clusters) % len(centroids)]
