"""Arms of an A/B test: several models in one process, to which users and sessions are assigned by a hash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any

from mclrec.arguments import is_number
from mclrec.data.vocabulary import OutsideId
from mclrec.errors import ConfigError, MclrecError, quoted, unknown_name
from mclrec.serving.rest.model_store import Busy, ModelStore

__all__ = ["Arm", "Arms", "check_shares", "named_runs", "position"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_MOST = 16


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One arm of the test, with its model.

    Attributes:
        name: name of the arm; empty if there is one model and no test.
        models: holder of the current model, which can be reloaded.
        share: share of the users and sessions, from 0 to 1.
    """

    name: str
    models: ModelStore
    share: float = 1.0


class Arms:
    """The arms of a service, in order.

    Args:
        arms: at least one; their shares sum to 1.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._arms = {arm.name: arm for arm in arms}
        self._ends = list(accumulate(arm.share for arm in arms))
        self._salt = "|".join(self._arms)

    @classmethod
    def of(cls, models: ModelStore | Arms) -> Arms:
        """Wrap a single model, which is not tested, as the only arm; `Arms` are returned as they are."""
        return models if isinstance(models, Arms) else cls([Arm("", models)])

    def __iter__(self) -> Iterator[Arm]:
        """Iterate over the arms in order."""
        return iter(self._arms.values())

    @property
    def several(self) -> bool:
        """Whether there is a test, that is, more than one arm."""
        return len(self._arms) > 1

    @property
    def first(self) -> Arm:
        """The arm for requests with neither user nor session."""
        return next(iter(self._arms.values()))

    async def reload(self) -> None:
        """Reload all models from their directories, one after the other; refused ones are logged."""
        for arm in self:
            with suppress(Busy, MclrecError):
                await arm.models.reload()

    def waiting(self) -> int:
        """Number of queries waiting in the queues of all models."""
        return sum(arm.models.current.batcher.waiting for arm in self)

    def named(self, name: str) -> Arm:
        """An arm by its name.

        Raises:
            ConfigError: there is no such arm; the message suggests the nearest name.
        """
        if name not in self._arms:
            known = [one for one in self._arms if one]
            raise ConfigError(unknown_name("arm", name, known))
        return self._arms[name]

    def choose(self, user: OutsideId | None, session: str | None) -> tuple[Arm, str]:
        """The arm of a request, and what it is chosen by: the user, else the session, else "none" (the first arm).

        The same key has the same arm in every process and after every restart, as long as the names and shares of the
        arms stay the same. 7 and "7" are the same user.
        """
        if user is None and session is None:
            return self.first, "none"
        by, key = ("session", session) if user is None else ("user", str(user))
        place = position(self._salt, f"{by} {key}")
        for arm, end in zip(self._arms.values(), self._ends, strict=True):
            if place < end:
                return arm, by
        shared = [arm for arm in self._arms.values() if arm.share]
        return shared[-1], by  # if rounded shares sum to a little less than 1


def position(salt: str, key: str) -> float:
    """Hash a key to a number in [0, 1), uniformly and independently for each salt."""
    digest = blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def named_runs(words: Sequence[str]) -> dict[str, Path]:
    """Directories by arm, from the arguments of a command: RUN alone, or NAME=RUN for each of several.

    Raises:
        ConfigError: one of several has no name, a name is used twice or not valid, or there are too many.
    """
    if len(words) == 1 and (Path(words[0]).exists() or "=" not in words[0]):
        return {"": Path(words[0])}
    found: dict[str, Path] = {}
    for word in words:
        name, sign, place = word.partition("=")
        if not sign or not place:
            raise ConfigError(
                f"{quoted(word)}: with several models each needs a name, as in A=runs/a B=runs/b"
            )
        _check_name(name)
        if name in found:
            raise ConfigError(f"two models are called {name}")
        found[name] = Path(place)
    _check_number(len(found))
    return found


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{quoted(name)} is not a name of an arm: use at most 32 letters, digits, -, _ and ."
        )


def _check_number(models: int) -> None:
    if not models:
        raise ConfigError("no model to serve: give at least one")
    if models > _MOST:
        raise ConfigError(f"{models} models: at most {_MOST}")


def check_shares(split: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, float]:
    """Validate the shares of arms, and normalise them to sum to 1; equal shares if none are given.

    Args:
        split: weight of each arm, in any unit; 0 for an arm that only answers requests that name it.
        names: names of the arms.

    Raises:
        ConfigError: an arm is missing or unknown, or the numbers are not valid shares.
    """
    _check_number(len(names))
    for name in names if len(names) > 1 or names[0] else ():
        _check_name(name)
    if split is not None and not isinstance(split, Mapping):
        raise ConfigError(f"--split: {quoted(split)}: should be a share by arm, such as A=90,B=10")
    if split is None:
        return dict.fromkeys(names, 1 / len(names))
    for name, share in split.items():
        if not name or name not in names:
            raise ConfigError(f"--split: {unknown_name('arm', name, [one for one in names if one])}")
        if not is_number(share) or not 0 <= share < 1e9:
            raise ConfigError(f"--split: {name} = {quoted(share)}: should be a number, 0 or more")
    if missing := [name for name in names if name not in split]:
        raise ConfigError(f"--split: has no share for {', '.join(missing)}; give 0 for none")
    if not (whole := sum(split.values())):
        raise ConfigError("--split: at least one share has to be above 0")
    return {name: float(split[name] / whole) for name in names}
