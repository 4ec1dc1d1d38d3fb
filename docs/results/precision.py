"""The table in docs/speed.md of what bfloat16 does to quality, from the rows of docs/results/precision.yaml.

python docs/results/precision.py docs/results/precision
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from harness import read_rows
from harness.ranking.statistics import Estimate

_NAMES = {"rescnn": "ResCNN", "simcnn": "SimCNN", "gradsplitter": "GradSplitter", "scalesplitter": "ScaleSplitter"}
_FIGURES = ("base_accuracy", "composed_accuracy", "kernel_retention")
_HEADER = """\
| net | splitter | base accuracy, % | composed accuracy, % | kernels, % | bf16 - float32: base | composed | kernels |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the means in float32, and the paired differences with 95 % t-intervals over the seeds, in Markdown.

    Raises:
        KeyError: If a seed was run in one precision only.
    """
    percent: dict[tuple[str, str], dict[tuple[str, int], list[float]]] = defaultdict(dict)
    for row in rows:
        precision = json.loads(row["config"]).get("precision", "float32")
        percent[row["model"], row["splitter"]][precision, row["seed"]] = [100 * row[name] for name in _FIGURES]
    lines = [_HEADER]
    for (model, splitter), found in sorted(percent.items()):
        seeds = sorted({seed for _, seed in found})
        # The three figures of each seed become the seeds of each figure.
        plain = list(zip(*(found["float32", seed] for seed in seeds), strict=True))
        reduced = list(zip(*(found["bf16", seed] for seed in seeds), strict=True))
        cells = [f"{fmean(values):.1f}" for values in plain]
        for first, second in zip(plain, reduced, strict=True):
            estimate = Estimate.of([b - a for a, b in zip(first, second, strict=True)])
            cells.append(f"{_rounded(estimate.mean)} ±{estimate.half_width:.1f}")
        lines.append(f"| {_NAMES[model]} | {_NAMES[splitter]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rounded(value: float) -> str:
    """Return a difference with its sign, which a zero does not have."""
    return "0.0" if round(value, 1) == 0 else f"{value:+.1f}"


if __name__ == "__main__":
    print(table(read_rows(sys.argv[1]).to_pylist()))
