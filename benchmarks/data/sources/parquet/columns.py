"""Which columns of a Parquet file hold the images and their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.data.sources.named_folder import NamedFolder
from benchmarks.data.sources.parquet.labels import is_label_type
from splitters.errors import DataError


@dataclass(frozen=True)
class Column:
    """A column, or a field of a column of structs.

    Args:
        path: The column's name, and those of the fields within it.
    """

    path: tuple[str, ...]

    def __str__(self) -> str:
        """Return the path as the option ``label`` takes it."""
        return ".".join(self.path)

    def read(self, file: pq.ParquetFile) -> pa.Array:
        """Return the values."""
        column = file.read(columns=[self.path[0]]).column(self.path[0]).combine_chunks()
        for field in self.path[1:]:
            column = pc.struct_field(column, field)
        return column


@dataclass(frozen=True)
class ColumnFinder:
    """Finds the columns of one file; every ambiguity is an error that names the option to settle it.

    Args:
        schema: The file's schema.
        features: What Hugging Face's metadata say of each column; empty without metadata.
        file: The file, for messages.
        name: The data set's name, whose options ``image`` and ``label`` name columns.
    """

    schema: pa.Schema
    features: Mapping[str, Any]
    file: Path
    name: NamedFolder

    def image(self) -> str:
        """Return the column of the images: the named one, else one with a usual name, else the only one of images.

        Raises:
            DataError: If there is none, there are several, or its type does not fit.
        """
        chosen = self.name.options.get("image")
        if chosen is not None and chosen not in self.schema.names:
            raise self._absent(repr(chosen), _IMAGES)
        column = (
            chosen
            or self._usual(_IMAGES, self.schema)
            or self._only(_IMAGES, [field.name for field in self.schema if _is_image(field.type)])
        )
        if column is None:
            raise self._absent("'image' or 'img'", _IMAGES)
        kind = self.schema.field(column).type
        if not _is_image(kind):
            raise DataError(
                f"{self.file}: the column {column!r} holds {kind}; it must hold bytes, or a struct with a field "
                f"'bytes'. {self._advice(_IMAGES)}"
            )
        return column

    def label(self, *, image_column: str) -> Column:
        """Return the column of the labels.

        That is the named one, else one with a usual name, else the only class label of the metadata, else the only
        struct that has a field with a usual name, else the only column besides the images.

        Raises:
            DataError: If there is none, or there are several.
        """
        chosen = self.name.options.get("label")
        if chosen is not None:
            return self._named_label(chosen)
        others = [field for field in self.schema if field.name != image_column]
        column = (
            self._usual(_LABELS, others)
            or self._only(_LABELS, [field.name for field in others if _is_class_label(self.features.get(field.name))])
            or self._only(
                _LABELS,
                [field.name for field in others if pa.types.is_struct(field.type) and self._usual(_LABELS, field.type)],
            )
        )
        if column is None and len(others) == 1 and _can_hold_labels(others[0].type):
            column = others[0].name
        if column is None:
            raise self._absent("'label' or 'fine_label'", _LABELS)
        return self._within(Column((column,)), self.schema.field(column).type)

    def _named_label(self, chosen: str) -> Column:
        top, *fields = [chosen] if chosen in self.schema.names else chosen.split(".")
        if top not in self.schema.names:
            raise self._absent(repr(chosen), _LABELS)
        kind = self.schema.field(top).type
        for field in fields:
            if not pa.types.is_struct(kind) or kind.get_field_index(field) < 0:
                raise DataError(
                    f"{self.file}: there is no field {chosen!r}; {top!r} holds {self.schema.field(top).type}."
                )
            kind = kind.field(field).type
        return self._within(Column((top, *fields)), kind)

    def _within(self, column: Column, kind: pa.DataType) -> Column:
        """Return the field of a struct that holds the label; a column of another type as it is."""
        if not pa.types.is_struct(kind):
            return column
        field = self._usual(_LABELS, kind) or self._only(
            _LABELS, [field.name for field in kind if _can_hold_labels(field.type)]
        )
        if field is None:
            raise DataError(f"{self.file}: no field of {str(column)!r} can be the label. {self._advice(_LABELS)}")
        return self._within(Column((*column.path, field)), kind.field(field).type)

    def _usual(self, role: _Role, fields: Iterable[pa.Field]) -> str | None:
        """Return the field with a usual name, if there is one."""
        fields = list(fields)
        for name in role.first_names:
            matching = [field.name for field in fields if field.name.lower() == name]
            if matching:
                return self._only(role, matching)
        return self._only(
            role, [field.name for field in fields if field.name.lower() in role.other_names and role.fits(field.type)]
        )

    def _only(self, role: _Role, names: Sequence[str]) -> str | None:
        if len(names) > 1:
            raise DataError(
                f"{self.file}: the {role.content} may be in {' or '.join(names)}; name the column, "
                f"e.g. {self.name.hint(role.option, names[0])}."
            )
        return names[0] if names else None

    def _absent(self, column: str, role: _Role) -> DataError:
        columns = ", ".join(self.schema.names) or "none"
        return DataError(f"{self.file}: there is no column {column}; it has {columns}. {self._advice(role)}")

    def _advice(self, role: _Role) -> str:
        return f"A column is named as in {self.name.hint(role.option, 'COLUMN')}."


def image_bytes(column: pa.Array) -> list[bytes | None]:
    """Return the bytes of the images in a column."""
    data = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    found: list[bytes | None] = data.to_pylist()
    return found


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_image(kind.field(index).type)
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _can_hold_labels(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return not _is_image(kind) and any(_can_hold_labels(field.type) for field in kind)
    return is_label_type(kind)


def _is_class_label(feature: object) -> bool:
    return isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel"


@dataclass(frozen=True)
class _Role:
    """What a column is for.

    Args:
        content: What it holds, for messages.
        option: The option that names it.
        first_names: Its usual names, in lower case; the first one that there is counts.
        other_names: Further names, which count if one of them alone is there and has a fitting type.
        fits: Whether a type fits.
    """

    content: str
    option: str
    first_names: tuple[str, ...]
    other_names: frozenset[str]
    fits: Callable[[pa.DataType], bool]


_IMAGES = _Role(
    "images",
    "image",
    ("image", "img"),
    frozenset({"images", "jpg", "jpeg", "png", "webp", "picture", "photo"}),
    _is_image,
)
_LABELS = _Role(
    "labels",
    "label",
    ("label", "fine_label"),
    frozenset({"labels", "cls", "class", "class_id", "class_label", "category", "target", "y"}),
    _can_hold_labels,
)
