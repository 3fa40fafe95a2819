"""Limits of the service: sizes, times, numbers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mclrec.errors import ConfigError, invalid_value

__all__ = ["Settings"]


class Settings(BaseModel):
    """Limits of the service. Requests beyond a limit are refused before they cost much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_head: int = Field(16_384, ge=1024, description="bytes of a request's head; beyond, 431")
    max_body: int = Field(1 << 20, ge=1024, description="bytes of a request's body")
    max_history: int = Field(1000, ge=1, description="items of a history")
    max_list: int = Field(10_000, ge=1, description="items of `exclude` and of `allow`")
    max_k: int = Field(200, ge=1, description="items of an answer")
    max_batch: int = Field(256, ge=1, description="requests of one /recommend/batch")
    max_explained: int = Field(50, ge=1, description="items of one /explain")
    max_queue: int = Field(1024, ge=1, description="histories that wait for the model; beyond, 503")
    max_lookups: int = Field(
        64, ge=1, description="searches, similar items and explanations under way; beyond, 503"
    )
    max_bodies: int = Field(
        64 << 20, ge=1024, description="bytes of all bodies that are being read; beyond, 503"
    )
    max_unread: int = Field(
        64 << 20,
        ge=1024,
        description="bytes of answers that clients have not read; beyond, connections are cut",
    )
    max_connections: int = Field(1000, ge=1, description="open at once; beyond, 503")
    gathered: int = Field(32, ge=1, description="histories that the model reads at once")
    workers: int = Field(1, ge=1, description="threads that query the model")
    lookup_threads: int = Field(2, ge=1, description="threads that search and explain")
    deadline: float = Field(2.0, gt=0, description="seconds that a request may wait for its answer; then 504")
    header_timeout: float = Field(10.0, gt=0, description="seconds for the head of a request")
    body_timeout: float = Field(10.0, gt=0, description="seconds for the body of a request; then 408")
    keep_alive: int = Field(30, ge=1, description="seconds that an idle connection is kept")
    drain: float = Field(
        1.0, ge=0, description="seconds at the end in which new requests are refused with 503"
    )
    min_overlap: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the smaller catalogue that a reloaded model must have in common",
    )
    max_sessions: int = Field(
        100_000, ge=1, description="sessions that are kept; beyond, the oldest is dropped"
    )
    max_session_items: int = Field(200, ge=1, description="newest items that a session keeps")
    max_session_bytes: int = Field(256 << 20, ge=1024, description="bytes that all sessions take")
    session_ttl: float = Field(
        1800.0, gt=0, description="seconds that a session is kept after its last event"
    )
    log_histories: bool = Field(False, description="whether logs contain what was asked")

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if max(self.max_batch, self.max_history + 1) > self.max_queue:
            raise ValueError(
                f"--max-queue {self.max_queue} is too short for one request: "
                f"--max-batch {self.max_batch}, --max-history {self.max_history}"
            )
        return self

    @classmethod
    def of(cls, **given: object) -> Settings:
        """Settings from options of the command line; None means the default.

        Raises:
            ConfigError: a value is out of its bounds.
        """
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as problem:
            raise ConfigError(invalid_value(problem, options=True)) from None
