"""Our measurements, called in this process on small data."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.foreign_device import foreign_device

from benchmarks.ours import evaluation, preparation, prepared, streaming, train_command, training
from benchmarks.ours.proxy import configuration
from benchmarks.ours.sources import drawn, open_split
from benchmarks.ours.synthetic_log import write_log
from benchmarks.processes import ROOT
from benchmarks.rows.train_command import findings_of
from mclrec.data.loading import prepare
from mclrec.data.split import leave_one_out


def test_a_log_is_skewed_in_no_order_and_the_same_for_a_seed(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    said = write_log(first, 20_000, seed=1)
    write_log(second, 20_000, seed=1)
    assert first.read_bytes() == second.read_bytes()
    assert (said["rows"], said["users"], said["items"]) == (20_000, 1_000, 200)
    data = prepare(first, min_count=1)
    assert len(data.items) == 20_000
    popularity = np.sort(data.popularity)[::-1]
    assert popularity[0] > 10 * np.median(popularity[: data.num_items])  # Zipf's law: 1/1 against 1/100
    assert data.lengths.max() > 3 * np.median(data.lengths)
    assert data.times is not None
    times = [int(line.rpartition(",")[2]) for line in first.read_text(encoding="utf-8").splitlines()[1:100]]
    assert times != sorted(times)


@pytest.mark.slow
def test_the_stages_of_a_training_are_timed_and_what_is_cut_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    write_log(log, 20_000, seed=1)
    settings = ["hidden_size=8", "layers=1", "batch_size=64"]
    request = {
        "path": str(log),
        "model": "sasrec",
        "settings": settings,
        "batches": 3,
        "targets": 50,
        "seed": 1,
    }
    document = train_command.measure(request)
    assert set(document["seconds"]) == {*train_command.STAGES, "the rest"}
    assert all(seconds > 0 for seconds in document["seconds"].values())
    assert document["cut"] == {"batches": 3, "validation": 50, "calibration": 50, "test": 50}
    assert document["whole"]["batches"] > 3
    assert document["whole"]["test"] > 500
    lines = findings_of("a log", document)
    epoch = next(line for line in lines if "steps of an epoch" in line.what)
    assert epoch.value == pytest.approx(document["seconds"]["steps"] * document["whole"]["batches"] / 3)
    assert epoch.ours.endswith(f"s for 3 of {document['whole']['batches']:,} batches")
    assert len({line.what for line in lines}) == len(lines)


def test_the_proxy_before_services_is_the_documented_one(tmp_path: Path) -> None:
    documented = (ROOT / "docs" / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    text = configuration(documented, ["127.0.0.1:7001", "127.0.0.1:7002"], 7000, tmp_path)
    servers = re.findall(r"server (127\.0\.0\.1:\d+) max_fails=0;", text)
    assert servers == ["127.0.0.1:7001", "127.0.0.1:7002"]
    assert "listen 127.0.0.1:7000;" in text
    assert "ssl" not in text
    assert "X-Request-Id $http_x_request_id;" in text
    kept = [
        line
        for line in documented.splitlines()
        if re.search("keepalive|least_conn|proxy_(?!set_header X)", line)
    ]
    assert all(line in text for line in kept)
    assert len(kept) > 6


def test_preparation_reports_what_it_made(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    write_log(path, 5_000, seed=1)
    document = preparation.measure({"path": str(path), "min_count": 5})
    assert 0 < document["interactions"] <= 5_000
    assert document["seconds"] > 0
    assert document["fingerprint"] == prepare(path, min_count=5).fingerprint


def test_drawn_histories_train_with_the_requested_length() -> None:
    training_data = leave_one_out(drawn(users=7, items=5, length=4)).training
    assert training_data.lengths.tolist() == [4] * 7
    assert training_data.num_items == 5


def test_newest_interactions_and_no_item_without_one() -> None:
    request = {"users": 20, "items": 500, "length": 9}
    whole, cut = open_split(request).training, open_split(request, newest=3).training
    assert cut.lengths.tolist() == [3] * 20
    assert sorted(set(cut.items.tolist())) == list(range(1, cut.num_items + 1))
    same = [cut.item_ids[item] for item in cut.items.tolist()]
    places = (whole.offsets[1:, None] + np.arange(-3, 0)).ravel()
    assert same == [whole.item_ids[item] for item in whole.items[places].tolist()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_streaming_reports_its_memory(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    said = prepared.measure({"path": folder, "data": {"users": 60, "items": 30, "length": 4}})
    assert said["interactions"] == 60 * 6
    document = streaming.measure(
        {
            "data": folder,
            "model": "sasrec",
            "recipe": "default",
            "settings": {"precision": "fp32", "hidden_size": 8, "batch_size": 16},
            "seed": 1,
            "batches": 2,
            "warmup": 1,
        }
    )
    assert (document["interactions"], document["users"], len(document["batch_seconds"])) == (360, 60, 2)
    assert 0 < document["idle_private_bytes"] <= document["private_bytes"]


def test_training_times_every_batch_and_reports_its_work() -> None:
    document = training.measure(
        {
            "data": {"users": 40, "items": 30, "length": 5},
            "model": "mclrec",
            "recipe": "default",
            "settings": {"precision": "fp32", "batch_size": 64, "hidden_size": 8, "inner_size": 16},
            "seed": 1,
            "batches": 4,
            "warmup": 2,
        }
    )
    # 160 prefixes make three batches, so six batches span two epochs and the validation between them.
    assert document["batches_per_epoch"] == 3
    assert len(document["batch_seconds"]) == 4
    assert min(document["batch_seconds"]) > 0
    assert document["updates"] == 3
    assert document["dtype"] == "fp32"
    assert abs(document["first_loss"] - math.log(31)) < 0.1
    expected = {"examples": 160, "targets": 160, "tokens": 400, "items": 30, "batch": 64, "hidden_size": 8}
    assert {key: document["work"][key] for key in expected} == expected


def test_training_and_evaluation_are_measured_on_a_device() -> None:
    request = {"model": "sasrec", "seed": 1, "device": "cuda"}
    data = {"users": 40, "items": 30, "length": 5}
    settings = {"precision": "fp32", "batch_size": 64, "hidden_size": 8, "inner_size": 16}
    more = {"recipe": "default", "settings": settings, "batches": 4, "warmup": 2}
    with foreign_device() as device:
        document = training.measure({**request, **more, "data": data})
        assert len(document["batch_seconds"]) == 4
        assert document["device_bytes"] == 0
        device.waits.clear()
        evaluated = evaluation.measure({**request, "data": data, "cuts": [5], "passes": 2})
        assert len(evaluated["pass_seconds"]) == 2
        assert device.waits  # the evaluation ran on the device
