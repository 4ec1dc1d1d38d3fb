"""The tables of real images in docs/results.md, from the rows of real-images.yaml, of cifar-cpu, and of other searches.

cd docs/results && python real_images.py cifar-cpu longer-search other-searches real-images
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from statistics import fmean
from typing import Any

from means import scored_means

from harness import read_rows
from harness.ranking.budgets.budget import Budget
from harness.ranking.leaderboard import columns_for, make_leaderboard
from harness.ranking.paired.comparison import MIN_PAIRS, SIGNIFICANCE, Comparison, holm_where_tested
from harness.ranking.paired.head_to_head import compare
from harness.store import ResultStore

_NAMES = {"simcnn": "SimCNN", "rescnn": "ResCNN", "incecnn": "InceCNN", "gradsplitter": "GradSplitter"}
_NAMES |= {"scalesplitter": "ScaleSplitter, 2,400 mask steps", "cnnsplitter": "CNNSplitter"}
_NAMES |= {"scalesplitter 3200": "the same, 3,200 mask steps"}
_NAMES |= {"gradsplitter 1200": "the same, 1,200 mask steps", "cnnsplitter thresholds": "the same, lower thresholds"}
_DATA = {"parquet:cifar10": "CIFAR-10", "parquet:fashion_mnist": "Fashion-MNIST"}
_SPLITTERS = (
    "gradsplitter", "gradsplitter 1200", "taylor", "importance", "random", "scalesplitter", "scalesplitter 3200",
    "taylor like scalesplitter", "cnnsplitter", "cnnsplitter thresholds", "taylor like cnnsplitter",
)  # fmt: skip
_HEADER = """\
| data, net, width | splitter | score | seeds | loss, points | kernels, % | FLOPs of all modules, % |
| --- | --- | --- | ---: | ---: | ---: | ---: |"""

_COMPARED = (
    ("gradsplitter", "cnnsplitter"), ("gradsplitter", "taylor"), ("gradsplitter", "importance"),
    ("cnnsplitter", "taylor like cnnsplitter"), ("scalesplitter", "gradsplitter"),
    ("scalesplitter", "taylor like scalesplitter"),
)  # fmt: skip
_PAIRS_HEADER = """\
| comparison | cells | loss, points | p | lower, higher, open | lower on | kernels, points | p | fewer, more, open |
| --- | ---: | ---: | ---: | --- | --- | ---: | ---: | --- |"""

_AT_EQUAL_LOSS = (
    ("gradsplitter", "cnnsplitter", 8), ("scalesplitter", "gradsplitter", 3), ("scalesplitter", "gradsplitter", 8),
)  # fmt: skip
"""In points: what the gradient searches may lose, and about what CNNSplitter loses, few of whose states lose less."""

_EQUAL_LOSS_HEADER = """\
| comparison | loss of at most | cells | kernels, points | p | fewer, more, open | relative, % |
| --- | ---: | ---: | ---: | ---: | --- | ---: |"""

_AT_EQUAL_RETENTION = (("scalesplitter", "gradsplitter", 85), ("scalesplitter", "gradsplitter", 70))
"""In percent of the kernels: about where GradSplitter ends on CIFAR-10, and what it reaches with every net."""

_EQUAL_RETENTION_HEADER = """\
| comparison | kernels of at most | cells | loss, points | p | lower, higher, open |
| --- | ---: | ---: | ---: | ---: | --- |"""

_MEASURES = ("accuracy_loss", "kernel_retention")

Row = Mapping[str, Any]


def table(rows: Iterable[Row]) -> str:
    """Return means over the seeds, of the loss with half of its 95 % t-interval, in Markdown."""
    nets: dict[tuple[str, float, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if (label := row["splitter_label"] or row["splitter"]) not in (*_SPLITTERS, "full"):
            raise ValueError(f"no line of the table is for {label!r}")
        width = json.loads(row["config"])["model"]["settings"]["width"]
        nets[row["dataset"], -width, row["model"]][row["splitter_label"] or row["splitter"]].append(row)
    lines = [_HEADER]
    for (data, width, model), found in sorted(nets.items(), key=lambda net: (net[0][:2], [*_NAMES].index(net[0][2]))):
        base = 100 * fmean({row["seed"]: row["base_accuracy"] for rows in found.values() for row in rows}.values())
        title = f"{_DATA[data]}, {_NAMES[model]}, {Fraction(-width)} (base {base:.1f} %)"
        for splitter in _SPLITTERS:
            if splitter in found:
                lines.append(f"| {title} | {_name(splitter)} | {scored_means(found[splitter])} |")
                title = ""
    return "\n".join(lines)


def pairs(rows: Iterable[Row]) -> str:
    """Return differences of splitters over cells, which are base models' nets on a data set, in Markdown.

    The mean over a cell's seeds is its difference, and these means are the sample: interval and p of a paired t-test
    are over cells, p corrected after Holm for all tests of the table. Beside them, in how many cells the paired t-test
    over seeds, corrected for the number of cells as in ``splitbench compare``, decides for either side, and on how many
    base models, a net on a data set and a seed, the first loses less.
    """
    found: dict[str, dict[tuple[str, str], dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        found[row["splitter_label"] or row["splitter"]][row["dataset"], row["model"]][row["seed"]] = row
    compared = {
        (first, second, column): cells
        for first, second in _COMPARED
        for column in _MEASURES
        if (cells := _cells(found[first], found[second], column))
    }
    # Of the same kernels there is nothing to test.
    tests = [None if _are_equal(cells) else _over_cells(cells).p_value for cells in compared.values()]
    p_values = dict(zip(compared, holm_where_tested(tests), strict=True))
    lines = [_PAIRS_HEADER]
    for first, second in dict.fromkeys(key[:2] for key in compared):
        loss, kernels = (
            _figures_over_cells(compared[key], p_values[key]) for key in product((first,), (second,), _MEASURES)
        )
        cells = compared[first, second, "accuracy_loss"]
        lines.append(
            f"| {_name(first)} - {_name(second)} | {len(cells)} | {loss} | {_base_models_won(cells)} | {kernels} |"
        )
    return "\n".join(lines)


Cell = list[tuple[float, float]]
"""Two splitters' values, in points, on the seeds of a cell that both have."""


def _cells(first: Mapping[Any, Mapping[int, Row]], second: Mapping[Any, Mapping[int, Row]], column: str) -> list[Cell]:
    cells = [
        [
            (100 * first[cell][seed][column], 100 * second[cell][seed][column])
            for seed in first[cell].keys() & second[cell].keys()
        ]
        for cell in first.keys() & second.keys()
    ]
    return [cell for cell in cells if len(cell) >= MIN_PAIRS]


def _are_equal(cells: Sequence[Cell]) -> bool:
    return all(a == b for cell in cells for a, b in cell)


def _over_cells(cells: Sequence[Cell]) -> Comparison:
    return _comparison([(fmean(a for a, _ in cell), fmean(b for _, b in cell)) for cell in cells])


def _comparison(cell: Cell) -> Comparison:
    first, second = zip(*cell, strict=True)
    return Comparison(first, second, higher_is_better=False)


def _figures_over_cells(cells: Sequence[Cell], p_value: float | None) -> str:
    if _are_equal(cells):
        return "0 | | "
    over = _over_cells(cells).difference
    comparisons = [_comparison(cell) for cell in cells]
    p_values = holm_where_tested([each.p_value for each in comparisons])
    decided = [p is not None and p < SIGNIFICANCE for p in p_values]
    lower = sum(sure and each.first_is_better for sure, each in zip(decided, comparisons, strict=True))
    counts = f"{lower}, {sum(decided) - lower}, {len(cells) - sum(decided)}"
    spread = "" if over.half_width is None else f" ±{over.half_width:.2f}"
    return f"{over.mean:+.2f}{spread} | {_shown(p_value)} | {counts}"


def _shown(p_value: float | None) -> str:
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.0005 else f"{p_value:.3f}"


def at_equal_loss(folder: str) -> str:
    """Return differences in kernels at an equal loss on select, read off recorded states; see ``pairs``.

    The last column is the mean over cells of the difference as a share of what the second keeps there.
    """
    found = [_cells_at(f"loss={loss}%", folder, *names) for *names, loss in _AT_EQUAL_LOSS]
    relative = [f" {_relative(cells):+.0f} |" for cells in found]
    return _table_at(_EQUAL_LOSS_HEADER, _AT_EQUAL_LOSS, found, relative)


def at_equal_retention(folder: str) -> str:
    """Return differences in loss on select at an equal share of kernels, read off recorded states; see ``pairs``."""
    found = [_cells_at(f"retention={kernels}%", folder, *names) for *names, kernels in _AT_EQUAL_RETENTION]
    return _table_at(_EQUAL_RETENTION_HEADER, _AT_EQUAL_RETENTION, found, [""] * len(found))


def _cells_at(budget_text: str, folder: str, first: str, second: str) -> list[Cell]:
    budget = Budget.parse(budget_text)
    latest = ResultStore(folder).read(columns=columns_for(budget)).latest()
    comparisons = [pair.comparison for pair in compare(make_leaderboard(latest, budget=budget), first, second)]
    cells = [[(100 * a, 100 * b) for a, b in zip(each.first, each.second, strict=True)] for each in comparisons]
    return [cell for cell in cells if len(cell) >= MIN_PAIRS]


def _table_at(
    header: str, compared: Sequence[tuple[str, str, int]], found: Sequence[Sequence[Cell]], ends: Sequence[str]
) -> str:
    p_values = holm_where_tested([_over_cells(cells).p_value for cells in found])
    lines = [
        f"| {_name(first)} - {_name(second)} | {budget} | {len(cells)} | {_figures_over_cells(cells, p_value)} |{end}"
        for (first, second, budget), cells, p_value, end in zip(compared, found, p_values, ends, strict=True)
    ]
    return "\n".join([header, *lines])


def _base_models_won(cells: Sequence[Cell]) -> str:
    pairs = [pair for cell in cells for pair in cell]
    return f"{sum(first < second for first, second in pairs)} of {len(pairs)}"


def _relative(cells: Sequence[Cell]) -> float:
    means = [(fmean(first for first, _ in cell), fmean(second for _, second in cell)) for cell in cells]
    return 100 * fmean((first - second) / second for first, second in means)


def _name(splitter: str) -> str:
    return _NAMES.get(splitter, f"`{splitter.split()[0]}`" + " of its size" * (" like " in splitter))


if __name__ == "__main__":
    print(table(row for folder in sys.argv[1:] for row in read_rows(folder).to_pylist()))
    print(f"\n{pairs(read_rows(sys.argv[-1]).to_pylist())}")
    print(f"\n{at_equal_loss(sys.argv[-1])}\n\n{at_equal_retention(sys.argv[-1])}")
