"""The report as one HTML page: style, scripts, charts and data are in it, and nothing is fetched."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cache
from importlib import metadata, resources
from itertools import islice
from typing import Any

import jinja2
import vl_convert

from harness.config.cache_folder import cache_folder
from harness.ranking.leaderboard import Section
from harness.report.charts.budgets import budget_charts
from harness.report.charts.chart import Chart
from harness.report.charts.costs import cost_charts
from harness.report.charts.curves import learning_charts, sensitivity_charts
from harness.report.charts.matrices.confusions import composed_confusions, patched_confusions
from harness.report.charts.matrices.modules import overlap_charts, retention_charts
from harness.report.charts.overall import overall_charts
from harness.report.charts.pareto import pareto_charts
from harness.report.charts.reuse import composition_charts, patch_charts
from harness.report.charts.sweeps import sweep_charts
from harness.report.data import ReportData
from harness.report.methods import DARK, LIGHT, SHAPE_PATHS
from harness.report.tables import (
    Table,
    budget_tables,
    cell_index,
    failure_table,
    leaderboard_notes,
    leaderboard_tables,
    provenance_table,
    source_table,
    warning_table,
)
from harness.report.theme import screen_spec
from harness.report.verdict import caveats, overview, verdicts
from harness.store import Storage
from harness.sweep.study.results import SweepResults
from harness.text import printable

MAX_CHARTS = 24
"""Charts of one topic; a page with more would be slow, and nobody would look at all of them."""


@dataclass(frozen=True)
class Topic:
    """A part of the report.

    Args:
        name: Its anchor.
        title: Its heading.
        lead: How it was computed, in a sentence or two.
        charts: Its charts.
        tables: Its tables.
        notes: Further sentences.
    """

    name: str
    title: str
    lead: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default_factory=tuple)


SectionCharts = Callable[[ReportData, int, Section], Iterator[Chart]]

_BY_SECTION: tuple[tuple[str, str, str, tuple[SectionCharts, ...]], ...] = (
    (
        "pareto",
        "Accuracy against cost",
        "A method is worth its cost where no other one is both smaller and more accurate. Point at a mark for its "
        "cell, and click it to copy the command that runs it again; the names above a chart single out what they name.",
        (pareto_charts,),
    ),
    (
        "budgets",
        "At equal budgets",
        "Single results mix two costs. Splitters record states on their way; read off these, methods are compared at "
        "the same share of kernels, and after the same time.",
        (budget_charts,),
    ),
    (
        "modules",
        "What modules keep",
        "Which layers a method thins out, for which classes, and how far the modules share their kernels.",
        (retention_charts, overlap_charts),
    ),
    (
        "searches",
        "How the searches went",
        "What splitters reported while they searched, on select images; splits that scenarios share count once.",
        (learning_charts,),
    ),
    (
        "sensitivity",
        "Sensitivity of layers",
        "How composed accuracy falls when a single layer loses kernels, from splitters that measure it.",
        (sensitivity_charts,),
    ),
    (
        "patches",
        "Patches",
        "Weak models before and after a module takes over the target class, on test images.",
        (patch_charts, patched_confusions),
    ),
    (
        "compositions",
        "Composed models",
        "Models composed of modules, against the models that one would use instead, on test images.",
        (composition_charts, composed_confusions),
    ),
    (
        "costs",
        "Time and memory",
        "Where a cell’s time goes. Cells that share a GPU or run beside others are slower than alone.",
        (cost_charts,),
    ),
)
"""Topics with charts for each table of the leaderboard: anchor, heading, lead, charts."""


def topics(data: ReportData, sweeps: Sequence[SweepResults]) -> list[Topic]:
    """Return the parts of a report that have something to show, in order."""
    found = [_topic(name, title, lead, _section_charts(data, makers)) for name, title, lead, makers in _BY_SECTION]
    found = [
        replace(topic, tables=budget_tables(data)) if topic.name == "budgets" and topic.charts else topic
        for topic in found
    ]
    lead = "Trials are chosen on select images; only what was chosen is scored on test."
    of_sweeps = (chart for number, results in enumerate(sweeps) for chart in sweep_charts(data, number, results))
    found.insert(-1, _topic("sweeps", "Sweeps", lead, of_sweeps))
    over_all = "Each base model and data set counts as one observation, so that no easy one outweighs the others."
    found.insert(0, _topic("overall", "Over all base models and data sets", over_all, overall_charts(data)))
    return [topic for topic in found if topic.charts]


def _section_charts(data: ReportData, makers: Iterable[SectionCharts]) -> Iterator[Chart]:
    for number, section in enumerate(data.sections):
        for make in makers:
            yield from make(data, number, section)


def _topic(name: str, title: str, lead: str, charts: Iterator[Chart]) -> Topic:
    """Return a topic of the first charts; further ones are not made."""
    shown = list(islice(charts, MAX_CHARTS))
    more = len(shown) == MAX_CHARTS and next(charts, None) is not None
    notes = [f"The first {MAX_CHARTS} charts are shown; there are more."] if more else []
    return Topic(name, title, lead, shown, notes=notes)


def make_page(data: ReportData, parts: Sequence[Topic], *, notes: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        data: The results.
        parts: What ``topics`` returned for them.
        notes: What could not be shown, and why.
    """
    suites = sorted(set(data.rows.values("suite")))
    failures = [table for table in (failure_table(data), warning_table(data)) if table is not None]
    template = _environment().get_template("page.html.j2")
    return template.render(
        title=", ".join(suites[:3]) or "no rows",
        results=data.results,
        written=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        overview=overview(data),
        verdicts=verdicts(data),
        caveats=[*caveats(data), *notes],
        methods=[(name, data.methods.colour(name)) for name in data.methods.names],
        leaderboards=leaderboard_tables(data),
        leaderboard_notes=leaderboard_notes(data),
        topics=parts,
        failures=failures,
        sources=[provenance_table(data), source_table(data)],
        specs=_json({chart.name: _packed(screen_spec(chart)) for topic in parts for chart in topic.charts}),
        cells=_json(cell_index(data)),
        n_cells=len(data.rows),
        shapes=SHAPE_PATHS,
        light=LIGHT,
        dark=DARK,
        style=_asset("report.css"),
        script=_asset("report.js"),
        library=_library(),
    )


def _environment() -> jinja2.Environment:
    """Return the templates' environment, which escapes every text, and what cannot be seen in it."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return resources.files("harness.report").joinpath("assets").joinpath(name).read_text(encoding="utf-8")


def _packed(spec: Any) -> Any:
    """Return a specification whose data are columns, with each text once: a third of what records would take."""
    if isinstance(spec, list):
        return [_packed(inner) for inner in spec]
    if not isinstance(spec, Mapping):
        return spec
    return {name: _packed_data(inner) if name == "data" else _packed(inner) for name, inner in spec.items()}


def _packed_data(data: Mapping[str, Any]) -> Mapping[str, Any]:
    records = data["values"]
    names = {name: None for record in records for name in record}
    if any(len(record) < len(names) for record in records):
        return data  # What a record lacks is not null.
    return {"packed": {name: _packed_column([record[name] for record in records]) for name in names}}


def _packed_column(values: list[Any]) -> Any:
    if not all(isinstance(value, str) for value in values):
        return values
    texts = {text: number for number, text in enumerate(dict.fromkeys(values))}
    return {"texts": list(texts), "at": [texts[value] for value in values]}


def _json(value: Any) -> str:
    """Return JSON that may stand in a script element: no character in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _library() -> str:
    """Return the scripts of Vega, Vega-Lite and Vega-Embed (BSD-3-Clause), as vl-convert bundles them.

    Bundling takes seconds, so the cache folder keeps the result.
    """
    cache_name, storage = f"report/vega-{metadata.version('vl-convert-python')}.js", Storage(str(cache_folder()))
    try:
        return storage.read(cache_name).decode()
    except OSError:
        script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    if "</script" in script.lower() or "<!--" in script:
        raise RuntimeError("the bundle of Vega cannot stand in an HTML page")
    with contextlib.suppress(OSError):
        storage.put(cache_name, script.encode(), durable=False)
    return script
