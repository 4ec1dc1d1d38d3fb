"""The table of many classes in docs/results.md, from the rows of docs/results/many-classes.yaml.

python docs/results/many_classes.py docs/results/many-classes
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from means import scored_means

from harness import read_rows

_SPLITTERS = {
    "gradsplitter": "GradSplitter",
    "scalesplitter": "ScaleSplitter",
    "taylor": "`taylor` of ScaleSplitter's size",
}
_HEADER = """\
| classes | splitter | version | score | seeds | loss, points | kernels, % | FLOPs of all modules, % |
| ---: | --- | ---: | --- | ---: | ---: | ---: | ---: |"""

Row = Mapping[str, Any]


def table(rows: Iterable[Row]) -> str:
    """Return means over the seeds, of the loss with half of its 95 % t-interval, in Markdown."""
    found: dict[int, dict[tuple[str, int], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["splitter"] not in _SPLITTERS:
            continue
        splitter = json.loads(row["config"])["splitter"]
        # A baseline is of the version of what it is like.
        version = (splitter["settings"].get("like") or splitter)["version"]
        found[len(row["modules"])][row["splitter"], version].append(row)
    lines = [_HEADER]
    for n_classes, by_splitter in sorted(found.items()):
        lines += [
            f"| {n_classes} | {_SPLITTERS[splitter]} | {version} | {scored_means(found_rows)} |"
            for (splitter, version), found_rows in sorted(by_splitter.items(), key=lambda item: _order(*item[0]))
        ]
    return "\n".join(lines)


def _order(splitter: str, version: int) -> tuple[bool, int, int]:
    """Order lines by version, the newest first, and within one as splitters are listed; GradSplitter comes first."""
    return splitter != "gradsplitter", -version, [*_SPLITTERS].index(splitter)


if __name__ == "__main__":
    print(table(read_rows(sys.argv[1]).to_pylist()))
