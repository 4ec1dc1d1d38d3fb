"""The cached splits behind a row: finding and removing them without the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cache.tensor_file import read_facts
from benchmarks.cells import Cell, SplitterSpec
from benchmarks.rows.row import Row

SPLITS = "splits"
"""The sub-folder of the cache that holds splits."""


def cached_splits(cache: Path, row: Row) -> Iterator[Path]:
    """Yield the files of a cache that hold the splits of a row's cell.

    A split is recognised by its splitter, base model, seed and threads. Splits of other selections of the same images
    are among them; removing one too many only costs time.

    Args:
        cache: The cache folder.
        row: The row.
    """
    cell = Cell.model_validate_json(row.config)
    for path in sorted((cache / SPLITS).glob("*.safetensors")):
        facts = read_facts(path)
        key = facts.get("key") if facts else None
        if isinstance(key, Mapping) and _is_of(key, cell, row.base_model_hash):
            yield path


def _is_of(key: Mapping[str, Any], cell: Cell, base_model_hash: str | None) -> bool:
    """Return whether a key is that of a cell's split; the hash is None where the cell has several base models."""
    if (key.get("seed"), key.get("threads")) != (cell.seed, cell.threads):
        return False
    if base_model_hash is not None and key.get("base_model") != base_model_hash:
        return False
    splitter, given = SplitterSpec.model_validate(key.get("splitter")), cell.splitter
    if (splitter.name, splitter.version, splitter.code) != (given.name, given.version, given.code):
        return False
    # Keys hold every setting, rows of earlier versions perhaps fewer.
    return all(splitter.settings.get(name) == value for name, value in given.settings.items())
