"""Damaged RecBole configurations and checkpoints are read, or refused with one of our short errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.attack.damage import damaged
from tests.attack.inputs import Attack
from tests.integrations.published_sasrec import PublishedSASRec

from mclrec.errors import MclrecError, ModelFileError
from mclrec.integrations.checkpoints import read_checkpoint
from mclrec.integrations.recbole_config import read_config

pytestmark = pytest.mark.attack

CONFIGURATION = b"""model: SASRec
USER_ID_FIELD: user_id
load_col: {inter: [user_id, item_id, timestamp]}
user_inter_num_interval: "[5,inf)"
item_inter_num_interval: '[5,inf)'
val_interval: {rating: "(3,5];[7,inf)", kind: [a, 'b']}
learning_rate: 1e-3
epochs: 30
seed: 2020
topk: &cuts [5, 10]
metrics: *cuts
train_neg_sample_args: ~
valid_metric: NDCG@10
eval_args: {split: {LS: valid_and_test}, order: TO, group_by: user, mode: full}
"""


def check_refusal(refusal: str, path: Path) -> None:
    assert str(path) in refusal
    assert len(refusal) <= 300 + len(f"{path}: ")
    assert len(refusal.splitlines()) <= 2


def test_damaged_configurations(attack: Attack, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for rng in attack.inputs():
        path.write_bytes(damaged(CONFIGURATION, rng))
        try:
            found = read_config(path, "sasrec")
        except MclrecError as error:
            check_refusal(str(error), path)
        else:
            assert found.settings["unit"] == "prefixes"


def test_damaged_checkpoints(attack: Attack, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    whole = {}
    for protocol in (2, 4):
        torch.save(
            {"state_dict": PublishedSASRec(3).state_dict(), "epoch": 3}, path, pickle_protocol=protocol
        )
        whole[protocol] = path.read_bytes()
    for rng in attack.inputs():
        path.write_bytes(damaged(whole[int(rng.choice([2, 4]))], rng))
        try:
            read_checkpoint(path)
        except ModelFileError as error:
            check_refusal(str(error), path)
