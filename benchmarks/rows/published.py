"""Published figures: what papers report, shown beside our own measurements."""

from __future__ import annotations

import sys
from functools import cache
from importlib import resources

from pydantic import Field

from splitters.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class PublishedFigure(Settings):
    """A figure of a paper or its artefact; see ``published.toml``.

    Args:
        scenario: The scenario that measures the same quantity.
        splitter: The method.
        text: The report, in words.
        source: The paper, and the place in it.
        values: Values by measure of the scenario's leaderboard.
        dataset: The data set; empty if the figure covers several.
        model: The base model's architecture, if it is implemented here.
        net: The network's name, if it is not implemented here.
    """

    scenario: str
    splitter: str
    text: str = Field(min_length=1)
    source: str = Field(min_length=1)
    values: dict[str, float] = Field(default_factory=dict)
    dataset: str = ""
    model: str = ""
    net: str = ""


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Return all figures, in the order of the file."""
    text = resources.files("benchmarks.rows").joinpath("published.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["figure"]
    return tuple(PublishedFigure.parse(entry, where=f"published.toml: figure {n}") for n, entry in enumerate(entries))


PAPERS_DATASETS = frozenset({"cifar10", "cifar100", "svhn"})
"""The data sets of the papers; averages over them stand beside results on these alone."""


def figures_for(scenario: str, *, dataset: str, model: str) -> tuple[PublishedFigure, ...]:
    """Return the figures that may be shown beside results on one data set and base model.

    Args:
        scenario: The table's scenario.
        dataset: Its data set; ``parquet:cifar10`` and ``folder:cifar10`` count as ``cifar10``.
        model: Its base model.
    """
    images = dataset.rpartition(":")[2].rstrip("/").rpartition("/")[2]
    if images not in PAPERS_DATASETS or dataset.startswith("union:"):
        return ()
    return tuple(
        figure
        for figure in published_figures()
        if figure.scenario == scenario and figure.dataset in ("", images) and figure.model in ("", model)
    )
