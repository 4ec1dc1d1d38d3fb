"""The report's charts as files for papers, and the LaTeX that includes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import vl_convert

from harness.report.charts.chart import Chart, Spec
from harness.report.data import ReportData
from harness.report.theme import FIGURE_WIDTH, figure_spec
from harness.text import latex_text
from harness.views.leaderboards.formats import to_latex
from splitters.files.atomic_write import write_atomically

_DPI = 300

_MAX_FLOATS = 12
"""Figures in a row without text; LaTeX refuses more than 18 where its format is old."""

FORMATS: dict[str, Callable[[Spec], bytes]] = {
    "pdf": lambda spec: bytes(vl_convert.vegalite_to_pdf(spec)),
    "svg": lambda spec: str(vl_convert.vegalite_to_svg(spec)).encode(),
    "png": lambda spec: bytes(vl_convert.vegalite_to_png(spec, ppi=_DPI)),
}
"""What draws a specification, by the file's extension."""

TABLES, FIGURES = "tables.tex", "figures.tex"


def write_figures(charts: Sequence[Chart], folder: Path) -> Iterator[Path]:
    """Write each chart as PDF, SVG and PNG, as wide as a column, and yield the paths.

    Args:
        charts: The charts.
        folder: Where to; it is made.

    Raises:
        OSError: If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        spec = figure_spec(chart)
        for extension, draw in FORMATS.items():
            path = folder / f"{chart.name}.{extension}"
            write_atomically(path, draw(spec))
            yield path


def write_latex(data: ReportData, charts: Sequence[Chart], folder: Path) -> Iterator[Path]:
    """Write the leaderboards as tables, and a figure environment per chart, and yield the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    environments = ["% needs \\usepackage{graphicx}; the files are beside this one"]
    for number, chart in enumerate(charts):
        if number and number % _MAX_FLOATS == 0:
            environments.append(r"\clearpage % LaTeX holds back a limited number of figures")
        environments.append(_environment(chart))
    for name, text in ((TABLES, to_latex(data.board)), (FIGURES, "\n\n".join(environments))):
        path = folder / name
        write_atomically(path, f"{text}\n".encode())
        yield path


def _environment(chart: Chart) -> str:
    caption = latex_text(f"{chart.title}. {chart.caption}")
    return "\n".join(
        [
            r"\begin{figure}",
            r"\centering",
            rf"\includegraphics[width={FIGURE_WIDTH}bp]{{{chart.name}.pdf}}",
            rf"\caption{{{caption}}}",
            rf"\label{{fig:{chart.name}}}",
            r"\end{figure}",
        ]
    )
