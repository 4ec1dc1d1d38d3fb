"""The table of dead modules in docs/results.md, from dead-modules.parquet, or from the rows of a results folder.

splitbench run docs/results/dead-modules.yaml --results results/dead-modules
python docs/results/dead_modules.py results/dead-modules            # prints the table
python docs/results/dead_modules.py results/dead-modules --write    # and replaces it, and dead-modules.parquet
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_FOLDER = Path(__file__).parent
_PAGE = _FOLDER.parent / "results.md"
_ROWS = _FOLDER / "dead-modules.parquet"
_START, _END = "<!-- dead modules: made by docs/results/dead_modules.py -->", "<!-- /dead modules -->"
_HEADER = """\
| splitter | net | mask steps | rescue | splits | modules lost | dead | last round | new | loss | worst | kernels, % |
| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""

_COMPARED = (
    ("GradSplitter", 240, ("rescue", "no-rescue")),
    ("GradSplitter", 960, ("rescue-960", "no-rescue-960")),
    ("ScaleSplitter", 240, ("scalesplitter fast",)),
)
"""Splitters, mask steps, and the labels of splits with rescue and without."""

Row = dict[str, Any]


def read_rows(results: str) -> list[Row]:
    """Return what the table needs of a results folder's rows."""
    from harness.store import ResultStore

    labels = {label for _, _, names in _COMPARED for label in names}
    contents = ResultStore(results).read()
    rows = contents.in_full(row.cell_id for row in contents.latest())
    return [
        {
            "label": row.splitter_label,
            "model": row.model,
            "seed": row.seed,
            "accuracy_loss": row.accuracy_loss,
            "kernel_retention": row.kernel_retention,
            "select_f1": [module.select_f1 for module in row.modules],
            **_facts({(figure.step, figure.name): figure.value for figure in row.figures}, _rounds(row.config)),
            "cell_id": row.cell_id,
            "git_commit": row.git_commit,
            "torch_version": row.torch_version,
        }
        for row in sorted(rows, key=lambda row: (row.splitter_label or "", row.model, row.seed))
        if row.state.value == "ok" and row.scenario == "modularization" and row.splitter_label in labels
    ]


def _rounds(config: str) -> int:
    return int(json.loads(config)["splitter"]["settings"]["rounds"])


def _facts(figures: dict[tuple[int | None, str], float], last: int) -> Row:
    """Return a split's counts, and the state after its last round; ScaleSplitter records tuned states after it."""
    return {
        "dead_modules": int(figures[None, "dead_modules"]),
        "rescues": int(figures[None, "rescues"]),
        "chosen_round": int(figures[None, "chosen_round"]),
        "last_accuracy": figures[last, "accuracy"],
        "last_min_f1": figures[last, "min_f1"],
    }


def lost_modules(select_f1: Sequence[float]) -> int:
    """Return the number of modules whose F1 is under half of the others' median."""
    return sum(
        value < median([*select_f1[:index], *select_f1[index + 1 :]]) / 2 for index, value in enumerate(select_f1)
    )


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown; seeds count that were split both with rescue and without."""
    return "\n".join([_HEADER, *_lines(rows)])


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    by_key = {(row["label"], row["model"], row["seed"]): row for row in rows}
    for splitter, steps, labels in _COMPARED:
        for model in ("rescnn", "simcnn"):
            seeds = sorted(seed for label, m, seed in by_key if label == labels[0] and m == model)
            shared = [seed for seed in seeds if all((label, model, seed) in by_key for label in labels)]
            for label, rescue in zip(labels, ("yes", "no"), strict=False):
                if shared:
                    splits = [by_key[label, model, seed] for seed in shared]
                    yield f"| {splitter} | {model} | {steps} | {rescue} | {_figures(splits)} |"


def _figures(splits: Sequence[Row]) -> str:
    losses = [100 * row["accuracy_loss"] for row in splits]
    n_modules = sum(len(row["select_f1"]) for row in splits)
    # A round's record has no F1 of each module, only the lowest one; accuracy stands for the others' median.
    last = sum(row["last_min_f1"] < row["last_accuracy"] / 2 for row in splits)
    return " | ".join(
        [
            str(len(splits)),
            f"{sum(lost_modules(row['select_f1']) for row in splits)} of {n_modules}",
            str(sum(row["dead_modules"] for row in splits)),
            f"{last} of {len(splits)}",
            str(sum(row["rescues"] for row in splits)),
            f"{fmean(losses):.2f}",
            f"{max(losses):.2f}",
            f"{100 * fmean(row['kernel_retention'] for row in splits):.1f}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; with ``--write``, also replace it in the page, and the kept rows by those of the folder."""
    parser = argparse.ArgumentParser(description="The table of dead modules in docs/results.md.")
    parser.add_argument("results", nargs="?", help="a results folder; by default the kept rows are read")
    parser.add_argument("--write", action="store_true", help="replace the page's table and the kept rows")
    given = parser.parse_args(arguments)
    rows = read_rows(given.results) if given.results else pq.read_table(_ROWS).to_pylist()
    print(table(rows))
    if given.write:
        if given.results:
            pq.write_table(pa.Table.from_pylist(rows), _ROWS, compression="zstd")
        _write_table(table(rows))


def _write_table(made: str) -> None:
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_START)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(f"{before}{_START}\n{made}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
