"""The tables of reused modules in docs/results.md, from the rows of docs/results/reuse.yaml.

python docs/results/reuse.py docs/results/reuse
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

from means import in_points

from harness import read_rows

_DATA = {"parquet:cifar10": "CIFAR-10", "parquet:fashion_mnist": "Fashion-MNIST"}
_SPLITTERS = ("gradsplitter", "scalesplitter")
_SUB_TASKS = """\
| data, classes | GradSplitter: FLOPs, % | loss, points | ScaleSplitter: FLOPs, % | loss, points |
| --- | ---: | ---: | ---: | ---: |"""
_PATCHES = """\
| weak net, rule | GradSplitter: gain in F1, points | ScaleSplitter: gain in F1, points | difference |
| --- | ---: | ---: | ---: |"""

Row = Mapping[str, Any]
BySeed = dict[int, float]


def sub_tasks(rows: Iterable[Row]) -> str:
    """Return costs and losses of classifiers of some classes, in Markdown.

    A seed's figure is the mean over its tasks; intervals are over seeds.
    """
    sizes = _by_seed(rows, "sub_tasks", lambda row, task: (row["dataset"], task["n_classes"], row["splitter"]))
    lines = [_SUB_TASKS]
    for data, title in _DATA.items():
        for size in sorted({n_classes for dataset, n_classes, _ in sizes if dataset == data}):
            found = [sizes[data, size, splitter] for splitter in _SPLITTERS]
            lines.append(f"| {title}, {size} | {' | '.join(map(_cost_and_loss, found))} |")
    return "\n".join(lines)


def patches(rows: Iterable[Row]) -> str:
    """Return the gains in the target class's F1, by kind of weak net and fusion rule, in Markdown.

    A seed's figure is the mean over its ten target classes; intervals are over seeds, differences paired by them.
    """
    gains = _by_seed(rows, "patches", lambda row, patch: (patch["weak_kind"], patch["fusion"], row["splitter"]))
    lines = [_PATCHES]
    for kind, rule in dict.fromkeys(key[:2] for key in gains):
        grad, scale = (_means(gains[kind, rule, splitter], "tc_f1_gain") for splitter in _SPLITTERS)
        difference = {seed: scale[seed] - grad[seed] for seed in grad.keys() & scale.keys()}
        title = f"{kind.replace('_', '-')}, `{rule}`"
        lines.append(f"| {title} | {' | '.join(in_points(each.values()) for each in (grad, scale, difference))} |")
    return "\n".join(lines)


def _by_seed(
    rows: Iterable[Row], column: str, key: Callable[[Row, Row], tuple[Any, ...]]
) -> dict[tuple[Any, ...], dict[int, list[Row]]]:
    """Return the records of a column by a key of rows and records, and by seed."""
    found: dict[tuple[Any, ...], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: (row["scenario"], row["seed"], row["splitter"])):
        for record in row[column]:
            found[key(row, record)][row["seed"]].append(record)
    return found


def _means(seeds: Mapping[int, list[Row]], name: str) -> BySeed:
    return {seed: fmean(record[name] for record in records) for seed, records in seeds.items()}


def _cost_and_loss(seeds: Mapping[int, list[Row]]) -> str:
    flops = 100 * fmean(_means(seeds, "flops_retention_sum").values())
    return f"{flops:.0f} | {in_points(_means(seeds, 'accuracy_loss').values())}"


if __name__ == "__main__":
    all_rows = read_rows(sys.argv[1]).to_pylist()
    print(f"{sub_tasks(all_rows)}\n\n{patches(all_rows)}")
