"""A pipe in the place of a file is refused, instead of being waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result


@pytest.mark.parametrize(
    "arguments",
    [
        ["card", "pipe"],
        ["evaluate", "pipe", "--data", "digits"],
        ["export", "pipe", "--to", "onnx", "--out", "o"],
        ["compose", "pipe", "--out", "o"],
        ["module", "info", "pipe"],
        ["evaluate", "--model", "simcnn", "--weights", "pipe", "--data", "digits"],
        ["evaluate", "--model", "simcnn", "--weights", "w", "--class-map", "pipe", "--data", "digits"],
        ["patch", "--module", "pipe", "--target-class", "c", "--data", "digits", "--out", "o"],
    ],
)
def test_a_pipe_is_refused(
    call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    result = call(*arguments)
    assert result.exit_code == 2
    assert "'pipe' is a pipe or a device, and no regular file." in result.stderr
