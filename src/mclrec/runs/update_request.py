"""Requests for updates: everything that determines one, and checks that are possible before data are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mclrec.arguments import check_choice, is_number
from mclrec.data.origin import Reading
from mclrec.data.split import EVERYTHING
from mclrec.data.split_rules import SplitRule
from mclrec.errors import ConfigError, quoted
from mclrec.evaluation.metrics import parse_metric
from mclrec.extras import require
from mclrec.files import check_writable
from mclrec.models import registry
from mclrec.models.base import VectorRecommender
from mclrec.runs.live_link import check_link
from mclrec.runs.run import Run

__all__ = ["FINAL", "MEASURED", "UpdateRequest", "check_update", "floors", "split_of", "with_targets_of"]

MEASURED, FINAL = "measured", "final"
"""Names of the runs in the directory of an update."""


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """Request for an update: everything that determines it.

    Attributes:
        run: the earlier model: a measured run, a final model (which stands for its measured run), or a link to one.
        data: the newer log, as `mclrec.train` takes it.
        out: directory of the update.
        floor: least value of each of these metrics of the new model, under the protocol that suits the data.
        final: whether the model that goes live is trained on all data.
        export: ``onnx`` to export it; None for no export.
        into: the link from which the service reads its model; None for none.
        device: auto, cpu or cuda.
        reading: how the log is read; by default as the earlier run's own log was.
        split: rule by which targets are held out; the earlier run's if None.
        command: command line to record in the runs; derived from the other fields if None.
    """

    run: Run
    data: Any
    out: Path
    floor: Mapping[str, float] = field(default_factory=dict)
    final: bool = False
    export: Literal["onnx"] | None = None
    into: Path | None = None
    device: str = "auto"
    reading: Reading = field(default_factory=Reading)
    split: str | None = None
    command: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options that determine the outcome together with the model and the data, as saved in the update."""
        into = None if self.into is None else str(self.into.absolute())
        split = {} if self.split is None else {"split": self.split}
        return {"floor": dict(self.floor), "final": self.final, "export": self.export, "into": into, **split}


def check_update(request: UpdateRequest, earlier: Run) -> None:
    """Check what can be checked before data are read.

    Raises:
        ConfigError: an unknown export, or one that this model does not support, or ``into`` cannot become a link.
        OutputError: a directory cannot be written.
    """
    check_writable(request.out, "folder")
    if request.into is not None:
        check_link(request.into)
        _check_apart(request.into, request.out)
    if request.export is None:
        return
    check_choice("export", request.export, ("onnx",))
    require("an export to ONNX")
    model = earlier.info.model
    if not issubclass(registry.model_class(model), VectorRecommender):
        raise ConfigError(f"--export onnx: {model} has no item vectors and cannot be exported; leave it out")


def _check_apart(link: Path, out: Path) -> None:
    """Check that the link is not where the update writes its runs: only at the end would it be refused there."""
    place, out = link.parent.resolve() / link.name, out.resolve()
    if place == out or any(place.is_relative_to(out / name) for name in (MEASURED, FINAL)):
        raise ConfigError(f"{link}: is where the update itself is written; place the link elsewhere")


def split_of(valid_from: object, test_from: object) -> str | None:
    """The rule of a split by time at the given moments; None if no moment is given.

    Raises:
        ConfigError: a moment is invalid, or only one is given.
    """
    given = (valid_from, test_from) != (None, None)
    return str(SplitRule.of("time", valid_from, test_from)) if given else None


def with_targets_of(split: str | None, earlier: str) -> str:
    """The split rule of an update: that of the earlier run, or new moments with the earlier run's choice of targets.

    Args:
        split: split rule with the new moments; None if there are none.
        earlier: split rule of the earlier run.
    """
    if split is None or earlier == EVERYTHING:
        return earlier if split is None else split
    return str(replace(SplitRule.of(split), targets=SplitRule.of(earlier).targets))


def floors(given: Any) -> dict[str, float]:
    """Parse and check the floors, by metric.

    Raises:
        ConfigError: a metric is unknown, or its value is not a number from 0 to 1.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(
            f"floor = {quoted(given)}: should be a value by metric, such as {{'ndcg@10': 0.05}}"
        )
    found = {}
    for name, value in (given or {}).items():
        metric = parse_metric(name)
        if not is_number(value) or not 0 <= value <= 1:
            raise ConfigError(f"floor of {metric} = {quoted(value)}: should be a number from 0 to 1")
        if str(metric) in found:
            raise ConfigError(f"floor of {metric}: is given twice; give it once")
        found[str(metric)] = float(value)
    return found
