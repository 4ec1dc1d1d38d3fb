"""The table of twenty classes in docs/results.md, from the rows of docs/results/many-classes.yaml.

python docs/results/many_classes.py docs/results/many-classes
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

_SPLITTERS = {
    "gradsplitter": "GradSplitter",
    "scalesplitter": "ScaleSplitter, `tune_loss: joint`",
    "taylor": "`taylor` of ScaleSplitter's size",
}
_HEADER = """\
| classes | splitter | version | score | seeds | loss, points | kernels, % | FLOPs of all modules, % |
| ---: | --- | ---: | --- | ---: | ---: | ---: | ---: |"""

Row = Mapping[str, Any]


def table(rows: Iterable[Row]) -> str:
    """Return means over the seeds, of the loss with half of its 95 % t-interval, in Markdown."""
    found: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[len(row["modules"])][row["splitter"]].append(row)
    lines = [_HEADER]
    for n_classes, by_splitter in sorted(found.items()):
        lines += [
            f"| {n_classes} | {name} | {_figures(by_splitter[splitter])} |"
            for splitter, name in _SPLITTERS.items()
            if splitter in by_splitter
        ]
    return "\n".join(lines)


def _figures(rows: list[Row]) -> str:
    loss = Estimate.of([100 * row["accuracy_loss"] for row in rows])
    spread = "" if loss.half_width is None else f" ±{loss.half_width:.2f}"
    kernels, flops = (100 * fmean(row[name] for row in rows) for name in ("kernel_retention", "flops_retention_sum"))
    versions = ", ".join(sorted({str(json.loads(row["config"])["splitter"]["version"]) for row in rows}))
    scores = ", ".join(sorted({row["score"] for row in rows}))
    return f"{versions} | {scores} | {len(rows)} | {loss.mean:.2f}{spread} | {kernels:.1f} | {flops:.0f}"


if __name__ == "__main__":
    print(table(read_rows(sys.argv[1]).to_pylist()))
