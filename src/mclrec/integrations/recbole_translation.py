"""Key-by-key translation of a RecBole configuration, recording which keys were taken, left and assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from mclrec.data.columns import Columns
from mclrec.data.origin import Reading
from mclrec.errors import ConfigError, quoted
from mclrec.integrations.recbole_keys import (
    COLUMNS,
    COUNTED,
    FAMILIES,
    GENERAL,
    IN_RECBOLE_ONLY,
    OVERALL,
    TRAINING,
    Family,
)
from mclrec.recipes.shared_settings import own_keys

__all__ = ["Note", "Rule", "Translation", "number"]


@dataclass(frozen=True, slots=True)
class Note:
    """The outcome for one key.

    Attributes:
        key: key in the file; nested keys are joined with a dot.
        text: what it corresponds to here, or why it is not supported.
    """

    key: str
    text: str


Rule = Callable[["Translation", str, Any], None]
"""A function that translates one key and its value by calling `Translation.say`, `take` or `leave`."""


@dataclass
class Translation:
    """A translation in progress, key after key; each ends up in ``taken`` or ``left``."""

    values: Mapping[Any, Any]
    model: str
    rules: Mapping[str, Rule]
    settings: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = OVERALL["seed"]
    device: str | None = None
    split_problem: str | None = None
    taken: list[Note] = field(default_factory=list)
    left: list[Note] = field(default_factory=list)
    assumed: list[Note] = field(default_factory=list)

    # ------------------------------------------------------------------------ notes

    def say(self, key: object, text: str) -> None:
        """Record that a key was applied."""
        self.taken.append(Note(str(key), text))

    def leave(self, key: object, reason: str) -> None:
        """Record that a key was not applied."""
        self.left.append(Note(str(key), reason))

    def read_with(self, key: str, option: str, value: Any) -> None:
        """Take a key as a reading option.

        Raises:
            ConfigError: the option cannot have that value; the message names the key of the file.
        """
        try:
            Reading.of(**{option: value})
        except ConfigError as problem:
            raise ConfigError(f"{key}: {problem}") from None
        self.options[option] = value

    def take(self, key: str, setting: str, value: Any) -> None:
        """Take a key as a setting, if the model has it."""
        if setting not in self._settings():
            self.leave(key, f"{self.model} has no setting {setting}")
            return
        self.settings[setting], self.origins[setting] = value, key
        self.say(key, f"{setting} = {value}")

    def _settings(self) -> set[str]:
        return set(own_keys(self.model).values())

    @property
    def family(self) -> Family:
        """Mapping of the keys of the model."""
        return FAMILIES.get(self.model, Family({}))

    # ------------------------------------------------------------------------ one key

    def translate(self, key: Any) -> None:
        """Translate a key and record it as taken or left."""
        value = self.values[key]
        if key in self.rules:
            self.rules[key](self, key, value)
        elif key in COLUMNS:
            self._column(key, value)
        elif key in self.family.keys or key in TRAINING:
            setting, kind = self.family.keys.get(key) or TRAINING[key]
            self.take(key, setting, number(key, value, kind))
        elif key in self.family.same:
            self.same(key, value, self.family.same[key])
        elif key in self.family.reasons:
            self.leave(key, self.family.reasons[key])
        elif key in IN_RECBOLE_ONLY:
            self.leave(key, IN_RECBOLE_ONLY[key])
        else:
            self.leave(key, self._unknown(key))

    def _unknown(self, key: Any) -> str:
        of_others = [
            name for name, family in FAMILIES.items() if key in {*family.keys, *family.same, *family.reasons}
        ]
        if of_others:
            return f"a key of {of_others[0]}; {self.model} has no such key"
        known = {*self.family.keys, *self.family.same, *TRAINING, *COLUMNS, *self.rules, *IN_RECBOLE_ONLY}
        near = get_close_matches(str(key), known, n=1, cutoff=0.6)
        return f"unknown key; did you mean {near[0]}?" if near else "unknown key"

    def same(self, key: str, value: Any, meant: Any) -> None:
        """Take a key if its value is ``meant``, the only one supported here; otherwise leave it."""
        alike = str(value).lower() == str(meant).lower() or (_is_number(value) and value == meant)
        if alike:
            self.say(key, f"always {meant}")
        else:
            self.leave(key, f"only {meant} is supported here, not {quoted(value)}")

    def _column(self, key: str, value: Any) -> None:
        if value is None:
            self.leave(key, "the column is guessed from the log")
            return
        self.columns[COLUMNS[key]] = _text(key, value)
        self.say(key, f"--{COLUMNS[key]}-column {value}")

    # ------------------------------------------------------------------------ keys missing from the file

    def assume(self) -> None:
        """Apply RecBole's defaults for keys missing from the file."""
        if "model" not in self.values:
            self.assumed.append(Note("model", f"--model {self.model}, as the file names none"))
        asked = [key for key in self._defaults() if key not in self.values]
        for key in asked:
            self._assume(key, self._defaults()[key])
        for setting, value in self.family.regime.items():
            if setting not in self.settings:
                self.settings[setting] = value
                self.assumed.append(Note(setting, f"{setting} = {value}"))
        if "min_count" not in self.options and not any(key in self.values for key in COUNTED):
            self.assumed.append(Note(COUNTED[0], "--min-count 1"))
        self.options.setdefault("min_count", 1)
        if "repeatable" not in self.values and "seen" in self._settings():
            self._assume("repeatable", self.model not in GENERAL)
        if "eval_args" not in self.values:
            how = "; RecBole would split at random" if self.model in GENERAL else ""
            self.assumed.append(Note("eval_args", f"--split leave-one-out{how}"))

    def _defaults(self) -> Mapping[str, Any]:
        return {**OVERALL, **self.family.defaults} if self.model in FAMILIES else OVERALL

    def _assume(self, key: str, value: Any) -> None:
        """Translate a default as if the file contained it."""
        before = (len(self.taken), len(self.left))
        full = self.values
        self.values = {**full, key: value}
        self.translate(key)
        self.values = full
        self.assumed += self.taken[before[0] :]
        del self.taken[before[0] :], self.left[before[1] :]
        self.origins = {setting: origin for setting, origin in self.origins.items() if origin != key}

    def reading(self) -> Reading:
        """How the log is read."""
        columns = replace(Columns(), **self.columns) if self.columns else None  # type: ignore[arg-type] # names of text fields
        return Reading.of(**self.options, columns=columns)


def number(key: str, value: Any, kind: type) -> Any:
    """Return a value as an int or a float; whole floats are accepted as ints.

    Raises:
        ConfigError: it is not such a number.
    """
    whole = kind is int
    if _is_number(value) and (not whole or value == int(value)):
        return int(value) if whole else float(value)
    raise ConfigError(f"{key} = {quoted(value)}: should be a {'whole ' if whole else ''}number")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} = {quoted(value)}: should be the name of a column")
    return value
