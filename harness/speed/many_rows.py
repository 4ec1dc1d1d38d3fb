"""A large study's rows, cloned from real ones: what the driver's benchmarks read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.rows.parquet_schema import READ_SCHEMA
from harness.store.result_store import ResultStore
from harness.store.row_files import decode_rows, encode_merged, encode_table, merged_path, row_path
from harness.suite_cell import SuiteCell

ROWS_PER_SEED = 440

_ALPHAS = [round(0.1 * step, 1) for step in range(1, 10)]
_GAMMAS = [round(0.90 + 0.01 * step, 2) for step in range(7)]
_PATCHED = 2
"""Configurations of each method whose modules patch weak models."""

_IMAGES = 360
"""Accuracies are multiples of one image's share, as on the test images of digits."""

_MAX_MERGED = 10_000
"""Rows per merged file, as ``splitbench compact`` leaves them."""


def large_suites(n_seeds: int, *, n_widths: int = 10) -> list[dict[str, Any]]:
    """Return two suites, as their files would hold them, with ``ROWS_PER_SEED`` cells per seed.

    One splits base models with 20 splitters and settings, the other patches half of them with modules of four.

    Args:
        n_seeds: Number of seeds.
        n_widths: Number of widths of each of the two networks.
    """
    widths = [round(0.05 * step, 2) for step in range(1, n_widths + 1)]
    gradsplitters = [
        {"name": "gradsplitter", "label": f"gradsplitter {alpha:.1f}", "settings": {"alpha": alpha}}
        for alpha in _ALPHAS
    ]
    cnnsplitters = [
        {"name": "cnnsplitter", "label": f"cnnsplitter {gamma:.2f}", "settings": {"gamma": gamma}} for gamma in _GAMMAS
    ]
    baselines = [{"name": name} for name in ("full", "random", "importance", "taylor")]
    models = [{"name": name, "settings": {"width": width}} for name in ("simcnn", "rescnn") for width in widths]
    shared = {"seeds": n_seeds, "datasets": ["digits"]}
    splitting = {"name": "large", "models": models, "splitters": [*baselines, *gradsplitters, *cnnsplitters]}
    patching = {
        "name": "large-patching",
        "scenario": "patching",
        "models": models[:n_widths],
        "splitters": [*gradsplitters[:_PATCHED], *cnnsplitters[:_PATCHED]],
    }
    return [{**shared, **values} for values in (splitting, patching)]


def cloned_rows(cells: Sequence[SuiteCell]) -> pa.Table:
    """Return a row per cell: a real row of the same scenario, splitter and network, with accuracies of its own."""
    templates = decode_rows(resources.files("harness.speed").joinpath("rows.parquet").read_bytes(), path="rows.parquet")
    known: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    names = ("scenario", "splitter", "model")
    for index, key in enumerate(zip(*(templates.column(name).to_pylist() for name in names), strict=True)):
        known[key].append(index)
    chosen = [known[item.kind[:3]][item.cell.seed % len(known[item.kind[:3]])] for item in cells]
    rows = templates.take(pa.array(chosen, pa.int64())).combine_chunks()
    return _with_columns(rows, {**_identities(cells), **_measurements(rows, np.random.default_rng(0))})


def _identities(cells: Sequence[SuiteCell]) -> dict[str, pa.Array]:
    return {
        "cell_id": pa.array([item.cell.cell_id for item in cells]),
        "attempt_id": pa.array([f"{number:012x}" for number in range(len(cells))]),
        "suite": pa.array(["large"] * len(cells)),
        "splitter_label": pa.array([item.label for item in cells], pa.string()),
        "seed": pa.array([item.cell.seed for item in cells], pa.int64()),
        "config": pa.array([item.cell.model_dump_json() for item in cells]),
    }


def _measurements(rows: pa.Table, generator: np.random.Generator) -> dict[str, pa.Array]:
    """Return measures that differ from seed to seed; nulls stay."""
    found: dict[str, pa.Array] = {}
    for prefix in ("", "select_"):
        base = rows.column(f"{prefix}base_accuracy").to_numpy()
        loss = rows.column(f"{prefix}accuracy_loss").to_numpy()
        base = np.minimum(1.0, base + generator.integers(-9, 10, len(base)) / _IMAGES)
        loss = np.minimum(base, loss + generator.integers(-9, 10, len(base)) / _IMAGES)
        values = {"base_accuracy": base, "composed_accuracy": np.minimum(1.0, base - loss)}
        values["accuracy_loss"] = values["base_accuracy"] - values["composed_accuracy"]
        found |= {f"{prefix}{name}": pa.array(of_rows, from_pandas=True) for name, of_rows in values.items()}
    retention = rows.column("kernel_retention").to_numpy() * generator.uniform(0.9, 1.0, len(rows))
    seconds = rows.column("seconds").to_numpy() * generator.uniform(0.8, 1.2, len(rows))
    return {**found, "kernel_retention": pa.array(retention, from_pandas=True), "seconds": pa.array(seconds)}


def _with_columns(rows: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    arrays = [columns.get(name, rows.column(name)) for name in READ_SCHEMA.names]
    return pa.Table.from_arrays(arrays, names=READ_SCHEMA.names).cast(READ_SCHEMA)


def write_merged(store: ResultStore, rows: pa.Table) -> None:
    """Write rows into a store as ``splitbench compact`` leaves them."""
    for folder, part in _by_partition(rows):
        for start in range(0, part.num_rows, _MAX_MERGED):
            store.storage.put(merged_path(folder), encode_merged(part.slice(start, _MAX_MERGED)), durable=False)


def write_attempts(store: ResultStore, rows: pa.Table) -> None:
    """Write rows into a store as a run leaves them, a file per attempt, without waiting for the disk each time."""
    names = ("scenario", "dataset", "cell_id", "attempt_id")
    for index, key in enumerate(zip(*(rows.column(name).to_pylist() for name in names), strict=True)):
        store.storage.put(row_path(*key), encode_table(rows.slice(index, 1)), durable=False)


def _by_partition(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    keys = list(zip(rows.column("scenario").to_pylist(), rows.column("dataset").to_pylist(), strict=True))
    return [
        (row_path(*key, "", "").rpartition("/")[0], rows.filter(pa.array([other == key for other in keys])))
        for key in dict.fromkeys(keys)
    ]
