"""Checks the rows of the quick suite: all there, all well, in time, and what is promised of them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.rows.parquet_schema import ROW_SCHEMA
from harness.config.expand import expand
from harness.config.suite import load_suite
from splitters.reuse.patched import DEFAULT_RULE

MOST_SECONDS = 600


def main() -> int:
    """Prints what is wrong with the rows under the given folder; returns 1 if anything is."""
    rows = Path(sys.argv[1]) / "rows"
    wrong = [*missing(rows), *too_slow(rows), *findings(leaderboard(sys.argv[1]))]
    print("\n".join(wrong) or "the rows are as they should be")
    return 1 if wrong else 0


def missing(rows: Path) -> list[str]:
    """Returns one sentence for each cell of the suite that has no row, and for each file that is no such row."""
    wrong, found = [], set()
    for file in sorted(rows.rglob("*.parquet")):
        table = pq.ParquetFile(file).read()
        if table.schema != ROW_SCHEMA:
            wrong.append(f"{file} has another schema")
        found.update(zip(table["cell_id"].to_pylist(), table["state"].to_pylist(), strict=True))
    wanted = {(item.cell.cell_id, "ok"): item.title for item in expand(load_suite("quick"))}
    return wrong + [f"{title} has no row that is ok" for key, title in wanted.items() if key not in found]


def too_slow(rows: Path) -> list[str]:
    """Returns a sentence if more time lies between the first start and the last end than is promised."""
    spans = []
    for file in rows.rglob("*.parquet"):
        (row,) = pq.ParquetFile(file).read(columns=["started_at", "seconds"]).to_pylist()
        spans.append((row["started_at"], row["started_at"] + timedelta(seconds=row["seconds"])))
    if not spans:
        return []
    took = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    return [f"the suite took {took:.0f} s; less than {MOST_SECONDS} s are promised"] if took >= MOST_SECONDS else []


def leaderboard(results: str) -> list[dict[str, Any]]:
    """Returns the leaderboard's entries."""
    command = [sys.executable, "-m", "harness", "leaderboard", results, "--json"]
    entries: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return entries


def findings(entries: list[dict[str, Any]]) -> list[str]:
    """Returns one sentence for each thing that is wrong."""
    entries = [entry for entry in entries if entry["measured"]]
    wrong = []
    splits = {(entry["model"], entry["splitter"]): entry for entry in entries if entry["scenario"] == "modularization"}
    models, names = {model for model, _ in splits}, ("gradsplitter", "cnnsplitter", "random", "importance", "full")
    absent = [f"no {name} on {model}" for model in sorted(models) for name in names if (model, name) not in splits]
    if absent or not models:
        return absent or ["there are no rows"]
    for entry in entries:
        name = f"{entry['scenario']}: {entry['splitter']} on {entry['model']}"
        if entry["n_failed"] or not entry["n_seeds"]:
            wrong.append(f"{name}: {entry['n_failed']} cells failed, {entry['n_seeds']} seeds are there")
    for model in sorted(models):
        grad, genetic, random = (splits[model, name] for name in ("gradsplitter", "cnnsplitter", "random"))
        if grad["accuracy_loss"] > 0.03:
            wrong.append(
                f"gradsplitter on {model} loses {100 * grad['accuracy_loss']:.1f} points; at most 3 are promised"
            )
        if grad["kernel_retention"] > 0.60:
            wrong.append(
                f"gradsplitter on {model} keeps {100 * grad['kernel_retention']:.1f} %; at most 60 % are promised"
            )
        if grad["accuracy_loss"] > random["accuracy_loss"] - 0.05:
            wrong.append(f"gradsplitter on {model} is not clearly better than random kernels at the same retention")
        # Four generations are no search: a start population keeps 60 to 85 % of such narrow nets.
        if genetic["accuracy_loss"] > 0.10 or genetic["kernel_retention"] > 0.85:
            wrong.append(f"cnnsplitter on {model} finds no modules: {genetic}")
    scale, grad = (splits["simcnn", name] for name in ("scalesplitter", "gradsplitter"))
    if scale["accuracy_loss"] > 0.05 or scale["kernel_retention"] > 0.7 * grad["kernel_retention"]:
        wrong.append("scalesplitter finds no modules that are much smaller than gradsplitter's at 5 points of loss")
    return wrong + reuse_findings(entries)


def reuse_findings(entries: list[dict[str, Any]]) -> list[str]:
    """Returns one sentence for each thing that is wrong with patches and composed models."""
    wrong = []
    by_scenario: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        by_scenario.setdefault(entry["scenario"], []).append(entry)
    for name in ("patching", "sub_task", "accuracy_composition"):
        if name not in by_scenario:
            wrong.append(f"there are no rows of {name}")
    for entry in by_scenario.get("patching", []):
        if entry["fusion"] == DEFAULT_RULE and (entry["tc_f1_gain"] <= 0 or entry["accuracy_gain"] < 0):
            wrong.append(f"patches by {entry['splitter']} and {entry['fusion']} make weak models no better: {entry}")
    for entry in by_scenario.get("sub_task", []):
        if entry["accuracy_loss"] > 0.1:
            wrong.append(f"{entry['splitter']} on {entry['n_classes']} classes loses too much: {entry}")
    for entry in by_scenario.get("accuracy_composition", []):
        if entry["gain_over_best_base"] < -0.2:
            wrong.append(f"modules of {entry['splitter']} of several base models do not compose: {entry}")
    for entry in [*by_scenario.get("sub_task", []), *by_scenario.get("accuracy_composition", [])]:
        if not entry["flops_retention_sum"] > 0 or not entry["latency_ratio"] > 0:
            wrong.append(f"{entry['scenario']}: the costs do not fit each other: {entry}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
