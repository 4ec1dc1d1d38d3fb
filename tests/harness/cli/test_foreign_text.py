"""Names, reasons and paths that look like markup or steer a terminal are shown as they are, by every command."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from toys import toy_item, toy_row

from benchmarks.rows.row import Row, State
from harness.cli import main
from harness.cli.output import PlainConsole
from harness.cli.runs.displays.cell_display import LiveDisplay, PlainDisplay
from harness.ranking.leaderboard import make_leaderboard
from harness.store import ResultStore
from harness.text import printable
from harness.views.leaderboards.formats import to_csv, to_json, to_latex, to_markdown
from splitters.methods.protocol import Progress

LABELS = ["grad[/x]", "ours [fast]", "[bold]new", "[sale]", ":smile:", r"back\slash[", "50 % & $x_1$ # ~^{}"]
ROOT = Path(__file__).resolve().parents[3]
REASON = "no weights[/data/w.pt]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ±·é漢", "plain ±·é漢"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\u202eevil", r"\u202eevil"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_breaks_stay_where_they_are_wanted() -> None:
    assert printable("a\nb\x07", keep="\n") == "a\nb\\x07"


@pytest.fixture
def results(tmp_path: Path) -> str:
    store = ResultStore(str(tmp_path / "out" / "a [new]"))
    store.prepare()
    for row in [*good_rows(), failed_row()]:
        store.write(row)
    return str(tmp_path / "out" / "a [new]")


def good_rows() -> list[Row]:
    return [toy_row(label=label, folder=str(number)) for number, label in enumerate(LABELS)]


def failed_row() -> Row:
    row = toy_row(state=State.FAILED, kind="[red]", label="\x1b[2J[/b]", folder="failed")
    return row.model_copy(update={"reason": REASON})


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def test_a_leaderboard_shows_labels_reasons_and_paths_as_they_are(results: str) -> None:
    shown = re.sub(r"\s+", "", run("leaderboard", results))
    for text in [*LABELS, REASON, "[red]", r"\x1b[2J[/b]", f"--results '{results}'"]:
        assert re.sub(r"\s+", "", text) in shown, text


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("md", ["| ours [fast] |", "| [bold]new |", REASON]),
        ("csv", [",ours [fast],", ",[bold]new,"]),
        ("json", ['"ours [fast]"', '"[bold]new"']),
        ("latex", ["& ours {[}fast{]} &", "& {[}bold{]}new &"]),
    ],
)
def test_every_format_shows_labels_as_they_are(results: str, form: str, texts: list[str]) -> None:
    shown = run("leaderboard", results, "--format", form)
    for text in texts:
        assert text in shown


def test_one_cell_is_shown_with_its_reason(results: str) -> None:
    assert REASON in run("show", failed_row().cell_id, "--results", results)


def test_status_shows_a_results_folder_with_brackets(results: str) -> None:
    assert f"{len(LABELS) + 1} cells with rows" in run("status", results)


@pytest.mark.parametrize("live", [True, False])
def test_running_cells_are_shown_as_they_are(live: bool) -> None:
    output = io.StringIO()
    console = PlainConsole(file=output, width=300, force_terminal=live, color_system=None)
    display = (LiveDisplay if live else PlainDisplay)(console, 1)
    item = toy_item(seed=1, label="grad[/x]")
    with display:
        display.started(item)
        display.progressed(item, Progress("[/bold]\x1b[2J", 1, 2, {"accuracy": 0.5}, milestone=True))
        display.finished(item, failed_row())
    assert "grad[/x]" in output.getvalue()
    assert REASON in output.getvalue()
    assert "\x1b[2J" not in output.getvalue()
    if not live:
        assert r"[/bold]\x1b[2J 1/2" in output.getvalue()


def test_an_error_shows_what_was_given(tmp_path: Path) -> None:
    assert "[/b].yaml" in run("run", str(tmp_path / "[/b].yaml"))
    assert "[/nothing]" in run("leaderboard", str(tmp_path / "[/nothing]"))


# --- LaTeX


LATEX_LABELS = (
    "a_b & 50% {x} #1 ~^\\", "[1pt]", "*star", "a|b<c>d", "x--y ?` ``q''", '"quoted" $x$', "Ärger ß ğ ł Wąż ðþ «é»",
    "β-VAE α→ω ≥ × … — “q” °", "中文方法", "🚀", "e\u0301x\u0301", "\u00a0", "name " * 30,
)  # fmt: skip


def boards_text(*labels: str) -> str:
    rows = [toy_row(label=label, folder=f"latex {number}") for number, label in enumerate(labels)]
    return to_latex(make_leaderboard([*good_rows(), *rows]))


def test_no_line_end_is_followed_by_what_latex_takes_for_its_argument() -> None:
    text = boards_text("[1pt]")
    assert not re.search(r"\\\\(\s|%[^\n]*\n)*[\[*]", text)
    without_commands = re.sub(r"(?m)^%.*$", "", re.sub(r"\\[&%$#_{}]", "", text))
    assert not re.search(r"(?<!\\)[#~^]|(?<!\\)_", re.sub(r"\$\\\w+\$|\\\w+\{\}", "", without_commands))


@pytest.mark.skipif(not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="no LaTeX here")
def test_the_tables_compile(tmp_path: Path) -> None:
    begin, end = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}", "\\end{document}"
    page = "\n".join([begin, boards_text(*LATEX_LABELS), end])
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    program = shutil.which("pdflatex") or shutil.which("tectonic")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if program.endswith("pdflatex") else []
    done = subprocess.run([program, *options, "page.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_all_formats_name_the_same_digits() -> None:
    board = make_leaderboard([toy_row(seed=seed, loss=0.01 * seed) for seed in (1, 2, 3)])
    loss = json.loads(to_json(board))[0]["accuracy_loss"]
    assert repr(loss) in to_csv(board)
    assert f"{round(100 * loss, 2) + 0:.2f}" in to_markdown(board)
    assert f"{round(100 * loss, 2) + 0:.2f}" in to_latex(board)


# --- streams


def test_stdout_is_kept_for_json_whoever_else_prints() -> None:
    code = """
import os, sys
from harness.cli.output import reserved_stdout, show_json
with reserved_stdout():
    print("a plug-in was here")
    os.system("echo and a program")
    show_json({"é": 1})
print("later")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.removesuffix("later\n")) == {"é": 1}
    assert done.stderr.splitlines() == ["a plug-in was here", "and a program"]


def test_json_stands_alone_though_a_plug_in_prints_when_it_is_imported_and_at_exit(tmp_path: Path) -> None:
    (tmp_path / "loud_plugin.py").write_text(
        "import atexit, ctypes\nprint('hello from the plug-in')\natexit.register(print, 'and at exit')\n"
        "ctypes.CDLL(None).puts(b'and from C, whose buffer is written at exit')\n"
    )
    (tmp_path / "loud.yaml").write_text(
        "name: loud\nplugins: [loud_plugin]\nseeds: [1]\nsplitters: [full]\nmodels: [simcnn]\ndatasets: [digits]\n"
    )
    command = [sys.executable, "-m", "harness", "plan", "loud.yaml", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suite"] == "loud"
    for text in ("hello from the plug-in", "and at exit", "and from C"):
        assert text in done.stderr


def test_a_terminal_that_says_it_has_no_columns_shows_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    output = io.StringIO()
    PlainConsole(file=output, force_terminal=True).print("text")
    assert "text" in output.getvalue()


def test_streams_that_the_caller_closed_are_open_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "__stdout__"):
        monkeypatch.setattr(sys, name, None)
    main(["--version"], standalone_mode=False)
    assert sys.stdout is sys.__stdout__
    with sys.stdout as stream:
        assert stream.write("a plug-in prints") == len("a plug-in prints")


def test_an_encoding_that_lacks_a_character_stops_no_command(results: str) -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    command = [sys.executable, "-m", "harness", "leaderboard", results]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "^ v say which direction is better; +- is half a 95 % t-interval" in " ".join(done.stdout.split())
    done = subprocess.run([*command, "--json"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert {entry["splitter"] for entry in json.loads(done.stdout)}


def test_in_a_pipe_tables_are_as_wide_as_columns_says(results: str) -> None:
    command = [sys.executable, "-m", "harness", "leaderboard", results]
    widths = []
    for columns in ("", "no number", "0", "160"):
        environment = {"PATH": "", "PYTHONIOENCODING": "utf-8", "COLUMNS": columns}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
        widths.append(max(map(len, done.stdout.splitlines())))
    assert widths[:3] == [widths[0]] * 3
    assert 60 < widths[0] <= 100 < widths[3] <= 160


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = undefined_name\n", r"broken_plugin.py, line 1: NameError: name 'undefined_name' is not defined"),
        ("\n1 / 0\n", r"broken_plugin.py, line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", r"broken_plugin.py, line 1: SyntaxError"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("import json\njson.loads('')\n", "broken_plugin.py, line 2: JSONDecodeError: Expecting value"),
        ("import sys\nsys.exit(0)\n", "broken_plugin.py, line 2: SystemExit: 0"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_named_with_file_line_and_cause(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "broken_plugin.py").write_text(text)
    (tmp_path / "broken.yaml").write_text(
        "name: broken\nplugins: [broken_plugin]\nseeds: [1]\nsplitters: [full]\nmodels: [simcnn]\ndatasets: [digits]\n"
    )
    done = CliRunner().invoke(main, ["plan", str(tmp_path / "broken.yaml")])
    sys.modules.pop("broken_plugin", None)
    assert done.exit_code == 2
    assert "the plugin 'broken_plugin' cannot be imported: " in done.output
    assert complaint in done.output
    assert "Traceback" not in done.output
