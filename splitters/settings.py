"""Typed settings: frozen, complete, and strict about unknown keys."""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails
from typing_extensions import Self

from splitters.errors import ConfigurationError, nearest_name


class Origin(Protocol):
    """The file that values come from."""

    def where(self, *path: str | int) -> str:
        """Return the file and the line of an entry."""
        ...

    def spelling(self, *path: str | int) -> str | None:
        """Return how the file spells a number, boolean or null, if it is known."""
        ...


def normalise_class_name(name: str) -> str:
    """Return a class's name in Unicode's composed form (NFC), so that "é" is the same class however it is written."""
    return unicodedata.normalize("NFC", name)


Precision: TypeAlias = Literal["float32", "tf32", "bf16"]
"""The precision in which networks compute."""

ClassName = Annotated[str, AfterValidator(normalise_class_name)]
"""A field that holds a class's name."""


def _may_hold_sets(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    is_set = isinstance(kind, type) and issubclass(kind, AbstractSet)
    return is_set or any(map(_may_hold_sets, get_args(annotation)))


class Settings(BaseModel):
    """The base of every settings model: immutable, no unknown keys, no NaN, no infinity, no boolean for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    explained_in: ClassVar[str] = "docs/suites.md"
    """The page that explains the keys to people, for messages."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse sets, which each process would write in another order: a cell would have another id in each.

        Raises:
            ConfigurationError: If a field may hold a set.
        """
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if _may_hold_sets(field.annotation):
                raise ConfigurationError(
                    f"the setting {name!r} of {cls.__name__} is a set, which has another order in each process; take a "
                    "tuple, and sort it where the order means nothing."
                )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_boolean_for_number(cls, value: object, info: ValidationInfo) -> object:
        if info.field_name is not None:
            _check_booleans(value, cls.model_fields[info.field_name].annotation)
        return value

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """Return what the docstrings of the class and its bases say about each setting."""
        texts: dict[str, str] = {}
        for model in reversed(cls.__mro__):
            if not issubclass(model, Settings):
                continue
            _, _, arguments = (inspect.getdoc(model) or "").partition("Args:\n")
            name = ""
            for line in arguments.splitlines():
                head, colon, rest = line.strip().partition(":")
                if line.startswith("    ") and not line.startswith("     ") and colon and head.isidentifier():
                    name, texts[head] = head, rest.strip()
                elif name and line.strip():
                    texts[name] = f"{texts[name]} {line.strip()}"
        own = {name: field.description for name, field in cls.model_fields.items() if field.description}
        return {name: text for name, text in {**texts, **own}.items() if name in cls.model_fields}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON schema, with the docstrings' texts on the class and its settings."""
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        if "properties" in schema:
            schema["description"] = (inspect.getdoc(cls) or "").partition("\n")[0]
            texts, defaults = cls.descriptions(), cls.model_construct().model_dump(mode="json", warnings=False)
            for name, field in schema["properties"].items():
                if name in texts:
                    field["description"] = texts[name]
                if "default" in field:
                    field["default"] = defaults.get(name, field["default"])
        return reference

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], *, where: str, origin: Origin | None = None, at: tuple[str | int, ...] = ()
    ) -> Self:
        """Build settings from plain values, as a file or a command line gives them.

        Args:
            values: The values by key.
            where: The file and key that hold the values, for the messages; the key alone if there is an ``origin``.
            origin: Knows the line of each value.
            at: The path of ``values`` in the origin.

        Raises:
            ConfigurationError: If a key is unknown (with the nearest known key and the choices), missing,
                or holds a value that is not allowed.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = []
            for item in error.errors():
                path = (*at, *item["loc"])
                prefix = where if origin is None else ": ".join(filter(None, (origin.where(*path), where)))
                spelling = None if origin is None else origin.spelling(*path)
                lines.append(_describe(cls, item, prefix, spelling))
            raise ConfigurationError("\n".join(lines)) from None


class PresetSettings(Settings):
    """Settings with presets: ``preset`` names values that replace the defaults, and given values override both.

    Args:
        preset: A name in ``presets``.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]]

    preset: str | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON schema, with the names of the presets."""
        reference = super().__get_pydantic_json_schema__(core_schema, handler)
        schema = handler.resolve_ref_schema(reference)
        if "preset" in schema.get("properties", {}):
            schema["properties"]["preset"] = {
                "anyOf": [{"enum": sorted(cls.presets)}, {"type": "null"}],
                "default": None,
                "description": "Name of a set of values that replace the defaults; given values override them",
            }
        return reference

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: object) -> object:
        if not isinstance(values, Mapping) or not isinstance(values.get("preset"), str):
            return values
        name = values["preset"]
        if name not in cls.presets:
            near = nearest_name(name, cls.presets)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ValueError(f"unknown preset {name!r}.{hint} Known: {', '.join(sorted(cls.presets))}")
        return {**cls.presets[name], **values}


_LISTS = (list, tuple, Sequence)


def _check_booleans(value: object, annotation: Any) -> None:
    """Check that ``value`` has no boolean where ``annotation`` wants numbers, which pydantic would take for 0 or 1.

    Raises:
        ValueError: If it has one.
    """
    if not isinstance(value, bool | list | tuple | dict):
        return
    types = _alternatives(annotation)
    if isinstance(value, bool):
        # A single item may stand for a list of them.
        items = {kind for each in types if get_origin(each) in _LISTS for kind in _alternatives(*get_args(each))}
        if not {bool, Any} & (types | items) and {int, float} & (types | items):
            raise ValueError(f"expected a number, not {str(value).lower()}")
    elif isinstance(value, list | tuple):
        inner = [get_args(each) for each in types if get_origin(each) in _LISTS]
        for arguments in inner:
            for index, item in enumerate(value):
                fits = index < len(arguments) and Ellipsis not in arguments
                _check_booleans(item, arguments[index if fits else 0])
    else:
        for arguments in (get_args(each) for each in types if get_origin(each) in (dict, Mapping)):
            for item in value.values():
                _check_booleans(item, arguments[-1])


def _alternatives(*annotations: Any) -> set[Any]:
    """Return the types that annotations allow, those inside unions and ``Annotated`` included."""
    found: set[Any] = set()
    for annotation in annotations:
        if get_origin(annotation) in (Union, UnionType):
            found |= _alternatives(*get_args(annotation))
        elif get_origin(annotation) is Annotated:
            found |= _alternatives(get_args(annotation)[0])
        else:
            found.add(annotation)
    return found


class Length(Settings):
    """How long a phase of training lasts, in optimiser steps or in epochs.

    Written as ``"75 steps"`` or ``"5 epochs"``.
    """

    count: int = Field(ge=0)
    unit: Literal["steps", "epochs"]

    def steps(self, *, samples: int, batch_size: int) -> int:
        """Return the length in optimiser steps; the last batch of an epoch may be smaller."""
        return self.count * -(-samples // batch_size) if self.unit == "epochs" else self.count

    def __str__(self) -> str:
        """Return the form in which the length is written in files."""
        return f"{self.count} {self.unit}"


def _read_length(value: object) -> object:
    if isinstance(value, Length | Mapping):
        return value
    match = re.fullmatch(r"\s*(\d+)\s*(step|epoch)s?\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a length is written as '75 steps' or '5 epochs', not {value!r}")
    return {"count": int(match[1]), "unit": f"{match[2]}s"}


_LengthText = Annotated[str, Field(pattern=r"^\s*\d+\s*(step|epoch)s?\s*$", examples=["75 steps", "5 epochs"])]

PhaseLength = Annotated[
    Length, BeforeValidator(_read_length, json_schema_input_type=_LengthText), PlainSerializer(str, return_type=str)
]
"""A ``Length`` that is read from, and written as, ``"75 steps"`` or ``"5 epochs"``."""


_IN_WORDS_OF_FILES = {
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a mapping, KEY: VALUE",
    "mapping_type": "expected a mapping, KEY: VALUE",
    "model_type": "expected a mapping, KEY: VALUE",
    "int_parsing_size": "expected an integer of 64 bits",
    "too_short": "expected a list of {min_length} or more",
}
"""What is said instead of pydantic's words, which are Python's."""


def _describe(model: type[Settings], error: ErrorDetails, where: str, spelling: str | None = None) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        keys = _known_keys(model, error["loc"][:-1])
        near = nearest_name(str(error["loc"][-1]), keys)
        hint = f" Did you mean {near!r}?" if near else ""
        known = ", ".join(sorted(keys)) or "none"
        return f"{where}: unknown key {path!r}.{hint} Known: {known}. See {model.explained_in}."
    if error["type"] == "missing":
        *above, last = error["loc"]
        if isinstance(last, int):
            return f"{where}: {'.'.join(map(str, above))}: too short: item {last + 1} is missing."
        return f"{where}: the key {path!r} is missing."
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float | None):
        return f"{where}: {path}: expected text; quote it: {_quoted(error['input'], spelling)}."
    given = "nothing" if error["input"] is None else repr(error["input"])
    given = f" (given: {given})" if error["type"] != "value_error" else ""
    template = _IN_WORDS_OF_FILES.get(error["type"])
    message = template.format(**error.get("ctx", {})) if template else error["msg"].removeprefix("Value error, ")
    return f"{where}: {path or 'value'}: {message}{given}."


def _quoted(value: bool | int | float | None, spelling: str | None) -> str:
    plain = {True: "true", False: "false", None: ""}
    text = (
        spelling if spelling is not None else plain[value] if value is None or isinstance(value, bool) else str(value)
    )
    return f"'{text}'"


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
        found = _nested_model(argument)
        if found is not None:
            return found
    return None
