"""Base class of the frozen records in a run's JSON files, and the record of a calibration."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

__all__ = ["Calibration", "FileRecord"]


class FileRecord(BaseModel):
    """A record in a JSON file: only keys in ``may_lack`` may be missing, which are then None; no key may be unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    may_lack: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_absent_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            key: value
            for key, value in handler(self).items()
            if value is not None or key not in self.may_lack
        }


class Calibration(FileRecord):
    """Values that validation chose after training, with the metric before and after.

    For the scores of items of the history, the metric keeps these items among the candidates, and the names are those
    of `mclrec.nn.repeats.Chosen` (``recency`` is missing in runs that did not choose it). For co-occurrence, the names
    are those of `mclrec.nn.co_occurrence.Nearness`, and the protocol is that of training.
    """

    chosen: dict[str, float]
    metric: str
    before: float
    after: float
