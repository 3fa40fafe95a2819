"""Base of the models' configurations, which refuse unknown keys and settings without effect.

A setting that has an effect only together with others says so in its annotation:

    heads: Annotated[int, OnlyWith(encoder="transformer")] = Field(2, ge=1, description="attention heads")
    mask_ratio: Annotated[float, OnlyWith(lambda_=NONZERO, beta=NONZERO)] = Field(0.2, description="...")

The first has an effect only if ``encoder`` is "transformer", the second if ``lambda`` or ``beta`` is not 0. Giving a
setting that has no effect is an error, which states the reason; such settings are neither saved nor shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import SerializerFunctionWrapHandler, ValidationInfo, model_serializer, model_validator

from mclrec.configuration import Configuration

__all__ = ["NONZERO", "STORED", "ModelConfig", "NoEffect", "NoEffectError", "OnlyWith", "OtherThan"]

STORED: Mapping[str, bool] = {"stored": True}
"""Context of `ModelConfig.model_validate` for values that were checked when they were saved."""


@dataclass(frozen=True, slots=True)
class OtherThan:
    """Any value of a setting except one."""

    value: Any

    def __contains__(self, value: Any) -> bool:
        return bool(value != self.value)

    def __str__(self) -> str:
        return f"other than {self.value}"


@dataclass(frozen=True, slots=True)
class _OneOf:
    """Some values of a setting."""

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        *others, last = map(str, self.values)
        return f"= {', '.join(others)} or {last}" if others else f"= {last}"


Needed = OtherThan | _OneOf
NONZERO = OtherThan(0)
"""Condition that a weight, number or rate is in use; None, which stands for a default, meets it too."""


class OnlyWith:
    """Annotation of a setting that has an effect only if any of the named other settings has one of the given values.

    If a setting has several of these annotations, all of them have to hold. An annotation holds if it names a setting
    that the configuration does not have.

    Args:
        needed: by name of another setting: a value, several values, or `OtherThan` one value.
    """

    def __init__(self, **needed: str | tuple[str, ...] | OtherThan) -> None:
        self.needed: Mapping[str, Needed] = {
            name: values
            if isinstance(values, OtherThan)
            else _OneOf((values,) if isinstance(values, str) else values)
            for name, values in needed.items()
        }


@dataclass(frozen=True, slots=True)
class NoEffect:
    """A setting that has no effect, and why.

    Attributes:
        key: of the setting, as users write it.
        because_of: keys of the settings that are the reason.
        reason: a sentence for the user.
    """

    key: str
    because_of: tuple[str, ...]
    reason: str


class NoEffectError(ValueError):
    """A setting was given that has no effect.

    Attributes:
        key: of the setting.
        layer: number of the layer that gave it, see `ModelConfig.of_layers`.
    """

    def __init__(self, problem: NoEffect, layer: int) -> None:
        super().__init__(problem.reason)
        self.key, self.layer = problem.key, layer


class ModelConfig(Configuration):
    """Base of the models' configurations: an unknown key or a given setting without effect is an error.

    Attributes:
        calibrated_with: names of settings; if one of them is on, validation chooses after training what is added to
            scores. Empty: it always chooses. None: there is nothing to choose.
    """

    calibrated_with: ClassVar[Sequence[str] | None] = None

    @property
    def calibrated(self) -> bool:
        """Whether validation chooses what is added to scores."""
        names = self.calibrated_with
        return names is not None and (not names or any(getattr(self, name) for name in names))

    @classmethod
    def of_layers(cls, *layers: Mapping[str, Any]) -> Self:
        """Make a configuration from several layers of settings, of which later ones override earlier ones.

        An earlier layer cannot know what a later one chooses: those of its settings that no longer have an effect are
        dropped and get their default. A setting is refused if its own layer, or an earlier one, made it useless.

        Raises:
            NoEffectError: a setting is refused.
            pydantic.ValidationError: a key or value that is not allowed.
        """
        keys = {
            key: info.alias or name for name, info in cls.model_fields.items() for key in (name, info.alias)
        }
        given = {
            keys.get(key, key): (number, value)
            for number, layer in enumerate(layers)
            for key, value in layer.items()
        }
        while True:
            config = cls.model_validate({key: value for key, (_, value) in given.items()}, context=STORED)
            useless = next(config.given_without_effect(), None)
            if useless is None:
                return config
            layer, _ = given.pop(useless.key)
            if layer >= max(given[key][0] if key in given else -1 for key in useless.because_of):
                raise NoEffectError(useless, layer)

    @classmethod
    def of_stored(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration of a saved model, which has every setting that existed and had an effect when saved.

        Raises:
            pydantic.ValidationError: a key or value that is not allowed.
            ValueError: a setting is missing: its default might not be what was trained.
        """
        before = cls.before()
        config = cls.model_validate({**before, **settings}, context=STORED)
        # A setting without effect has its default in every configuration, whatever its value before it existed.
        if idle := before.keys() & config.idle() - settings.keys():
            kept = {key: value for key, value in before.items() if key not in idle}
            config = cls.model_validate({**kept, **settings}, context=STORED)
        if missing := config.model_dump(by_alias=True).keys() - settings.keys() - before.keys():
            raise ValueError(f"config.{min(missing)} is missing")
        return config

    @classmethod
    def conditions(cls, name: str) -> Sequence[OnlyWith]:
        """The conditions under which a setting has an effect."""
        return [part for part in cls.model_fields[name].metadata if isinstance(part, OnlyWith)]

    @classmethod
    def only_with(cls) -> dict[str, str]:
        """Conditions of the settings that depend on others, as text by key: ``only with encoder = transformer``."""
        found: dict[str, str] = {}
        for name, info in cls.model_fields.items():
            texts = [
                " or ".join(
                    f"{cls._key(other)} {needed}"
                    for other, needed in condition.needed.items()
                    if other in cls.model_fields
                )
                for condition in cls.conditions(name)
            ]
            if any(texts):
                found[info.alias or name] = "only with " + ", and ".join(filter(None, texts))
        return found

    def has_effect(self, name: str) -> bool:
        """Whether a setting, by its field's name, is used with the other settings as they are."""
        return not self._unmet(name, frozenset())

    def idle(self) -> set[str]:
        """Keys of the settings that have no effect."""
        return {self._key(name) for name in self._idle_names()}

    def _idle_names(self) -> Iterator[str]:
        return (name for name in type(self).model_fields if not self.has_effect(name))

    def given_without_effect(self) -> Iterator[NoEffect]:
        """Settings that were given but have no effect, in the order of the fields."""
        for name in type(self).model_fields:
            if name in self.model_fields_set and (unmet := self._unmet(name, frozenset())):
                found = " and ".join(f"{self._key(other)} = {getattr(self, other)}" for other in unmet)
                cure = " or ".join(f"{self._key(other)} {needed}" for other, needed in unmet.items())
                reason = f"{self._key(name)} has no effect with {found}, only with {cure}: leave it out"
                yield NoEffect(self._key(name), tuple(self._key(other) for other in unmet), reason)

    def _unmet(self, name: str, asked: frozenset[str]) -> dict[str, Needed]:
        """The values that other settings would need for ``name`` to have an effect; empty if it has one.

        Args:
            name: of the setting.
            asked: settings whose effect depends on this one; conditions on them count as met.
        """
        for condition in self.conditions(name):
            unmet: dict[str, Needed] = {}
            for other, needed in condition.needed.items():
                if other in asked or other not in type(self).model_fields:
                    break
                missing = (
                    self._unmet(other, asked | {name}) if getattr(self, other) in needed else {other: needed}
                )
                if not missing:
                    break
                unmet |= missing
            else:
                return unmet
        return {}

    @classmethod
    def _key(cls, name: str) -> str:
        return cls.model_fields[name].alias or name

    @model_validator(mode="after")
    def _no_setting_without_effect(self, info: ValidationInfo) -> Self:
        useless = next(self.given_without_effect(), None)
        if useless is not None and info.context != STORED:
            raise ValueError(useless.reason)
        return self

    @model_serializer(mode="wrap")
    def _settings_with_effect(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        useless = {key for name in self._idle_names() for key in (name, self._key(name))}
        return {key: value for key, value in handler(self).items() if key not in useless}
