from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tiny_data, write_log

from mclrec.errors import ConfigError, DataError, MclrecError, MclrecWarning
from mclrec.experiments import campaign_plan, planned_runs, reproduction
from mclrec.experiments.campaign_plan import (
    TARGETS,
    Plan,
    check_request,
    make_plan,
    target_names,
    told_scope,
)
from mclrec.experiments.data_names import data_name
from mclrec.experiments.paper import table3, table4
from mclrec.experiments.paper_tables import SIZE_TABLES
from mclrec.experiments.planned_runs import RunStore, do_runs
from mclrec.experiments.reproduction import Outcome, reproduce
from mclrec.experiments.results_table import Measurement
from mclrec.experiments.target import Scope

SMALL = {"epochs": 1, "hidden_size": 8, "max_length": 5}
SCOPE = Scope(("complete-journey",), settings=SMALL)


def _rows(name: str, scope: Scope) -> Iterator[tuple[str, float | None, str]]:
    for entry in TARGETS[name].plan(scope):
        planned = entry.runs[0]
        settings = {key: value for key, value in planned.settings.items() if key not in SMALL}
        yield entry.row, entry.x, f"{planned.model} {settings} {planned.lengths}"


def test_table_4_changes_one_thing_a_row() -> None:
    beauty = {row: what for row, _, what in _rows("table4", replace(SCOPE, datasets=("beauty",)))}
    assert beauty == {
        "(A) MCLRec": "mclrec {} None",
        "(B) w/o L_cl1": "mclrec {'lambda': 0.0} None",
        "(C) w/o L_cl2": "mclrec {'beta': 0.0, 'lambda': 0.1} None",
        "(D) w/o R": "mclrec {'gamma': 0.0} None",
        "(E) shared augmenter": "mclrec {'shared_augmenter': True} None",
        "R of the paper": "mclrec {'regularizer': 'paper'} None",
        "two updates": "mclrec {'updates': 'two'} None",
    }
    sports = {row: what for row, _, what in _rows("table4", replace(SCOPE, datasets=("sports",)))}
    assert sports["(C) w/o L_cl2"] == "mclrec {'beta': 0.0, 'lambda': 0.04} None"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_setting_of_all_runs_changes_what_a_row_stands_for(name: str) -> None:
    """A row "without R" stays without R, whatever R ``--set`` gives the other rows."""
    scope = Scope(("beauty",))
    plain = TARGETS[name].plan(scope)
    given: dict[str, set[Any]] = {}
    for row in plain:
        for key, value in row.runs[0].settings.items():
            given.setdefault(key, set()).add(value)
    for key, other in [(key, value) for key, values in given.items() for value in values if value]:
        try:
            found = TARGETS[name].plan(replace(scope, settings={key: other}))
        except ConfigError as problem:  # the setting has no effect with another encoder
            assert "has no effect" in str(problem)  # noqa: PT017
            continue
        for row, before in zip(found, plain, strict=True):
            own, settings = before.runs[0].settings, row.runs[0].settings
            kept = {of for of in own if not (of == key == "lambda" and row.row.startswith("(C)"))}
            assert {of: settings[of] for of in kept} == {of: own[of] for of in kept}, row.row


def test_a_setting_by_which_all_rows_differ_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run would use batch_size = 48: each sets its own"):
        make_plan("figure4", Scope(("beauty",), settings={"batch_size": 48}), RunStore(tmp_path))


@pytest.mark.parametrize(("data", "count"), [("complete-journey", 7), ("beauty", 6)])
def test_rows_of_table_4_that_come_to_the_same_run_once(
    data: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts runs under the data set's recipe; the data set itself, which would be downloaded, is replaced."""
    monkeypatch.setattr(planned_runs, "load", lambda _: tiny_data())
    monkeypatch.setattr(planned_runs, "known_as", lambda _: data)
    assert len(make_plan("table4", Scope((data,)), RunStore(tmp_path)).runs) == count


def test_another_recipe_for_all_or_for_some() -> None:
    def recipes(**asked: Any) -> list[str | None]:
        scope = replace(SCOPE, models=("sasrec", "mclrec"), **asked)
        return [entry.runs[0].recipe for entry in TARGETS["table3"].plan(scope)]

    assert recipes() == [None, None]
    assert recipes(recipe="sequences") == ["sequences", "sequences"]
    assert recipes(recipe={"mclrec": "sequences"}) == [None, "sequences"]
    with pytest.raises(ConfigError, match="did you mean 'mclrec'"):
        recipes(recipe={"mclerc": "sequences"})
    rows = {row: what for row, _, what in _rows("table4", replace(SCOPE, recipe="sports"))}
    assert rows["(C) w/o L_cl2"] == "mclrec {'beta': 0.0, 'lambda': 0.04} None"


@given(points=st.integers(2, 20))
def test_a_curve_may_have_fewer_points(points: int) -> None:
    places = {x for _, x, _ in _rows("figure6", replace(SCOPE, points=points))}
    assert {0.0, 0.5} <= places
    assert len(places) == min(points, 11)


def test_points_need_a_curve(tmp_path: Path) -> None:
    few = replace(SCOPE, points=3, settings={})
    with pytest.raises(ConfigError, match="leave --points out"):
        check_request("table4", few)
    check_request("all", few)
    assert len(make_plan("all", few, RunStore(tmp_path)).rows["figure6"]) == 6


def test_table_3_has_every_system_or_those_that_are_asked_for() -> None:
    assert len(list(_rows("table3", SCOPE))) == 22
    assert [row for row, *_ in _rows("table3", replace(SCOPE, models=("bpr", "mclrec")))] == ["bpr", "mclrec"]


def test_figure_8_has_three_groups_of_users_a_model() -> None:
    found = list(_rows("figure8", replace(SCOPE, models=("sasrec",))))
    assert [what for *_, what in found] == ["sasrec {} (5, 5)", "sasrec {} (6, 8)", "sasrec {} (9, None)"]


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'table4'"):
        target_names("tabel4")
    with pytest.raises(ConfigError, match="did you mean 'mclrec'"):
        TARGETS["table3"].plan(replace(SCOPE, models=("mclerc",)))
    with pytest.raises(ConfigError, match="leave --models out"):
        TARGETS["table4"].plan(replace(SCOPE, models=("sasrec",)))


def test_the_papers_values_stand_under_their_protocol_alone() -> None:
    row = Measurement("beauty", "sasrec", None, "F", "HR@20", 0.09, 0, 1, "users", (1,), ("k",))
    paper = TARGETS["table3"].paper
    assert paper(row) == 0.0894
    assert paper(replace(row, protocol="U")) is None
    assert paper(replace(row, row="mclrec", protocol="U")) == 0.1243
    assert paper(replace(row, data="other")) is None
    assert len(table3()) == 3 * 6 * 13
    assert table4()["yelp", "D", "NDCG@20"] == 0.0445


def test_runs_that_targets_share_are_done_once(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    whole = make_plan("all", replace(SCOPE, settings={"epochs": 1}), store)
    keys = [store.key(planned) for planned in whole.runs]
    assert len(set(keys)) == len(keys)
    entries = [entry for chosen in whole.rows.values() for entry in chosen]
    assert len(entries) > len(keys)
    assert whole.rows.keys() | SIZE_TABLES.keys() == set(target_names("all"))


@pytest.mark.slow
def test_a_target_ends_in_tables(tmp_path: Path) -> None:
    scope = replace(SCOPE, models=("popularity", "markov"), settings={})
    [outcome], progress = reproduce("table3", scope, tmp_path)
    assert progress.complete
    assert [len(table.rows) for table in outcome.tables] == [2, 2]
    text = (tmp_path / "table3" / "tables.md").read_text(encoding="utf-8")
    assert "complete-journey, U:" in text
    assert "| markov | **" in text
    assert r"\toprule" in (tmp_path / "table3" / "tables.tex").read_text(encoding="utf-8")


@pytest.mark.slow
def test_missing_runs_are_noted(tmp_path: Path) -> None:
    scope = replace(SCOPE, models=("markov", "sasrec"), settings={})
    reproduce("table3", replace(scope, models=("markov",)), tmp_path)
    [outcome], progress = reproduce("table3", scope, tmp_path, minutes=0)
    assert not progress.complete
    assert outcome.missing == 1
    assert "Partial: 1 run not done." in (tmp_path / "table3" / "tables.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_setting_goes_to_the_models_that_have_it(tmp_path: Path) -> None:
    scope = replace(SCOPE, models=("popularity", "markov"), settings={"window": 2})
    told = "window = 2: taken by markov; popularity does not have it"
    assert told_scope("table3", scope) == [told]
    [outcome], progress = reproduce("table3", scope, tmp_path)
    assert progress.complete
    assert [run.planned.settings for run in progress.runs] == [{}, {"window": 2}]
    assert f"{told}." in outcome.tables[0].notes
    assert told_scope("all", replace(scope, models=()))[0].startswith("window = 2: taken by markov; ")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"windw": 2}, "unknown setting of popularity, markov 'windw'; did you mean 'window'"),
        ({"window": "two"}, "markov: window = 'two'"),
        ({"epochs": 2}, "epochs has no effect on models that only count"),
    ]
    for settings, message in wrong:
        with pytest.raises(ConfigError, match=message):
            reproduce("table3", replace(scope, settings=settings), tmp_path / "other")
    with pytest.raises(ConfigError, match="table2 needs no run: leave --set out"):
        reproduce("table2", scope, tmp_path / "other")


@pytest.mark.parametrize("name", sorted(SIZE_TABLES))
def test_sizes_need_no_run(name: str, tmp_path: Path) -> None:
    [outcome], progress = reproduce(name, Scope(("complete-journey",)), tmp_path)
    assert progress.complete
    assert "sparsity" in (tmp_path / name / "tables.md").read_text(encoding="utf-8")
    assert len(outcome.tables) == 1


@pytest.mark.parametrize(
    ("kinds", "raised", "told"),
    [
        ({"table5": DataError}, DataError, "^table5 fails$"),
        ({"table2": DataError, "table5": ConfigError}, MclrecError, "table2 fails.*table5 fails"),
        ({"table2": DataError, "table5": ZeroDivisionError}, ZeroDivisionError, "table5 fails"),
    ],
)
def test_what_one_target_fails_by_keeps_no_other_from_its_tables(
    kinds: dict[str, type[Exception]],
    raised: type[Exception],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gather = reproduction.gather

    def failing(name: str, wanted: Plan, store: RunStore) -> Outcome:
        if name in kinds:
            raise kinds[name](f"{name} fails")
        return gather(name, wanted, store)

    names = ["table2", "table3", "table5"]
    monkeypatch.setattr(reproduction, "gather", failing)
    for module in (campaign_plan, reproduction):
        monkeypatch.setattr(module, "target_names", lambda _: names)
    scope = Scope(("complete-journey",), models=("popularity",))
    with pytest.raises(raised, match=told):
        reproduce("all", scope, tmp_path, minutes=0)
    assert {path.parent.name for path in tmp_path.glob("*/tables.md")} == set(names) - kinds.keys()


@pytest.mark.parametrize(
    ("what", "given", "told"),
    [
        ("tabel4", {}, "did you mean 'table4'"),
        ("table2", {"models": ("nosuch",)}, "table2 needs no run: leave --models out"),
        ("table2", {"recipe": "nosuch"}, "table2 needs no run: leave --recipe out"),
        ("table5", {"seeds": 3}, "table5 needs no run: leave --seeds out"),
        ("table5", {"points": 3}, "table5 needs no run: leave --points out"),
        ("table3", {"models": ("nosuch",)}, "unknown model 'nosuch'"),
        (
            "table3",
            {"models": ("popularity",), "recipe": {"mclrec": "nosuch"}},
            "mclrec=nosuch has no effect: table3 trains popularity here",
        ),
        ("table3", {"models": ("markov", "sasrec"), "recipe": {"sasrce": "auto"}}, "did you mean 'sasrec'"),
        ("table3", {"models": ("sasrec",), "recipe": "sequnces"}, "did you mean 'sequences'"),
        ("table3", {"models": ("sasrec", "sasrec")}, "sasrec is given twice"),
        ("table4", {"points": 3}, "leave --points out"),
        ("table3", {"track": "nosuch"}, "unknown tracker 'nosuch'"),
        ("table3", {"datasets": ()}, "--datasets: the list is empty"),
        ("table3", {"datasets": ("beauty", "beauty")}, "beauty is given twice"),
        ("table3", {"datasets": ("log.csv", "./log.csv")}, r"log.csv and ./log.csv are the same"),
    ],
)
def test_all_that_is_asked_for_is_checked_before_data_are_read(
    what: str, given: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_runs, "load", lambda _: pytest.fail("were read"))
    track = given.pop("track", None)
    with pytest.raises(ConfigError, match=told):
        check_request(what, Scope(**{"datasets": ("beauty",), **given}), track)


def test_figure_8_leaves_out_groups_without_users(tmp_path: Path) -> None:
    log = str(write_log(tmp_path / "log.csv", tiny_data(shortest=6)))
    scope, store = Scope((log,), models=("popularity",)), RunStore(tmp_path / "out" / "cells")
    assert (store.datasets[log].lengths > 5).all()
    planned = make_plan("figure8", scope, store)
    assert "popularity, =5" not in [row.row for row in planned.rows["figure8"]]
    [outcome], progress = reproduce("figure8", scope, tmp_path / "out", minutes=0)
    assert len(progress.runs) == len(planned.runs)
    assert do_runs(store, planned.runs)
    outcome = reproduction.gather("figure8", planned, store)
    assert "log has no history of length 5: the group is left out." in outcome.tables[0].notes


def test_figure_8_of_short_histories_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_runs.Datasets, "has_users", lambda *_: False)
    with pytest.raises(DataError, match=r"figure8: .* no history of length 5.* 9 or more"):
        make_plan("figure8", Scope(("complete-journey",)), RunStore(tmp_path))


def test_a_log_of_which_nothing_is_left_is_told_what_reproduce_can_do(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,time\nu1,i1,1\nu1,i2,2\nu2,i1,3\n")
    with pytest.raises(DataError, match="mclrec prepare"):
        make_plan("table3", Scope((str(tmp_path / "log.csv"),)), RunStore(tmp_path))


def test_two_logs_with_the_same_contents_have_a_table_each(tmp_path: Path) -> None:
    logs = [str(write_log(tmp_path / name, tiny_data(shortest=5))) for name in ("log.csv", "copy.csv")]
    scope, store = Scope(logs, models=("popularity",)), RunStore(tmp_path / "cells")
    planned = make_plan("table3", scope, store)
    assert len(planned.runs) == 1
    assert do_runs(store, planned.runs)
    outcome = reproduction.gather("table3", planned, store)
    assert outcome.missing == 0
    titles = [table.title.partition(":")[0] for table in outcome.tables]
    assert titles[:4] == [
        f"Performance of all systems on {name}" for name in ("log, U", "log, F", "copy, U", "copy, F")
    ]
    assert any("log and copy have the same contents" in note for note in outcome.tables[0].notes)


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "log.csv", "log.tsv", "beauty"]), min_size=1, max_size=4).map(
            "/".join
        ),
        unique=True,
        max_size=5,
    )
)
def test_no_two_data_have_one_name(places: list[str]) -> None:
    assert len({data_name(place, places) for place in places}) == len(places)


def test_seeds_that_a_narrower_call_leaves_out_are_told(tmp_path: Path) -> None:
    log = str(write_log(tmp_path / "log.csv", tiny_data(shortest=5)))
    scope, store = (
        Scope([log], ["bpr"], seeds=2, settings={"epochs": 1}),
        RunStore(tmp_path / "out" / "cells"),
    )
    assert do_runs(store, make_plan("table3", scope, store).runs)
    reproduce("table3", scope, tmp_path / "out", minutes=0)
    with pytest.warns(MclrecWarning, match="its tables had seed 2 too"):
        reproduce("table3", replace(scope, seeds=1), tmp_path / "out", minutes=0)


def test_tables_that_a_narrower_call_replaces_are_told(tmp_path: Path) -> None:
    logs = [str(write_log(tmp_path / f"{seed}.csv", tiny_data(shortest=5, seed=seed))) for seed in (1, 2)]
    scope, store = Scope(logs, models=("popularity", "recency")), RunStore(tmp_path / "out" / "cells")
    assert do_runs(store, make_plan("table3", scope, store).runs)
    reproduce("table3", scope, tmp_path / "out", minutes=0)
    with pytest.warns(MclrecWarning, match="its tables had popularity, recency too"):
        reproduce("table3", replace(scope, models=("markov",)), tmp_path / "out", minutes=0)
    reproduce("table3", scope, tmp_path / "out", minutes=0)
    with pytest.warns(
        MclrecWarning, match=r"its tables had .*2\.csv too and are replaced; the runs are kept"
    ):
        reproduce("table3", replace(scope, datasets=logs[:1]), tmp_path / "out", minutes=0)
    with pytest.warns(MclrecWarning, match="its tables had recency too"):
        reproduce(
            "table3", replace(scope, datasets=logs[:1], models=("popularity",)), tmp_path / "out", minutes=0
        )
    reproduce("table3", scope, tmp_path / "out", minutes=0)
