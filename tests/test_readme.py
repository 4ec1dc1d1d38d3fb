"""The README's Python example runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from harness.config.suite import load_suite
from splitters import IMAGENET, ImageSet, Module

README = Path(__file__).parents[1] / "README.md"


def test_the_leaderboard_shows_every_splitter_and_nothing_waits_to_be_filled_in() -> None:
    text = README.read_text(encoding="utf-8")
    for entry in load_suite("quick").splitters:
        assert re.search(rf"^ +\d+ +{entry.name} ", text, re.MULTILINE), entry.name
    assert not re.findall(r"^[A-Z]{6,}$|\bMINUTES\b", text, re.MULTILINE)


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = tuple("abcd")
    pictures = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    labelled = ImageSet(pictures, torch.arange(16) % 4, names, IMAGENET)
    spec = ModelSpec(name="simcnn", settings={"width": 0.03})
    scope = {
        "model": build_model(spec, n_classes=4, input_shape=(3, 32, 32), seed=0).eval(),
        "weak": build_model(spec, n_classes=4, input_shape=(3, 32, 32), seed=1).eval(),
        "train": labelled,
        "select": labelled,
        "images": labelled.images[:4],
    }
    exec(example, scope)
    assert Module.load("three.safetensors").info.class_name == "d"
