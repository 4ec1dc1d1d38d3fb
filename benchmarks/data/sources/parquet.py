"""Images in Parquet files, laid out as Hugging Face's."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.data.sources.folder import find_folder
from benchmarks.data.sources.source import Contents, Listing, Location, Part, Source, hash_files, list_files
from splitters.errors import DataError

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "fine_label")
_ROWS_AT_ONCE = 1024


class ParquetSource(Source):
    """Files ``train*.parquet`` and ``test*.parquet`` in a folder, or in its sub-folder ``data``.

    The column ``image`` or ``img`` holds image files' bytes, plain or in a struct; ``label`` or ``fine_label`` holds
    class indices. Class names come from the schema's ``huggingface`` metadata; without it classes are numbered.
    Messages count rows from 0 in each file.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def open(cls, folder: str, location: Location) -> ParquetSource:
        """Returns the source that ``parquet:FOLDER`` means."""
        return cls(find_folder(folder, location, kind="parquet"))

    def fingerprint(self) -> str:
        """Returns a hash of all files."""
        return hash_files(self._named_files())

    def listing(self) -> Listing:
        """Returns all files."""
        return list_files(self._named_files())

    def read(self) -> Contents:
        """Reads schemas and labels.

        Raises:
            DataError: If a file is damaged, a column is missing or of another type, a label is null, or files differ
                in their class names.
        """
        tables = {part: [_ImageTable.open(path) for path in self._files(part)] for part in ("train", "test")}
        parts = {part: _part(part, opened) for part, opened in tables.items()}
        names = _common_class_names(tables["train"] + tables["test"])
        if names is None:
            names = _numbered_classes(parts["train"])
        return Contents(names, parts["train"], parts["test"], str(self._root))

    def _named_files(self) -> Iterator[tuple[str, Path]]:
        for path in self._files("train") + self._files("test"):
            yield path.relative_to(self._root).as_posix(), path

    def _files(self, part: str) -> list[Path]:
        pattern = f"{part}*.parquet"
        for folder in (self._root, self._root / "data"):
            files = sorted(folder.glob(pattern))
            if files:
                return files
        raise DataError(f"there is no {pattern} in {self._root}, nor in its sub-folder data.")


@dataclass(frozen=True)
class _ImageTable:
    """One file: where its columns are, its labels, and the class names that its schema gives."""

    path: Path
    image_column: str
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None

    @classmethod
    def open(cls, path: Path) -> _ImageTable:
        with _damage_explained(path), pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            image_column = _find_column(schema, _IMAGE_COLUMNS, path)
            label_column = _find_column(schema, _LABEL_COLUMNS, path)
            _check_type(path, schema.field(image_column), _is_image, "bytes, or a struct with a field 'bytes'")
            _check_type(path, schema.field(label_column), pa.types.is_integer, "integers")
            labels = file.read(columns=[label_column]).column(0).combine_chunks()
        if labels.null_count:
            row = pc.index(pc.is_null(labels), value=True).as_py()
            raise DataError(f"{path}, row {row}: the column {label_column!r} is null; every image needs a label.")
        names = _class_names(schema, label_column, path)
        return cls(path, image_column, labels.to_numpy(zero_copy_only=False).astype(np.int64), names)

    def images(self) -> Iterator[bytes]:
        """Yields the images' bytes."""
        row = 0
        with _damage_explained(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[self.image_column]):
                column = batch.column(0)
                data = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
                for image in data.to_pylist():
                    if image is None:
                        raise DataError(
                            f"{self.path}, row {row}: the column {self.image_column!r} holds no bytes; "
                            "every row needs its image in the file itself."
                        )
                    yield image
                    row += 1


def _part(name: str, tables: list[_ImageTable]) -> Part:
    ends = list(accumulate(len(table.labels) for table in tables))

    def images() -> Iterator[bytes]:
        for table in tables:
            yield from table.images()

    def locate(position: int) -> str:
        index = bisect_right(ends, position)
        return f"{tables[index].path}, row {position - ends[index] + len(tables[index].labels)}"

    return Part(name, np.concatenate([table.labels for table in tables]), images, locate)


def _numbered_classes(train: Part) -> tuple[str, ...]:
    """Returns a name for each class up to the highest label.

    Raises:
        DataError: If there are fewer images than that: some class would have none, and a damaged label millions.
    """
    if not len(train.labels):
        return ()
    row, highest = int(train.labels.argmax()), int(train.labels.max())
    if highest >= len(train.labels):
        raise DataError(
            f"{train.locate(row)}: the label {highest} cannot be a class of {len(train.labels)} images; without class "
            "names in the schema's 'huggingface' metadata, classes are numbered from 0 and each needs an image."
        )
    return tuple(str(label) for label in range(highest + 1))


def _find_column(schema: pa.Schema, choices: tuple[str, ...], path: Path) -> str:
    for name in choices:
        if name in schema.names:
            return name
    wanted = " or ".join(repr(name) for name in choices)
    raise DataError(f"{path}: there is no column {wanted}; it has {', '.join(schema.names) or 'none'}.")


def _check_type(path: Path, field: pa.Field, is_allowed: Callable[[pa.DataType], bool], allowed: str) -> None:
    if not is_allowed(field.type):
        raise DataError(f"{path}: the column {field.name!r} holds {field.type}; it must hold {allowed}.")


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_image(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(schema: pa.Schema, label_column: str, path: Path) -> tuple[str, ...] | None:
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        names = json.loads(text)["info"]["features"][label_column].get("names")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: the schema's 'huggingface' metadata does not describe the column {label_column!r} ({error!r})."
        ) from error
    return None if names is None else tuple(str(name) for name in names)


def _common_class_names(tables: list[_ImageTable]) -> tuple[str, ...] | None:
    first = tables[0]
    for table in tables[1:]:
        if table.class_names != first.class_names:
            raise DataError(
                f"{table.path} has the class names {table.class_names}, but {first.path} has {first.class_names}."
            )
    return first.class_names


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: it is no readable Parquet file ({error}).") from error
