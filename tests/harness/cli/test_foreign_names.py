"""Every command is walked with names that look like markup or steer a terminal: classes, labels, files, folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import Result
from PIL import Image

from harness.store import ResultStore

Call = Callable[..., Result]

CLASSES = ["[bold]", "[red]cat", "dog [fast]", ":smile:", "a\x1b[31mb", "new\nline"]
DATA, SUITE, RESULTS = "folder:pets [q]", "s[1].yaml", "out/a [new]"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images of such classes, and a suite of such labels."""
    random = np.random.default_rng(0)
    for part, count in {"train": 20, "test": 4}.items():
        for index, name in enumerate(CLASSES):
            folder = tmp_path / "data [z]" / "pets [q]" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(random.normal(30 + 35 * index, 15, (16, 16, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    suite = {
        "name": "small",
        "models": [{"name": "rescnn", "settings": {"width": 0.03}}],
        "datasets": [DATA],
        "training": {"recipe": "one_cycle", "epochs": 1, "learning_rate": 0.05, "batch_size": 32},
        "splitters": [
            {"name": "importance", "label": "grad[/x]", "settings": {"retention": 0.8}},
            {"name": "full", "label": "ours [fast]\n\x1b[31m"},
        ],
    }
    (tmp_path / SUITE).write_text(yaml.safe_dump(suite))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def walk(call: Call) -> Callable[..., str]:
    """Calls a command that must go well, or with ``code``, and returns what it shows without its line breaks."""

    def walked(*arguments: str | Path, code: int = 0) -> str:
        result = call(*arguments)
        assert result.exit_code == code, result.output
        assert "\x1b" not in result.output
        return "".join(result.output.split())

    return walked


def spaceless(text: str) -> str:
    return "".join(text.split())


def test_suites_and_their_rows(workplace: Path, walk: Callable[..., str]) -> None:
    root = ["--data-root", workplace / "data [z]"]
    assert "grad[/x]" in walk("plan", SUITE, "--results", RESULTS)
    shown = walk("run", SUITE, "--results", RESULTS, "--backend", "inline", *root)
    assert spaceless(f"Rows: {RESULTS}/rows") in shown
    assert "grad[/x]" in shown
    assert "grad[/x]" in walk("leaderboard", RESULTS)
    (cell_id,) = [row.cell_id for row in ResultStore(RESULTS).read().latest() if row.splitter_label == "grad[/x]"]
    assert "grad[/x]" in walk("show", cell_id, "--results", RESULTS)
    assert "thesamenumbersasbefore" in walk("rerun", cell_id, "--results", RESULTS, *root)
    assert "2cellswithrows" in walk("status", RESULTS)
    assert spaceless("Rows: out/b[/x]/rows") in walk("fetch", RESULTS, "--to", "out/b[/x]")
    walk("doctor", "--results", RESULTS)


def test_single_models(workplace: Path, walk: Callable[..., str]) -> None:
    root = ["--data-root", workplace / "data [z]"]
    common = ["--suite", SUITE, "--data", DATA, *root]
    assert "w[/x]:rescnn" in walk("train", *common, "--model", "rescnn", "--out", "w[/x]")
    split = walk("split", *common, "--weights", "w[/x]", "--splitter", "importance", "--out", "m [b]")
    modules = sorted((workplace / "m [b]").glob("*.safetensors"))
    assert len(modules) == len(CLASSES)
    composed = walk("compose", *modules, "--out", "c[/x]")
    evaluated = walk("evaluate", "c[/x]", "--data", DATA, *root)
    for name in ["[bold]", "[red]cat", "dog[fast]", ":smile:", r"a\x1b[31mb", r"new\nline"]:
        assert name in split
        assert name in evaluated
    assert "c[/x]:" in composed
    assert "class_name" in walk("module", "info", modules[0])
    patch = ["patch", "--weak", "w[/x]", "--module", modules[0], "--data", DATA, "--out", "p[/x]", *root]
    assert "p[/x]:patchedfor':smile:'" in walk(*patch, "--target-class", ":smile:")
    assert "no[/such]" in walk(*patch, "--target-class", "no[/such]", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"], ["plan"], ["leaderboard"], ["status"], ["front"], ["sweep"], ["fetch"],
        ["submit", "quick", "--cluster"],
        ["show", "ab", "--results"],
        ["rerun"], ["module", "info"], ["compose", "--out", "x"], ["evaluate", "--data", "digits"],
        ["export-study", "--out", "x"], ["train", "--data", "digits", "--out", "x", "--model"],
        ["split", "--data", "digits", "--out", "x", "--splitter", "full", "--model"], ["ls"],
        ["plan", "quick", "--cluster"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_there_is_named_as_it_was_written(
    workplace: Path, walk: Callable[..., str], arguments: list[str]
) -> None:
    assert "no[/x]" in walk(*arguments, "no[/x].yaml", code=2)
