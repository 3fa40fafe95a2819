"""Output shown on a migration page matches output printed on any processor, and no other output."""

from __future__ import annotations

import pytest

from scripts.check_migration import agree

SHOWN = """                  HR@10  NDCG@10  MRR@10
model
popular          0.0204   0.0109  0.0080
RecTools SASRec  0.0204   0.0104  0.0074
mclrec           0.0272   0.0127  0.0083
"""


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        pytest.param("0.0204   0.0104", "0.0102   0.0078", id="three users of 294 on another processor"),
        pytest.param("0.0272   0.0127", "0.0306  0.0147", id="one user more, and other blanks"),
    ],
)
def test_a_training_that_rounds_otherwise_agrees(shown: str, printed: str) -> None:
    assert agree(SHOWN.replace(shown, printed), SHOWN)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        pytest.param("0.0272", "0.0680", id="another metric"),
        pytest.param("mclrec ", "sasrec ", id="another model"),
        pytest.param("0.0109  0.0080\n", "0.0109\n", id="a number less"),
        pytest.param("0.0204   0.0109", "0   0.0109", id="an integer"),
    ],
)
def test_other_numbers_and_words_do_not(shown: str, printed: str) -> None:
    assert not agree(SHOWN.replace(shown, printed), SHOWN)
