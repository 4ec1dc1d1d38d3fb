"""Images in Parquet files, laid out as Hugging Face's."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.data.sources.named_folder import NamedFolder
from benchmarks.data.sources.parquet.columns import Column, ColumnFinder, image_bytes
from benchmarks.data.sources.parquet.labels import Labels, classes_of, read_labels
from benchmarks.data.sources.source import Contents, Listing, Location, Part, Source, hash_files, list_files
from benchmarks.data.sources.splits import PARTS, Shard, check_shards, choose_split, is_split_name
from splitters.data.stand_ins import describe_stand_in, read_start
from splitters.errors import DataError
from splitters.settings import normalise_class_name

_ROWS_AT_ONCE = 1024


class ParquetSource(Source):
    """Parquet files of the splits ``train`` and ``test`` in a folder, in its sub-folder ``data``, or in one per split.

    The column of images holds image files' bytes, plain or in a struct; the column of labels holds integers, whole
    floats or strings, plain or in a struct. Class names come from the schema's ``huggingface`` metadata; without it,
    classes are the labels of the training images, sorted. Messages count rows from 0 in each file.

    Args:
        root: The folder.
        name: The data set's name, whose options name columns and splits.
    """

    def __init__(self, root: Path, name: NamedFolder) -> None:
        self._root = root
        self._name = name

    @classmethod
    def open(cls, text: str, location: Location) -> ParquetSource:
        """Return the source that ``parquet:`` and ``text`` name."""
        name = NamedFolder.parse("parquet", text)
        return cls(name.find(location), name)

    def fingerprint(self) -> str:
        """Return a hash of all files, and of the options in the name."""
        options = "".join(f":{key}={value}" for key, value in sorted(self._name.options.items()))
        return f"{hash_files(self._named_files())}{options}"

    def listing(self) -> Listing:
        """Return all files."""
        return list_files(self._named_files())

    def stored_in(self) -> Path:
        """Return the folder that the name names."""
        return self._root

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence on the Parquet files of other splits, if there are some."""
        splits = self._splits()
        read = {shard.path for part in PARTS for shard in self._shards(part)}
        others = sorted(shard.path.name for shards in splits.values() for shard in shards if shard.path not in read)
        if not others:
            return ()
        files = f"{len(others)} Parquet file{'s are' if len(others) != 1 else ' is'}"
        return (f"{self._name}: {files} not read, being of other splits, e.g. {others[0]}.",)

    def read(self) -> Contents:
        """Read schemas and labels.

        Raises:
            DataError: If a file is damaged, a column is missing or of another type, a label is null, or files differ
                in their class names.
        """
        splits = {part: _Split.open(part, self._shards(part), self._name) for part in PARTS}
        train, test = splits["train"], splits["test"]
        tables = [*train.tables, *test.tables]
        _check_alike(tables)
        classes = classes_of(train.labels, test.labels, names=tables[0].class_names)
        for split in (train, test) if len(train.labels) else ():
            classes.check_known(split.labels, locate=split.locate)
        train_part, test_part = (split.part(classes.indices(split.labels)) for split in (train, test))
        return Contents(classes.names, train_part, test_part, str(self._root))

    def _named_files(self) -> Iterator[tuple[str, Path]]:
        for part in PARTS:
            for shard in self._shards(part):
                yield shard.path.relative_to(self._root).as_posix(), shard.path

    def _shards(self, part: str) -> list[Shard]:
        splits = self._splits()
        split = choose_split(part, splits, self._name, self._root)
        if split is None:
            raise DataError(
                f"there is no {part}*.parquet in {self._root}, nor in its sub-folder data.{self._advice(part)}"
            )
        check_shards(split, splits[split])
        return splits[split]

    def _splits(self) -> dict[str, list[Shard]]:
        """Return the files of each split, by the beginning of their names, or by the name of their folder."""
        splits: dict[str, list[Shard]] = {}
        for folder in (self._root, self._root / "data"):
            for path in _parquet_files(folder, "*"):
                shard = Shard.of(path)
                splits.setdefault(shard.stem, []).append(shard)
            for path in _parquet_files(folder, "[!.]*/*"):
                split = path.parent.name
                if is_split_name(split) or split in self._name.options.values():
                    splits.setdefault(split, []).append(Shard.of(path))
        return splits

    def _advice(self, part: str) -> str:
        """Return what else may be meant: another split, or a sub-folder."""
        if splits := sorted(self._splits()):
            return f" There is {', '.join(splits)}; a split is named as in {self._name.hint(part, 'SPLIT')}."
        files = [path for depth in (1, 2) for path in _parquet_files(self._root, "[!.]*/" * depth + "*")]
        folders = {path.parent.parent if is_split_name(path.parent.name) else path.parent for path in files}
        names = sorted(folder.relative_to(self._root).as_posix() for folder in folders)
        if names:
            return f" There are Parquet files in {', '.join(names)}; e.g. {self._name.beneath(names[0])} names one."
        return ""


def _parquet_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() == ".parquet" and not path.name.startswith(".") and not path.is_dir()
    )


@dataclass(frozen=True)
class _ImageTable:
    """One file: its columns, its labels, and the class names in its schema."""

    path: Path
    image_column: str
    labels: Labels
    class_names: tuple[str, ...] | None

    @classmethod
    def open(cls, path: Path, name: NamedFolder) -> _ImageTable:
        with _damage_explained(path), pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            features = _features(schema, path)
            columns = ColumnFinder(schema, features or {}, path, name)
            image_column = columns.image()
            label_column = columns.label(image_column=image_column)
            labels = read_labels(label_column.read(file), name=str(label_column), file=path)
        return cls(path, image_column, labels, _class_names(features, label_column, path))

    def images(self) -> Iterator[bytes]:
        """Yield the images' bytes."""
        row = 0
        with _damage_explained(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[self.image_column]):
                for image in image_bytes(batch.column(0)):
                    if image is None:
                        raise DataError(
                            f"{self.path}, row {row}: the column {self.image_column!r} holds no bytes; "
                            "every row needs its image in the file itself."
                        )
                    yield image
                    row += 1


@dataclass(frozen=True)
class _Split:
    """The files of the official train or test images, in order."""

    name: str
    tables: list[_ImageTable]
    labels: Labels

    @classmethod
    def open(cls, part: str, shards: Sequence[Shard], name: NamedFolder) -> _Split:
        tables = [_ImageTable.open(shard.path, name) for shard in shards]
        _check_alike(tables)
        return cls(part, tables, np.concatenate([table.labels for table in tables]))

    def part(self, indices: NDArray[np.int64]) -> Part:
        return Part(self.name, indices, self.images, self.locate)

    def images(self) -> Iterator[bytes]:
        for table in self.tables:
            yield from table.images()

    def locate(self, position: int) -> str:
        ends = list(accumulate(len(table.labels) for table in self.tables))
        index = bisect_right(ends, position)
        return f"{self.tables[index].path}, row {position - ends[index] + len(self.tables[index].labels)}"


def _check_alike(tables: Sequence[_ImageTable]) -> None:
    first = tables[0]
    for table in tables[1:]:
        names = (table.class_names, first.class_names)
        if names[0] != names[1]:
            has, other = ("no class names" if each is None else f"the class names {each}" for each in names)
            raise DataError(f"{table.path} has {has}, but {first.path} has {other}.")
    # No label has a type of its own: a shard without rows fits all.
    filled = [table for table in tables if len(table.labels)]
    for table in filled[1:]:
        first = filled[0]
        kinds = ["strings" if each.labels.dtype.kind == "U" else "integers" for each in (table, first)]
        if kinds[0] != kinds[1]:
            raise DataError(f"{table.path}: the labels are {kinds[0]}, but those of {first.path} are {kinds[1]}.")


def _features(schema: pa.Schema, path: Path) -> Mapping[str, Any] | None:
    """Return what Hugging Face's metadata say of the columns; None without metadata."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        features = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: the schema's 'huggingface' metadata is damaged ({error!r}).") from error
    if not isinstance(features, dict):
        raise DataError(f"{path}: the schema's 'huggingface' metadata is damaged (no features by column).")
    return features


def _class_names(features: Mapping[str, Any] | None, label_column: Column, path: Path) -> tuple[str, ...] | None:
    if features is None:
        return None
    feature: Any = features
    try:
        for field in label_column.path:
            feature = feature[field]
        names = feature.get("names")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: the schema's 'huggingface' metadata does not describe the column {str(label_column)!r} "
            f"({error!r})."
        ) from error
    if names is None:
        return None
    if not isinstance(names, list) or not all(str(name).strip() for name in names):
        raise DataError(
            f"{path}: the schema's 'huggingface' metadata names the classes of {str(label_column)!r} as {names!r}; it "
            "must be a list of names, one per label, none of them empty."
        )
    return tuple(normalise_class_name(str(name)) for name in names)


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        stand_in = describe_stand_in(read_start(path), expected="a Parquet file")
        raise DataError(f"{path}: it is {stand_in or f'no readable Parquet file ({error})'}.") from error
