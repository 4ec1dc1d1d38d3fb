"""The tables of ScaleSplitter on digits in docs/results.md, from the rows of docs/results/scalesplitter.yaml.

python docs/results/scalesplitter.py docs/results/scalesplitter
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from means import means

from harness import read_rows

_NETS = {"rescnn": "ResCNN", "simcnn": "SimCNN"}
_SPLITTERS = {
    "gradsplitter 240": "GradSplitter",
    "gradsplitter 960": "GradSplitter",
    "scalesplitter fast": "ScaleSplitter, `fast`",
    "scalesplitter thorough": "ScaleSplitter, `thorough`",
    "scalesplitter thorough 1 point": "the same, at most a point on select",
    "taylor like fast": "`taylor` at the size of `fast`",
    "importance like fast": "`importance` at that size",
}
_HEADER = """\
| net | splitter | mask steps | seeds | loss, points | kernels, % | FLOPs of all modules, % |
| --- | --- | ---: | ---: | ---: | ---: | ---: |"""

Row = Mapping[str, Any]


def table(rows: Iterable[Row]) -> str:
    """Return means over the seeds, of the loss with half of its 95 % t-interval, in Markdown."""
    found = _by_net_and_splitter(rows)
    lines = [_HEADER]
    for net, title in _NETS.items():
        for label, name in _SPLITTERS.items():
            if splits := found[net, label]:
                lines.append(f"| {title} | {name} | {_figures(list(splits.values()))} |")
                title = ""
    return "\n".join(lines)


def seeds(rows: Iterable[Row]) -> str:
    """Return the kernels that ``thorough`` keeps and its loss, seed by seed, in Markdown."""
    found = _by_net_and_splitter(rows)
    thorough = {net: found[net, "scalesplitter thorough"] for net in _NETS}
    numbers = sorted({seed for splits in thorough.values() for seed in splits})
    lines = [
        f"| `thorough`: kernels, loss | {' | '.join(f'seed {number}' for number in numbers)} |",
        f"| --- |{' ---: |' * len(numbers)}",
    ]
    for net, splits in thorough.items():
        figures = (
            f"{100 * splits[number]['kernel_retention']:.1f} %, {100 * splits[number]['accuracy_loss']:.1f}"
            for number in numbers
        )
        lines.append(f"| {_NETS[net]} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _by_net_and_splitter(rows: Iterable[Row]) -> dict[tuple[str, str], dict[int, Row]]:
    found: dict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row["scenario"] == "modularization":
            found[row["model"], row["splitter_label"]][row["seed"]] = row
    return found


def _figures(rows: list[Row]) -> str:
    return f"{_mask_steps(rows[0])} | {len(rows)} | {means(rows)}"


def _mask_steps(row: Row) -> str:
    settings = json.loads(row["config"])["splitter"]["settings"]
    return str(settings["rounds"] * int(settings["mask_phase"].removesuffix(" steps"))) if "rounds" in settings else ""


if __name__ == "__main__":
    all_rows = read_rows(sys.argv[1]).to_pylist()
    print(f"{table(all_rows)}\n\n{seeds(all_rows)}")
