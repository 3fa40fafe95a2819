"""Nightly updates: a model that is no worse replaces the earlier one, a worse one changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Cli, cli
from tests.helpers import at_random_times, tiny_data, write_log
from tests.runs.conftest import READING, SASREC
from tests.runs.test_training_run import Stopper

from mclrec.data.sequences import SequenceData
from mclrec.errors import ConfigError, InUseError, MclrecError, MclrecWarning
from mclrec.evaluation.metrics import parse_metric
from mclrec.locks import lock_in
from mclrec.runs import nightly as update_module
from mclrec.runs.final import finalize
from mclrec.runs.nightly import Update, update
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import train

__all__ = ["cli"]

LEARNING = SASREC | {"learning_rate": 0.02, "stopping": "best", "patience": 2}


def longer(data: SequenceData, seed: int = 5) -> SequenceData:
    """The data of the next day: about half of the users have one more item, the next in order."""
    rng = np.random.default_rng(seed)
    more = rng.random(data.num_users) < 0.5
    rows = [
        np.append(data.sequence(user), data.sequence(user)[-1] % data.num_items + 1)
        if more[user]
        else data.sequence(user)
        for user in range(data.num_users)
    ]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    items = np.concatenate(rows).astype(np.int32)
    return at_random_times(replace(data, items=items, offsets=offsets, times=np.arange(len(items))))


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("today") / "today.csv", longer(tiny_data()))


@pytest.fixture(scope="module")
def poor(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hardly trained model (one epoch)."""
    out = tmp_path_factory.mktemp("poor") / "run"
    return train(TrainRequest(log, "sasrec", reading=READING, settings=LEARNING | {"epochs": 1}, out=out))


@pytest.fixture(scope="module")
def good(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that has learnt the order of items."""
    out = tmp_path_factory.mktemp("good") / "run"
    return train(TrainRequest(log, "sasrec", reading=READING, settings=LEARNING | {"epochs": 12}, out=out))


def run_update(run: Run | Path, log: Any, out: Path, **options: Any) -> Update:
    return update(run, log, out=out, progress=False, **options)


def tree(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_model_that_is_no_worse_takes_the_place(good: Run, today: Path, tmp_path: Path) -> None:
    link = tmp_path / "live"
    done = run_update(good, today, tmp_path / "one", final=True, into=link, floor={"hr@10": 0.1})
    assert (done.status, done.accepted) == ("done", True)
    measured, final = Run(tmp_path / "one/measured"), Run(tmp_path / "one/final")
    assert measured.info.warm_start == str(good.directory)
    assert measured.info.config == good.info.config
    assert measured.info.data.reading == READING
    assert final.info.measured_by is not None
    assert final.info.measured_by.run == str(measured.directory)
    assert link.is_symlink()
    assert link.resolve() == final.directory.resolve()
    judged = done.judgement
    assert judged is not None
    metric = parse_metric(judged.metric)
    assert judged.value == measured.metrics[judged.protocol][str(metric)]
    assert {rival.name for rival in judged.rivals} == {"earlier model", "popularity"}
    assert all(rival.difference == pytest.approx(judged.value - rival.value) for rival in judged.rivals)
    assert (judged.unknown, judged.faults) == (0, ())
    # The next night starts from the link; its final model is traced back to the measured run.
    tomorrow = write_log(tmp_path / "tomorrow.csv", longer(longer(tiny_data()), seed=6))
    again = run_update(link, tomorrow, tmp_path / "two", final=True, into=link)
    assert again.accepted
    assert again.earlier == measured.directory
    assert link.resolve() == (tmp_path / "two/final").resolve()


def test_what_is_done_is_not_done_again(good: Run, today: Path, tmp_path: Path) -> None:
    link = tmp_path / "live"
    link.symlink_to(good.directory)
    out = tmp_path / "out"
    first = run_update(link, today, out, into=link)
    before = tree(out)
    assert run_update(link, today, out, into=link) == first  # the link now points to the new model
    assert tree(out) == before
    link.unlink()
    link.symlink_to(good.directory)  # a rollback to the previous day's model
    assert run_update(link, today, out, into=link) == first
    assert link.resolve() == (out / "measured").resolve()
    more = run_update(link, today, out, into=link, final=True)
    assert link.resolve() == (out / "final").resolve()
    assert (more.accepted, more.judgement) == (True, first.judgement)


def test_a_worse_model_changes_nothing(good: Run, tmp_path: Path) -> None:
    """A log damaged overnight: the training part is noise, and only the held-out items follow the order."""
    link = tmp_path / "live"
    link.symlink_to(good.directory)
    broken = replace(longer(tiny_data()), item_ids=tiny_data().item_ids)
    rng = np.random.default_rng(0)
    noise = broken.items.copy()
    for user in range(broken.num_users):
        start, end = broken.offsets[user], broken.offsets[user + 1] - 2
        noise[start:end] = rng.integers(1, 16, size=end - start)
    bad = write_log(tmp_path / "bad.csv", replace(broken, items=noise))
    refused = run_update(link, bad, tmp_path / "out", into=link, final=True)
    assert refused.status == "refused"
    assert refused.judgement is not None
    assert any("is below the earlier model's" in fault for fault in refused.judgement.faults)
    assert link.resolve() == good.directory.resolve()
    assert (refused.model, refused.into) == (None, None)
    assert not (tmp_path / "out/final").exists()
    assert run_update(link, bad, tmp_path / "out", into=link, final=True) == refused


def test_floors(good: Run, today: Path, tmp_path: Path) -> None:
    refused = run_update(good, today, tmp_path / "out", floor={"HR@10": 1.0, "mrr@5": 0.0})
    assert refused.status == "refused"
    assert refused.judgement is not None
    assert [floor.metric for floor in refused.judgement.floors] == ["HR@10", "MRR@5"]
    assert [fault.partition(" ")[0] for fault in refused.judgement.faults] == ["HR@10"]
    assert "is below the floor 1" in refused.judgement.faults[0]
    # With another floor the decision is made again, but the model is not retrained.
    before = (tmp_path / "out/measured/model.safetensors").read_bytes()
    assert run_update(good, today, tmp_path / "out", floor={"hr@10": 0.0}).accepted
    assert (tmp_path / "out/measured/model.safetensors").read_bytes() == before


def test_a_model_that_another_floor_refuses_after_it_went_live_is_told(
    good: Run, today: Path, tmp_path: Path
) -> None:
    link = tmp_path / "live"
    assert run_update(good, today, tmp_path / "out", into=link).accepted
    with pytest.warns(MclrecWarning, match=r"live: still points to the refused model, .* ln -sfn "):
        refused = run_update(good, today, tmp_path / "out", into=link, floor={"hr@10": 1.0})
    assert (refused.status, link.resolve()) == ("refused", (tmp_path / "out" / "measured").resolve())


def test_moments_that_hide_what_is_newer_are_refused(log: Path, today: Path, tmp_path: Path) -> None:
    """With yesterday's moments, nothing newer would be learnt; with earlier ones, learnt rows would be held out."""
    split = "time(6000, 8000)"
    request = TrainRequest(
        log, "sasrec", reading=READING, settings=LEARNING, split=split, out=tmp_path / "run", measured=False
    )
    earlier = train(request)
    with pytest.raises(ConfigError, match=r"held out from 6000 on, .* nothing newer in today"):
        run_update(earlier, today, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"has learnt from rows up to 6000.* held out from 5000 on"):
        run_update(earlier, today, tmp_path / "out", valid_from=5000, test_from=8000)
    with pytest.raises(ConfigError, match="both moments"):
        run_update(earlier, today, tmp_path / "out", valid_from=7000)
    assert not (tmp_path / "out" / "measured").exists()
    moved = run_update(earlier, today, tmp_path / "out", valid_from=7000, test_from="8500")
    assert Run(tmp_path / "out/measured").info.split == "time(7000, 8500)"
    assert run_update(earlier, today, tmp_path / "out", valid_from=7000, test_from=8500) == moved
    with pytest.raises(ConfigError, match="other valid_from"):
        run_update(earlier, today, tmp_path / "out", valid_from=7500, test_from=8500)
    again = replace(request, data=today, warm_start=earlier, out=tmp_path / "again")
    with pytest.warns(MclrecWarning, match=r"held out from 6000 on, .*nothing newer is learnt"):
        train(again)
    with pytest.raises(ConfigError, match="has learnt from rows up to 6000"):
        train(replace(again, split="time(5000, 8000)", out=tmp_path / "leak"))


def test_moments_go_with_a_split_by_time(good: Run, today: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was split by leave-one-out, which has no moments"):
        run_update(good, today, tmp_path / "out", valid_from=7000, test_from=8500)


def test_an_update_belongs_to_the_times_of_its_log(tmp_path: Path) -> None:
    """The order of a grown log is the same, but a split by time cuts elsewhere."""
    data = at_random_times(tiny_data())
    assert data.times is not None
    settings: dict[str, Any] = {"model": "popularity", "split": "time", "measured": False}
    earlier = train(TrainRequest(data, out=tmp_path / "run", **settings))
    newer = longer(data)
    run_update(earlier, newer, tmp_path / "out")
    assert newer.times is not None
    with pytest.raises(ConfigError, match="holds an update with another log than tiny"):
        run_update(earlier, replace(newer, times=newer.times + 1), tmp_path / "out")


def test_unknown_items_are_told(good: Run, tmp_path: Path) -> None:
    data = tiny_data(items=17, seed=4)
    done = run_update(good, write_log(tmp_path / "new.csv", at_random_times(data)), tmp_path / "out")
    assert done.judgement is not None
    ends = data.items[data.offsets[1:] - 1]
    assert done.judgement.unknown == int((ends > 15).sum()) > 0


def test_a_model_that_counts(log: Path, today: Path, tmp_path: Path) -> None:
    markov = train(TrainRequest(log, "markov", reading=READING, out=tmp_path / "markov"))
    done = run_update(markov, today, tmp_path / "out", final=True)
    assert done.accepted
    assert Run(tmp_path / "out/measured").info.warm_start is None


@pytest.mark.slow
def test_it_goes_on_after_a_kill(
    good: Run, today: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after each of its steps and repeated, the call gives the result of an uninterrupted update."""
    whole = run_update(good, today, tmp_path / "whole", final=True, into=tmp_path / "whole-live")
    out, link = tmp_path / "out", tmp_path / "live"

    class Killed(BaseException):
        pass

    def killing(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **options: Any) -> Any:
            step(*given, **options)
            raise Killed

        return run

    def dying(*_: Any, **__: Any) -> Any:
        raise Killed

    for name, how in (("train", killing), ("judge", killing), ("final_request", killing), ("point", killing)):
        with monkeypatch.context() as patch:
            patch.setattr(update_module, name, how(getattr(update_module, name)))
            with pytest.raises(Killed):
                run_update(good, today, out, final=True, into=link)
    with monkeypatch.context() as patch:
        patch.setattr(update_module, "point", dying)
        with pytest.raises(Killed):
            run_update(link, today, out, final=True, into=link)
    done = run_update(link, today, out, final=True, into=link)
    assert done.judgement == whole.judgement
    for part in ("measured", "final"):
        assert (out / part / "model.safetensors").read_bytes() == (
            tmp_path / "whole" / part / "model.safetensors"
        ).read_bytes()
    assert link.resolve() == (out / "final").resolve()


def test_what_does_not_belong_together_is_refused(
    good: Run, poor: Run, today: Path, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_update(good, today, out)
    with pytest.raises(ConfigError, match=r"holds the update of .*, not of .*; give another out"):
        run_update(poor, today, out)
    with pytest.raises(ConfigError, match="holds an update with another log than small"):
        run_update(good, log, out)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("three years")
    with pytest.raises(ConfigError, match="is not empty and does not hold an update"):
        run_update(good, today, full)
    with pytest.raises(ConfigError, match="is not a symbolic link"):
        run_update(good, today, tmp_path / "new", into=full)
    for link in (
        tmp_path / "new",
        tmp_path / "new" / "measured",
        tmp_path / "a" / ".." / "new" / "final" / "live",
    ):
        with pytest.raises(ConfigError, match="is where the update itself is written"):
            run_update(good, today, tmp_path / "new", into=link)
    assert not (tmp_path / "new").exists()
    with lock_in(out), pytest.raises(InUseError):
        run_update(good, today, out)
    assert tree(full).keys() == {str(full / "thesis.txt")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floor": {"accuracy": 0.1}}, "unknown metric 'accuracy'"),
        ({"floor": {"hr@16": 0.1}}, "floor of HR@16: today has only 15 items; give a smaller cutoff"),
        ({"floor": {"hr@10": 10}}, "should be a number from 0 to 1"),
        ({"floor": [0.1]}, "should be a value by metric"),
        ({"export": "pickle"}, "unknown export 'pickle'"),
        ({"final": "yes"}, "final = 'yes': should be true or false"),
    ],
)
def test_mistakes_leave_nothing(
    options: dict[str, Any], message: str, good: Run, today: Path, tmp_path: Path
) -> None:
    with pytest.raises(MclrecError, match=message):
        run_update(good, today, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_other_ids_are_refused(good: Run, tmp_path: Path) -> None:
    data = tiny_data()
    ids = data.item_ids.__class__([f"sku{number}" for number in range(1, 16)])
    with pytest.raises(ConfigError, match="no item in common"):
        run_update(good, replace(data, item_ids=ids), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_from_a_final_model(good: Run, today: Path, tmp_path: Path) -> None:
    final = finalize(good, out=tmp_path / "final", progress=False)
    assert run_update(final, today, tmp_path / "out").earlier == good.directory.resolve()


# ------------------------------------------------------------------------- command line


def test_the_command(cli: Cli, good: Run, today: Path, tmp_path: Path) -> None:
    words = ["update", good.directory, today, "--out", tmp_path / "out", "--into", tmp_path / "live", "-q"]
    done = cli(*words, "--final", "--floor", "hr@10=0.1")
    assert done.status == 0
    for said in (
        "40 held-out items",
        "new model",
        "earlier model",
        "popularity",
        "floor HR@10 0.1",
        "accepted: ",
    ):
        assert said in done.out
    assert f"{tmp_path / 'live'} now points to it" in done.out
    refused = cli("update", good.directory, today, "--out", tmp_path / "two", "--floor", "hr@10=1", "-q")
    assert refused.status == 4
    assert "refused: HR@10 " in refused.out
    assert "nothing was replaced; the earlier model is " in refused.out
    told = json.loads(cli(*words, "--final", "--floor", "hr@10=0.1", "--json").out)
    assert (told["status"], told["judgement"]["targets"]) == ("done", 40)
    bad = cli("update", good.directory, today, "--out", tmp_path / "three", "--floor", "hr@10")
    assert (bad.status, bad.err) == (
        2,
        "error: --floor 'hr@10': should be a metric and a number, as in ndcg@10=0.05\n",
    )


def test_ctrl_c_exchanges_nothing(
    cli: Cli, good: Run, today: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["update", good.directory, today, "--out", tmp_path / "out", "--into", tmp_path / "live", "-q"]

    def stopped(request: TrainRequest, _reporter: Any) -> Run:
        return train(request, Stopper(after=2))

    with monkeypatch.context() as patch:
        patch.setattr(update_module, "train", stopped)
        done = cli(*words)
    assert done.status == 130
    assert "nothing was replaced. The same command continues" in done.err
    assert not (tmp_path / "live").exists()
    assert cli(*words).status == 0
    assert (tmp_path / "live").resolve() == (tmp_path / "out/measured").resolve()
