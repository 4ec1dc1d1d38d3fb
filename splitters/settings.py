"""Typed settings: frozen, complete, and strict about unknown keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import Self

from splitters.errors import ConfigurationError, nearest_name


class Settings(BaseModel):
    """Base class of settings: immutable, without unknown keys, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Build settings from plain values, e.g. from a file or a command line.

        Args:
            values: The values by key.
            where: The file and key with the values, for messages.

        Raises:
            ConfigurationError: If a key is unknown (with the nearest known key and the choices), missing,
                or holds a value that is not allowed.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigurationError("\n".join(_describe(cls, item, where) for item in error.errors())) from None


class Length(BaseModel):
    """The length of a training phase, in optimiser steps or epochs.

    Written as ``"75 steps"`` or ``"5 epochs"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=0)
    unit: Literal["steps", "epochs"]

    def steps(self, *, samples: int, batch_size: int) -> int:
        """Return the length in optimiser steps, with a smaller last batch per epoch."""
        return self.count * -(-samples // batch_size) if self.unit == "epochs" else self.count

    def __str__(self) -> str:
        """Return the length as written in files."""
        return f"{self.count} {self.unit}"


def _read_length(value: object) -> object:
    if isinstance(value, Length | Mapping):
        return value
    match = re.fullmatch(r"\s*(\d+)\s*(step|epoch)s?\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a length is written as '75 steps' or '5 epochs', not {value!r}")
    return {"count": int(match[1]), "unit": f"{match[2]}s"}


PhaseLength = Annotated[Length, BeforeValidator(_read_length), PlainSerializer(str, return_type=str)]
"""A ``Length`` that is read from, and written as, ``"75 steps"`` or ``"5 epochs"``."""


def _describe(model: type[BaseModel], error: ErrorDetails, where: str) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        keys = _known_keys(model, error["loc"][:-1])
        near = nearest_name(str(error["loc"][-1]), keys)
        hint = f" Did you mean {near!r}?" if near else ""
        return f"{where}: unknown key {path!r}.{hint} Known: {', '.join(sorted(keys)) or 'none'}."
    if error["type"] == "missing":
        return f"{where}: the key {path!r} is missing."
    given = f" (given: {error['input']!r})" if error["type"] != "value_error" else ""
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {path or 'value'}: {message}{given}."


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the settings model that ``path`` leads to from ``model``."""
    current = model
    for part in path:
        field = current.model_fields.get(str(part))
        nested = _nested_model(field.annotation) if field is not None else None
        if nested is not None:
            current = nested
    return list(current.model_fields)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        model = _nested_model(argument)
        if model is not None:
            return model
    return None
