"""Exports give the same answers as torch, report what is wrong with them, and load without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from tests.helpers import edit_sealed, tiny_data, write_log
from tests.inference.onnx_export import DATA, make, queries, save_run, write_expected

import mclrec
from mclrec.data.columns import Columns
from mclrec.data.loading import prepare
from mclrec.data.origin import Reading
from mclrec.errors import ConfigError, EvaluationError, MclrecError, MclrecWarning, ModelFileError
from mclrec.inference import exporter
from mclrec.inference.exporter import export_onnx
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import EngineName, load_runtime
from mclrec.inference.vector_exporter import export_vectors
from mclrec.models.base import ModelConfig, VectorRecommender
from mclrec.models.storage import load_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export") / "run"
    report = make(directory)
    assert report.difference <= 1e-5
    assert report.histories == 4 * 6
    assert report.index is not None
    assert report.index["recall"] >= 0.99
    return directory


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def same(found: list[Ranked], wanted: list[Ranked]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.items.tolist() == other.items.tolist()
        assert one.scores == pytest.approx(other.scores, rel=1e-5, abs=1e-5)
        assert one.popular == other.popular


@pytest.mark.parametrize("index", [None, "faiss"])
def test_onnxruntime_answers_as_torch(made: Path, index: str | None) -> None:
    torchs, onnx = load_runtime(made, engine="torch"), load_runtime(made, index=index)
    assert (torchs.card["engine"], onnx.card["engine"]) == ("torch", "onnx")
    assert torchs.version == onnx.version == load_runtime(made / "onnx").version
    assert (onnx.checksum == torchs.checksum) == (index is None)  # bulk files do not mix their lists
    assert onnx.engine.max_length == torchs.engine.max_length == 6
    assert onnx.engine.num_items == len(onnx.catalogue) == DATA.num_items
    same(onnx.engine.answer(queries()), torchs.engine.answer(queries()))
    nothing = DenseQuery(np.empty(0, np.int64), 5)
    same([onnx.engine.similar(3, nothing)], [torchs.engine.similar(3, nothing)])
    assert any(answer.popular for answer in onnx.engine.answer(queries()))


def test_no_index_is_built_that_no_query_would_use(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", "sasrec", {"co_occurrence": 2.0})
    with pytest.raises(ConfigError, match="an index would never be used: co_occurrence adds to scores"):
        export_onnx(run, index="faiss")
    assert not (run / "onnx").exists()
    assert export_onnx(run).index is None


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_threads_share_an_engine(made: Path, engine: Any) -> None:
    answering = load_runtime(made, engine=engine).engine
    wanted = answering.answer(queries())
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(answering.answer, [queries()] * 24):
            same(found, wanted)


def test_the_exported_ranking(made: Path) -> None:
    session = onnxruntime.InferenceSession(made / "onnx" / "ranking.onnx")
    queries = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    scores, items, values = session.run(["scores", "items", "values"], {"queries": queries, "k": [4]})
    vectors = np.load(made / "onnx" / "vectors.npy")
    assert scores == pytest.approx(queries @ vectors[1:].T, abs=1e-5)
    assert items.tolist() == (np.argsort(-scores, axis=1)[:, :4] + 1).tolist()
    assert values.tolist() == np.take_along_axis(scores, items - 1, axis=1).tolist()


def test_other_weights_are_noticed(run: Path) -> None:
    save_run(run, "sasrec", seed=6)
    with pytest.raises(
        ModelFileError, match=rf"different weights than .*: mclrec export {run} --format onnx"
    ):
        load_runtime(run, engine="onnx")
    with pytest.warns(MclrecWarning, match="different weights than .*; torch answers instead"):
        assert load_runtime(run).card["engine"] == "torch"
    export_onnx(run)
    assert load_runtime(run).card["engine"] == "onnx"


def test_an_export_does_not_answer_on_a_cpu_where_cuda_is_requested(run: Path) -> None:
    engines: list[tuple[Path, EngineName]] = [(run, "onnx"), (run / "onnx", "onnx"), (run / "onnx", "auto")]
    for place, engine in engines:
        with pytest.raises(ModelFileError, match="onnxruntime computes on the CPU here"):
            load_runtime(place, engine=engine, device="cuda")


@pytest.mark.parametrize("name", ["encoder.onnx", "vectors.npy", "items.parquet", "index.faiss"])
def test_damage_is_noticed(run: Path, name: str) -> None:
    path = run / "onnx" / name
    path.write_bytes(path.read_bytes()[:-20])
    engines: list[EngineName] = ["onnx", "auto"]
    for engine in engines:
        with pytest.raises(ModelFileError, match=rf"{name}: damaged: its checksum differs"):
            load_runtime(run, engine=engine)
    path.unlink()
    with pytest.raises(ModelFileError, match=rf"{name}: no such file"):
        load_runtime(run / "onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "other"}, "not the manifest of an export"),
        ({"format": 99}, "format 99, but this version of mclrec reads 3 to 7"),
        ({"files": {}}, "its list of files is not that of an export"),
        ({"max_length": "6"}, "max_length is missing or not of type int"),
    ],
)
def test_foreign_manifests(run: Path, change: dict[str, Any], message: str) -> None:
    path = run / "onnx" / "manifest.json"
    edit_sealed(path, lambda manifest: manifest.update(change))
    with pytest.raises(ModelFileError, match=message):
        load_runtime(run, engine="onnx")


def test_an_edited_manifest(run: Path) -> None:
    path = run / "onnx" / "manifest.json"
    path.write_text(path.read_text().replace('"max_length": ', '"max_length": 1'))
    with pytest.raises(ModelFileError, match=r"manifest\.json: damaged or edited: its checksum differs"):
        load_runtime(run, engine="onnx")


def test_what_is_not_there(run: Path, tmp_path: Path) -> None:
    bare = save_run(tmp_path / "bare", "sasrec")
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (tmp_path / "none", {}, "no such model directory"),
        (bare, {"engine": "onnx"}, "has no export to ONNX; make one: mclrec export"),
        (bare, {"index": "faiss"}, "no index: build one: mclrec export .* --index faiss"),
        (run, {"index": "faiss", "engine": "torch"}, "leave out engine torch and device cuda, or the index"),
        (run, {"index": "fais"}, "unknown index 'fais'; did you mean 'faiss'"),
        (run / "onnx", {"engine": "torch"}, "torch needs the run's own directory"),
    ]
    for directory, options, message in cases:
        with pytest.raises(MclrecError, match=message):
            load_runtime(directory, **options)
    assert load_runtime(bare).card["engine"] == "torch"


def test_no_torch_is_imported(made: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"  # importing it raises
        "from pathlib import Path; import numpy as np\n"
        "from mclrec.inference.runtime import EngineName, load_runtime\n"
        "from mclrec.inference.engine import DenseQuery\n"
        f"service = load_runtime(Path({str(made)!r}), index='faiss')\n"
        "print(service.engine.answer([DenseQuery(np.array([3, 1]), 4)])[0].items.tolist())"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    [wanted] = load_runtime(made, engine="torch").engine.answer([DenseQuery(np.array([3, 1]), 4)])
    assert child.stdout.strip() == str(wanted.items.tolist())


def test_a_difference_is_an_error(made: Path) -> None:
    model = load_model(made).model
    assert isinstance(model, VectorRecommender)
    assert exporter._compare(made / "onnx", model)[0] <= 1e-5
    with torch.no_grad():
        next(iter(model.parameters())).add_(1e-3)
    with pytest.raises(
        ModelFileError, match=r"differs from torch by .*, more than 1e-05: nothing was written"
    ):
        exporter._compare(made / "onnx", model)


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    counting = save_run(tmp_path / "markov", "markov")
    for exported in (export_onnx, export_vectors):
        with pytest.raises(ConfigError, match="markov has no vectors"):
            exported(counting)
    run = save_run(tmp_path / "run", "sasrec")
    (run / "onnx").mkdir()
    (run / "onnx" / "mine.txt").touch()
    with pytest.raises(ConfigError, match="exists and is not an export"):
        export_onnx(run)
    with pytest.raises(ConfigError, match="Plain cannot be exported: it defines no padded_query_vectors"):
        Plain(ModelConfig(), 3).padded_query_vectors(torch.ones(1, 1), torch.ones(1))


class Plain(VectorRecommender):
    """A model without `padded_query_vectors`."""

    phases = query_vectors = items = None  # type: ignore[assignment]


Plain.__abstractmethods__ = frozenset()


def test_models_without_vectors_answer_by_their_scores(tmp_path: Path) -> None:
    service = load_runtime(save_run(tmp_path / "run", "markov"))
    model = load_model(tmp_path / "run").model
    from mclrec.data.batches import Histories
    from mclrec.data.packed import Packed
    from mclrec.evaluation.ranking import top_items

    history = np.array([4, 7])
    ids, _ = top_items(model.scores(Histories.of(Packed.of([history]))), 6, Packed.of([history]))
    [found] = service.engine.answer([DenseQuery(history, 6)])
    assert found.items.tolist() == ids[0].tolist()
    with pytest.raises(EvaluationError, match="markov has no item vectors"):
        service.engine.similar(1, DenseQuery(history, 2))


def test_vectors(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", "gru4rec")
    log = write_log(tmp_path / "log.csv", tiny_data(users=9, items=DATA.num_items))
    out = export_vectors(run, tmp_path / "out", users=log)
    prepare(log, min_count=1).save(tmp_path / "prepared")
    other = export_vectors(run, tmp_path / "other", users=tmp_path / "prepared")
    assert pq.read_table(other / "users.parquet") == pq.read_table(out / "users.parquet")
    assert export_vectors(run, tmp_path / "named", users="complete-journey").is_dir()
    for option in ({"columns": Columns(user="u")}, {"reading": Reading(where="item = 'a'")}):
        with pytest.raises(ConfigError, match="columns and reading go with users"):
            mclrec.export(run, tmp_path / "unread", format="vectors", **option)
    items, users = pq.read_table(out / "items.parquet"), pq.read_table(out / "users.parquet")
    assert items["id"].to_pylist() == list(DATA.item_ids)
    vectors = np.load(out / "vectors.npy")
    assert np.array_equal(np.array(items["vector"].to_pylist(), dtype=np.float32), vectors)
    assert users.num_rows == 9
    scores = np.array(users["vector"].to_pylist()) @ vectors.T + items["bias"].to_numpy()
    data = tiny_data(users=9, items=DATA.num_items)
    engine = load_runtime(run).engine
    for row, name in enumerate(users["id"].to_pylist()):
        history = DATA.item_ids.dense_all(
            [data.item_ids[int(item)] for item in data.sequence(data.user_ids.dense(name) - 1)]
        )
        [answer] = engine.answer([DenseQuery(history, 3, include_seen=True)])
        assert (np.argsort(-scores[row])[:3] + 1).tolist() == answer.items.tolist()


def test_what_this_torch_cannot_export_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise torch.onnx.OnnxExporterError("Failed.\nThis is step 1/3.") from ValueError(
            "a static shape\nof 4"
        )

    run = save_run(tmp_path / "run", "sasrec", {})
    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(
        ConfigError, match=r"cannot export this encoder to ONNX; a newer one may: a static shape$"
    ):
        export_onnx(run)
    assert not (run / "onnx").exists()


@pytest.mark.slow
def test_a_process_exports_recurrent_layers_more_than_once(tmp_path: Path) -> None:
    for number in range(2):
        run = save_run(tmp_path / f"run {number}", "gru4rec", {"layers": 1})
        assert export_onnx(run).difference <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mclrec", {"encoder": "gru", "inner_size": 16}),
        ("mclrec", {"encoder": "convolution"}),
        ("mclrec", {"encoder": "hstu"}),
        ("hstu", {"temperature": 0.01, "hidden_size": 128}),
        ("sasrec", {"temperature": 0.001}),
        ("sasrec", {"max_length": 1}),
        ("sasrec", {"positions": "newest"}),
        ("sasrec", {"positions": "relative", "norm": "pre"}),
        ("sasrec", {"positions": "rotary", "feed_forward": "swiglu"}),
        ("sasrec", {"alpha": 0.5, "norm": "pre"}),
        ("mclrec", {"alpha": 0.5, "unit": "windows"}),
    ],
)
def test_every_kind_of_encoder(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", name, settings)
    assert export_onnx(run).difference <= 1e-5
    write_expected(run)
    same(
        load_runtime(run).engine.answer(queries()),
        load_runtime(run, engine="torch").engine.answer(queries()),
    )
