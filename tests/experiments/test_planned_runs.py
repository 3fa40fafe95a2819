from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers import tiny_data, write_log

from mclrec.data.loading import load
from mclrec.data.split import leave_one_out
from mclrec.errors import ConfigError
from mclrec.experiments.campaign import distinct
from mclrec.experiments.kept_results import directories_with
from mclrec.experiments.planned_runs import PlannedRun, RunStore, command, do_runs
from mclrec.experiments.target import Scope
from mclrec.models import registry
from mclrec.runs.recipe_choice import recipe_for, sizes_of
from mclrec.runs.run import Run


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(write_log(tmp_path / "tiny.csv", tiny_data(shortest=5)))


def test_a_key_changes_with_whatever_changes_the_result(log: str, tmp_path: Path) -> None:
    store, plain = RunStore(tmp_path), PlannedRun(log, "mclrec", settings={"epochs": 2})
    others = [
        replace(plain, model="sasrec"),
        replace(plain, seed=2),
        replace(plain, settings={"epochs": 3}),
        replace(plain, settings={"epochs": 2, "beta": 0.5}),
        replace(plain, lengths=(6, None)),
    ]
    assert len({store.key(planned) for planned in [plain, *others]}) == 6


def test_settings_that_resolve_alike_are_the_same_run(log: str, tmp_path: Path) -> None:
    store, plain = RunStore(tmp_path), PlannedRun(log, "mclrec")
    said = replace(plain, settings={"beta": 0.1, "checkpoint_minutes": 1.0})
    assert store.directory(said) == store.directory(plain)
    assert distinct(store, [said, plain, replace(plain, seed=2)]) == [said, replace(plain, seed=2)]


def test_a_setting_that_came_later_makes_no_other_run(log: str, tmp_path: Path) -> None:
    store, plain = RunStore(tmp_path), PlannedRun(log, "sasrec")
    config = store.recipe(plain).config
    assert config.identity().keys() == config.model_dump(by_alias=True).keys() - config.before().keys()
    assert {"repeat_bias": False}.items() <= config.before().items()
    asked = replace(plain, settings={"repeat_bias": True})
    assert store.recipe(asked).config.identity()["repeat_bias"] is True
    assert store.key(asked) != store.key(plain)


def test_a_finished_run_of_an_earlier_version_is_found_by_its_settings(log: str, tmp_path: Path) -> None:
    store, plain = RunStore(tmp_path / "cells"), PlannedRun(log, "markov")
    assert do_runs(store, [plain])
    earlier = store.directory(plain).rename(tmp_path / "cells" / "tiny-markov-0123456789ab")
    store = RunStore(tmp_path / "cells")
    assert store.directory(plain) == earlier
    assert store.kept_key(plain) == "0123456789ab"
    assert store.is_complete(plain)
    for other in (
        replace(plain, seed=2),
        replace(plain, settings={"window": 2}),
        replace(plain, lengths=(6, 8)),
    ):
        assert store.directory(other) != earlier
        assert not store.is_complete(other)


def test_other_data_are_another_run(tmp_path: Path) -> None:
    logs = [str(write_log(tmp_path / f"{seed}.csv", tiny_data(shortest=5, seed=seed))) for seed in (1, 2)]
    store = RunStore(tmp_path)
    assert len({store.key(PlannedRun(log, "sasrec")) for log in logs}) == 2


def test_only_users_of_some_length_are_trained_on(log: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    data = store.datasets.of(PlannedRun(log, "sasrec", lengths=(6, 8)))
    assert set(data.lengths.tolist()) == {6, 7, 8}
    assert data.num_items == store.datasets[log].num_items


def test_an_unfinished_run_cannot_be_read(log: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not finished"):
        RunStore(tmp_path).run(PlannedRun(log, "sasrec"))


def test_a_planned_run_has_a_command() -> None:
    planned = PlannedRun("beauty", "mclrec", "sequences", {"beta": 0.2, "shared_augmenter": True}, 3)
    assert command(planned) == (
        "mclrec train beauty --model mclrec --seed 3 --recipe sequences --set beta=0.2 --set shared_augmenter=true"
    )


def test_a_log_is_trained_by_the_recipe_that_a_run_alone_would_have(log: str, tmp_path: Path) -> None:
    store, data = RunStore(tmp_path), load(log)
    for model in registry.names():
        [planned] = Scope((log,)).runs(PlannedRun(log, model))
        alone = recipe_for(model, data, sizes_of(leave_one_out(data)))
        assert store.recipe(planned) == alone
        assert ("--recipe auto" in command(planned)) == (alone.section == "auto")
    asked = Scope((log,), recipe="default").runs(PlannedRun(log, "mclrec"))
    assert store.recipe(asked[0]).section == "default"


def test_what_auto_chooses_by_the_data_is_part_of_a_run(log: str, tmp_path: Path) -> None:
    store, small = RunStore(tmp_path), {"hidden_size": 8, "epochs": 1}
    for lengths in (None, (6, None)):
        planned = PlannedRun(log, "sasrec", "auto", small, lengths=lengths)
        assert do_runs(store, [planned])
        recipe, run = store.recipe(planned), Run(store.directory(planned))
        assert recipe.choices
        assert run.info.config == recipe.config.model_dump(mode="json", by_alias=True)
        assert run.info.training["batch_size"] == recipe.training.batch_size == 16


def test_a_run_is_found_whatever_its_data_are_called(log: str, tmp_path: Path) -> None:
    store, plain = RunStore(tmp_path / "cells"), PlannedRun(log, "markov")
    assert do_runs(store, [plain])
    renamed = replace(plain, data=str(Path(log).rename(tmp_path / "other.csv")))
    again = RunStore(tmp_path / "cells")
    assert again.directory(renamed) == store.directory(plain)
    assert again.is_complete(renamed)
    assert not again.is_complete(replace(renamed, seed=2))


def test_of_two_directories_with_one_key_the_finished_one_counts(log: str, tmp_path: Path) -> None:
    """Earlier versions trained a second time on a log that had been renamed."""
    store, plain = RunStore(tmp_path / "cells"), PlannedRun(log, "markov")
    assert do_runs(store, [plain])
    begun = store.directory(plain).with_name(f"a-markov-{store.key(plain)}")
    begun.mkdir()
    assert store.is_complete(plain)
    assert directories_with(store.folder, store.key(plain)) == [store.directory(plain), begun]
