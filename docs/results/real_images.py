"""The tables of real images in docs/results.md, from the rows of docs/results/real-images.yaml and of cifar-cpu.

python docs/results/real_images.py docs/results/cifar-cpu docs/results/real-images
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import fmean
from typing import Any

from harness import read_rows
from harness.ranking.statistics import Estimate, paired_t_p_value

_NAMES = {"simcnn": "SimCNN", "rescnn": "ResCNN", "incecnn": "InceCNN", "gradsplitter": "GradSplitter"}
_NAMES |= {"scalesplitter": "ScaleSplitter", "cnnsplitter": "CNNSplitter"}
_DATA = {"parquet:cifar10": "CIFAR-10", "parquet:fashion_mnist": "Fashion-MNIST"}
_SPLITTERS = (
    "gradsplitter", "taylor", "importance", "random", "scalesplitter", "taylor like scalesplitter", "cnnsplitter",
    "taylor like cnnsplitter",
)  # fmt: skip
_HEADER = """\
| data, net, width | splitter | score | seeds | loss, points | kernels, % | FLOPs of all modules, % |
| --- | --- | --- | ---: | ---: | ---: | ---: |"""

_COMPARED = (
    ("gradsplitter", "cnnsplitter"), ("gradsplitter", "taylor"), ("cnnsplitter", "taylor like cnnsplitter"),
    ("scalesplitter", "gradsplitter"), ("scalesplitter", "taylor like scalesplitter"),
)  # fmt: skip
_PAIRS_HEADER = """\
| comparison | data | base models | loss, points | p | kernels, points | p |
| --- | --- | ---: | ---: | ---: | ---: | ---: |"""

Row = Mapping[str, Any]


def table(rows: Iterable[Row]) -> str:
    """Return means over the seeds, of the loss with half of its 95 % t-interval, in Markdown."""
    nets: dict[tuple[str, float, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        width = json.loads(row["config"])["model"]["settings"]["width"]
        nets[row["dataset"], -width, row["model"]][row["splitter_label"] or row["splitter"]].append(row)
    lines = [_HEADER]
    for (data, width, model), found in sorted(nets.items(), key=lambda net: (net[0][:2], [*_NAMES].index(net[0][2]))):
        base = 100 * fmean({row["seed"]: row["base_accuracy"] for rows in found.values() for row in rows}.values())
        title = f"{_DATA[data]}, {_NAMES[model]}, {Fraction(-width)} (base {base:.1f} %)"
        for splitter in _SPLITTERS:
            if splitter in found:
                lines.append(f"| {title} | {_name(splitter)} | {_figures(found[splitter])} |")
                title = ""
    return "\n".join(lines)


def pairs(rows: Iterable[Row]) -> str:
    """Return differences of splitters on the same base models, with p of a paired t-test, in Markdown."""
    found: dict[str, dict[tuple[str, str, int], Row]] = defaultdict(dict)
    for row in rows:
        found[row["splitter_label"] or row["splitter"]][row["dataset"], row["model"], row["seed"]] = row
    lines = [_PAIRS_HEADER]
    for first, second in _COMPARED:
        shared = sorted(found[first].keys() & found[second].keys())
        for data, name in {"": "all", **_DATA}.items():
            both = [(found[first][key], found[second][key]) for key in shared if data in ("", key[0])]
            figures = " | ".join(_difference(both, column) for column in ("accuracy_loss", "kernel_retention"))
            title = f"{_name(first)} - {_name(second)}" if not data else ""
            lines.append(f"| {title} | {name} | {len(both)} | {figures} |")
    return "\n".join(lines)


def _difference(both: Sequence[tuple[Row, Row]], column: str) -> str:
    first, second = zip(*((100 * a[column], 100 * b[column]) for a, b in both), strict=True)
    if first == second:
        return "0 | "
    estimate = Estimate.of([a - b for a, b in zip(first, second, strict=True)])
    one_sided = paired_t_p_value(first, second)
    return f"{estimate.mean:+.2f} ±{estimate.half_width:.2f} | {2 * min(one_sided, 1 - one_sided):.3f}"


def _name(splitter: str) -> str:
    return _NAMES.get(splitter, f"`{splitter.split()[0]}`" + " of its size" * (" like " in splitter))


def _figures(rows: Sequence[Row]) -> str:
    loss = Estimate.of([100 * row["accuracy_loss"] for row in rows])
    spread = "" if loss.half_width is None else f" ±{loss.half_width:.2f}"
    kernels, flops = (100 * fmean(row[name] for row in rows) for name in ("kernel_retention", "flops_retention_sum"))
    scores = ", ".join(sorted({row["score"] for row in rows}))
    return f"{scores} | {len(rows)} | {loss.mean:.2f}{spread} | {kernels:.1f} | {flops:.0f}"


if __name__ == "__main__":
    print(table(row for folder in sys.argv[1:] for row in read_rows(folder).to_pylist()))
    print(f"\n{pairs(read_rows(sys.argv[-1]).to_pylist())}")
