"""The base of what JSON files of a run hold, as frozen types, and the record of a calibration."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

__all__ = ["Calibration", "FileRecord"]


class FileRecord(BaseModel):
    """A part of a file: no key may be missing but those in ``may_lack``, which are None then, and none is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    may_lack: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_what_is_lacking(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            key: value
            for key, value in handler(self).items()
            if value is not None or key not in self.may_lack
        }


class Calibration(FileRecord):
    """What validation chose after training by a metric, and its values before and with it.

    Of how much higher items of the history are, the metric is that with them among the candidates, and the names are
    those of `mclrec.nn.repeats.Chosen` (``recency`` is missing where it was not there to choose). Of co-occurrence they
    are those of `mclrec.nn.co_occurrence.Nearness`, and the protocol is that of training.
    """

    chosen: dict[str, float]
    metric: str
    before: float
    after: float
