"""RecTools model that wraps any model of this library and its own training behind RecTools' interface.

``fit`` prepares the data set's interactions like `mclrec.prepare`, holds out each user's last one for validation,
and trains; with ``refit`` it then trains on everything for the number of epochs that validation chose, like
`mclrec.finalize`. Both are runs of this library: ``model.run`` is the one in use, which can be exported and served.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from rich.console import Console

from mclrec.arguments import LARGEST_SEED, check_flag, path_of, text_of, whole_number
from mclrec.crashes import refusals_as_ours
from mclrec.data.columns import Columns as LogColumns
from mclrec.data.loading import prepare
from mclrec.data.origin import Reading
from mclrec.data.packed import IntArray
from mclrec.data.sequences import SequenceData
from mclrec.data.vocabulary import Vocabulary
from mclrec.errors import ConfigError, DataError, MclrecWarning, ModelFileError
from mclrec.inference.queries import DenseQuery, Ranked
from mclrec.inference.runtime import Runtime, load_runtime
from mclrec.progress import quietly
from mclrec.runs.final import final_request
from mclrec.runs.request import TrainRequest
from mclrec.runs.run import Run
from mclrec.runs.training_run import check_request, resolve_device, train
from mclrec.training.reporting import ProgressReporter

try:
    from rectools import Columns
    from rectools.dataset import Dataset, IdMap, Interactions
    from rectools.models.base import ModelBase, ModelConfig
except ImportError as problem:
    raise ConfigError(
        f'mclrec.integrations.rectools needs RecTools ({problem}): pip install "rectools>=0.19"'
    ) from None

__all__ = ["MCLRecModel", "MCLRecModelConfig"]

Triplet = tuple[IntArray, IntArray, npt.NDArray[np.float32]]
"""Targets, recommended items and scores, one row per recommendation, as RecTools expects them."""


class MCLRecModelConfig(ModelConfig):  # type: ignore[misc] # RecTools has no types
    """Configuration of `MCLRecModel`; the fields are its arguments."""

    model: str = "mclrec"
    recipe: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    refit: bool = True
    directory: str | None = None


class MCLRecModel(ModelBase):  # type: ignore[misc] # RecTools has no types
    """RecTools model that trains and queries a sequential recommender of this library.

    Histories are ordered by ``Columns.Datetime``, and at equal times by the data set's rows. Weights and features are
    ignored, with a `MclrecWarning` if there are any. Users without an item that the model knows are cold, as for
    RecTools' own sequential models.

    Args:
        model: name of a model; ``mclrec models`` lists them.
        recipe: section of the model's recipes, or a TOML file; by default the one that ``mclrec train`` uses for a log.
        settings: settings of the model and of the training, such as ``{"epochs": 20, "beta": 0.05}``.
        seed: seed of all random numbers.
        device: auto, cpu or cuda.
        refit: whether the model is trained once more on everything after validation has chosen the number of epochs;
            otherwise each user's last interaction is used for validation only.
        directory: folder that keeps the runs of each fit; they are temporary by default.
        verbose: 0 for silence, 1 to print the progress.

    Raises:
        ConfigError: there is no such model, recipe, setting or device.
    """

    recommends_for_warm = False
    recommends_for_cold = False
    config_class = MCLRecModelConfig

    @refusals_as_ours()
    def __init__(
        self,
        model: str = "mclrec",
        recipe: str | Path | None = None,
        settings: dict[str, Any] | None = None,
        seed: int = 1,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        refit: bool = True,
        directory: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose=verbose)
        refit = check_flag("refit", refit)
        resolve_device(device)
        self.model = text_of("model", model)
        self.recipe = None if recipe is None else str(recipe)
        self.settings = dict(settings or {})
        self.seed = whole_number("seed", seed, 0, LARGEST_SEED)
        self.device, self.refit = device, refit
        self.directory = None if directory is None else path_of("directory", directory)
        check_request(self._request(None, None))
        self._run: Run | None = None
        self._runtime: Runtime | None = None
        self._items: Any = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def run(self) -> Run:
        """The run in use; `mclrec.Model.load`, `mclrec.export` and `mclrec.serve` accept its directory.

        Raises:
            ConfigError: the model is not fitted.
        """
        if self._run is None:
            raise ConfigError("the model is not fitted: it has no run yet")
        return self._run

    # ---------------------------------------------------------------------------- training

    @refusals_as_ours()
    def _fit(self, dataset: Dataset) -> None:
        """Train on a data set; called by RecTools' ``fit``."""
        _warn_of_unused(dataset)
        data = _sequences(dataset)
        temporary = None if self.directory else _temporary()
        folder = Path(temporary.name) if temporary else self._next_folder()
        run = self._train(self._request(_last_held_out(data), folder / "measured"))
        if self.refit:
            options = {"out": folder / "final", "device": self.device}
            run = self._train(final_request(run, data, Reading(), **options))
        self._use_run(run, dataset.item_id_map.external_dtype, self.device)
        self._temporary = (
            temporary  # what an earlier fit left is removed only now that this one has succeeded
        )

    def _request(self, data: Any, out: Path | None) -> TrainRequest:
        return TrainRequest(
            data,
            self.model,
            self.recipe,
            self.settings,
            self.seed,
            out,
            self.device,
            split="leave-one-out" if data is None else "files",
            measured=False,
        )

    def _train(self, request: TrainRequest) -> Run:
        """Train as requested.

        Raises:
            KeyboardInterrupt: a signal ended the training.
        """
        if self.verbose:
            with ProgressReporter(Console(stderr=True)) as reporter:
                run = train(request, reporter)
        else:
            with quietly():
                run = train(request)
        if not run.record.finished:
            raise KeyboardInterrupt
        return run

    def _next_folder(self) -> Path:
        """A new folder in ``directory`` for the runs of one fit."""
        assert self.directory is not None
        number = 1
        while (self.directory / f"fit-{number}").exists():
            number += 1
        return self.directory / f"fit-{number}"

    def _use_run(self, run: Run, dtype: npt.DTypeLike, device: str) -> None:
        """Load the model of a run to answer with; ``dtype`` is that of RecTools' item ids."""
        self._runtime = load_runtime(run.directory, engine="torch", device=device)
        self._run = run
        items = np.empty(len(self._runtime.catalogue), dtype=dtype)
        items[:] = list(self._runtime.catalogue.items)
        self._items = IdMap(items)

    # ---------------------------------------------------------------------------- recommending

    def _custom_transform_dataset_u2i(
        self,
        dataset: Dataset,
        users: Any,
        on_unsupported_targets: str,  # noqa: ARG002 - RecTools' interface; its base class reports cold users
        context: Any = None,  # noqa: ARG002 - as above
    ) -> Dataset:
        """The histories of some users, restricted to items that the model knows; users without any are left out."""
        rows = dataset.get_raw_interactions(include_extra_cols=False)
        rows = rows[rows[Columns.User].isin(users) & rows[Columns.Item].isin(self._items.external_ids)]
        ids = rows[Columns.User].to_numpy()
        return self._known(rows, IdMap.from_values(ids))

    def _custom_transform_dataset_i2i(
        self,
        dataset: Dataset,
        target_items: Any,  # noqa: ARG002 - as above
        on_unsupported_targets: str,  # noqa: ARG002 - as above
    ) -> Dataset:
        """The interactions with items that the model knows."""
        rows = dataset.get_raw_interactions(include_extra_cols=False)
        return self._known(rows[rows[Columns.Item].isin(self._items.external_ids)], dataset.user_id_map)

    def _known(self, rows: Any, users: IdMap) -> Dataset:
        """A data set whose internal item ids are the model's dense ids minus 1."""
        coded = rows.assign(
            **{
                Columns.User: users.convert_to_internal(rows[Columns.User]).astype(np.int64),
                Columns.Item: self._items.convert_to_internal(rows[Columns.Item]).astype(np.int64),
            }
        )
        return Dataset(users, self._items, Interactions(coded.reset_index(drop=True)))

    @refusals_as_ours()
    def _recommend_u2i(
        self,
        user_ids: IntArray,
        dataset: Dataset,
        k: int,
        filter_viewed: bool,
        sorted_item_ids_to_recommend: Any,
    ) -> Triplet:
        """Recommend items to users from their histories; called by RecTools' ``recommend``."""
        runtime = self._loaded()
        outside = dataset.user_id_map.convert_to_external(user_ids)
        allowed = _dense(sorted_item_ids_to_recommend)
        longest = min(k, len(runtime.catalogue))
        queries = [
            DenseQuery(
                history, longest, runtime.dense_user(user), allowed=allowed, include_seen=not filter_viewed
            )
            for history, user in zip(_histories(dataset, user_ids), outside, strict=True)
        ]
        return _triplet(user_ids, runtime.engine.answer(queries))

    @refusals_as_ours()
    def _recommend_i2i(
        self,
        target_ids: IntArray,
        dataset: Dataset,  # noqa: ARG002 - as above
        k: int,
        sorted_item_ids_to_recommend: Any,
    ) -> Triplet:
        """Recommend similar items by cosine similarity of their vectors; called by RecTools' ``recommend_to_items``."""
        runtime = self._loaded()
        allowed = _dense(sorted_item_ids_to_recommend)
        query = DenseQuery(np.empty(0, np.int64), min(k, len(runtime.catalogue)), allowed=allowed)
        return _triplet(target_ids, [_with_itself(runtime, int(target) + 1, query) for target in target_ids])

    def _loaded(self) -> Runtime:
        assert self._runtime is not None  # RecTools has checked that the model is fitted
        return self._runtime

    # ---------------------------------------------------------------------------- configuration and files

    def _get_config(self) -> MCLRecModelConfig:
        return MCLRecModelConfig(
            cls=self.__class__,
            model=self.model,
            recipe=self.recipe,
            settings=self.settings,
            seed=self.seed,
            device=self.device,
            refit=self.refit,
            directory=None if self.directory is None else str(self.directory),
            verbose=self.verbose,
        )

    @classmethod
    def _from_config(cls, config: MCLRecModelConfig) -> Self:
        return cls(**config.model_dump(exclude={"cls"}))

    def __getstate__(self) -> dict[str, Any]:
        """The configuration and the files of the run, from which RecTools saves and loads the model."""
        state: dict[str, Any] = {"config": self.get_config(simple_types=True)}
        if self._run is not None:
            found = (path for path in sorted(self._run.directory.iterdir()) if path.is_file())
            state["files"] = {path.name: path.read_bytes() for path in found}
            state["dtype"] = self._items.external_dtype.str
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        wanted = self.config_class.model_validate(state["config"])
        # To answer, a model needs neither the file of its recipe nor the GPU that trained it.
        plain = {**state["config"], "recipe": None, "settings": {}, "device": "auto"}
        self.__dict__.update(self.from_config(plain).__dict__)
        self.recipe, self.settings, self.device = wanted.recipe, dict(wanted.settings), wanted.device
        if "files" in state:
            self._temporary = _temporary()
            for name, content in state["files"].items():
                if Path(name).name != name:
                    raise ModelFileError(f"{name}: not the name of a file of a run")
                (Path(self._temporary.name) / name).write_bytes(content)
            device = "auto" if self.device == "cuda" else self.device
            self._use_run(Run(Path(self._temporary.name)), state["dtype"], device)
            self.is_fitted = True


def _temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed with the object."""
    return tempfile.TemporaryDirectory(prefix="mclrec-rectools-")


def _warn_of_unused(dataset: Dataset) -> None:
    """Warn about parts of a data set that are ignored."""
    weights = dataset.interactions.df[Columns.Weight].to_numpy()
    parts = {
        "weights": len(weights) > 0 and bool((weights != weights[0]).any()),
        "features of users": dataset.user_features is not None,
        "features of items": dataset.item_features is not None,
    }
    unused = [name for name, there in parts.items() if there]
    if unused:
        warnings.warn(
            f"MCLRecModel learns only from users, items and times: {' and '.join(unused)} have no effect",
            MclrecWarning,
            stacklevel=5,
        )


def _sequences(dataset: Dataset) -> SequenceData:
    """The interactions of a data set as sequences; rows at equal times keep their order.

    Raises:
        DataError: the ids are neither integers nor strings.
    """
    rows = dataset.get_raw_interactions(include_weight=False, include_extra_cols=False)
    columns = LogColumns(user=Columns.User, item=Columns.Item, time=Columns.Datetime)
    data = prepare(rows, name="rectools", columns=columns, min_count=1, ties="file")
    _check_ids("item", data.item_ids, dataset.item_id_map, dataset.interactions.df[Columns.Item])
    _check_ids("user", data.user_ids, dataset.user_id_map, dataset.interactions.df[Columns.User])
    return data


def _check_ids(kind: str, ids: Vocabulary, outside: IdMap, internal: Any) -> None:
    """Check that ids are the same here and in RecTools.

    Raises:
        DataError: they are not, for example ids of several types in one column.
    """
    if len(outside.convert_to_internal(list(ids), strict=False)) != internal.nunique():
        raise DataError(
            f"the data set: ids of {kind}s are of several types, or neither integers nor text; make them all text, or "
            "they would become other ids here"
        )


def _last_held_out(data: SequenceData) -> SequenceData:
    """The data with each user's last interaction held out for validation, if it has a predecessor.

    The test part is the same interaction; the fit never evaluates on it.
    """
    ends = data.lengths
    held = np.where(ends >= 2, ends - 1, ends)
    return replace(data, cuts=np.stack([held, held, ends, held]))


def _histories(dataset: Dataset, user_ids: IntArray) -> list[IntArray]:
    """Dense item ids of some users, oldest first."""
    frame = dataset.interactions.df
    users = frame[Columns.User].to_numpy()
    order = np.lexsort((frame[Columns.Datetime].to_numpy(), users))  # stable: rows at one time stay in order
    users, items = users[order], frame[Columns.Item].to_numpy()[order] + 1
    starts, ends = (np.searchsorted(users, user_ids, side) for side in ("left", "right"))
    return [items[start:end] for start, end in zip(starts, ends, strict=True)]


def _dense(internal: Any) -> IntArray | None:
    """Dense ids for an allow-list of RecTools' internal ids; None for all items."""
    return None if internal is None else np.asarray(internal, dtype=np.int64) + 1


def _with_itself(runtime: Runtime, item: int, query: DenseQuery) -> Ranked:
    """Similar items, preceded by the item itself, which RecTools removes if asked to."""
    found = runtime.engine.similar(item, query)
    if query.allowed is not None and item not in query.allowed:
        return found
    items, scores = np.append(item, found.items), np.append(np.float32(1), found.scores)
    return Ranked(items[: query.k], scores[: query.k])


def _triplet(targets: IntArray, lists: Sequence[Ranked]) -> Triplet:
    counts = [len(found.items) for found in lists]
    items = np.concatenate([np.empty(0, np.int64), *(found.items for found in lists)])
    scores = np.concatenate([np.empty(0, np.float32), *(found.scores for found in lists)])
    return np.repeat(np.asarray(targets, dtype=np.int64), counts), items.astype(np.int64) - 1, scores
