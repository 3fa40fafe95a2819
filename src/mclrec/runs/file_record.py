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
    """What validation chose after training by a metric with items of the history among the candidates, and its values.

    What is chosen has the names of `mclrec.nn.repeats.Chosen`; ``recency`` is missing where it was not there to choose.
    """

    chosen: dict[str, float]
    metric: str
    before: float
    after: float
