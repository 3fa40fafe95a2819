"""Audience vectors: their cosines approximate those of the items' sets of users, and they are deterministic."""

from __future__ import annotations

import numpy as np
from tests.helpers import tiny_data

from mclrec.evaluation.audience_vectors import audience_vectors


def test_cosines_are_those_of_sets_of_users() -> None:
    data = tiny_data(users=60, longest=8)
    vectors = audience_vectors(data, size=4000)
    audiences = [
        {user for user in range(data.num_users) if item in data.sequence(user)}
        for item in range(data.num_items + 1)
    ]
    for first in range(1, data.num_items + 1):
        for second in range(1, data.num_items + 1):
            a, b = audiences[first], audiences[second]
            expected = len(a & b) / np.sqrt(len(a) * len(b))
            norms = np.linalg.norm(vectors[first]) * np.linalg.norm(vectors[second])
            assert abs(vectors[first] @ vectors[second] / norms - expected) < 0.08


def test_vectors_are_always_the_same_and_zero_where_nobody_was() -> None:
    data = tiny_data()
    vectors = audience_vectors(data)
    assert (vectors == audience_vectors(data)).all()
    assert not vectors[0].any()
    assert vectors.shape == (data.num_items + 1, 256)
