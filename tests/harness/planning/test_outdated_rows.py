"""Images that change in the same folder: plan and run say so, and their cells run again."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from benchmarks.data.sources import folder as folder_module
from harness.store import ResultStore

Call = Callable[..., Result]

SUITE = """
name: own
models: [{name: simplecnn, settings: {width: 0.05, convolutions: 2}}]
datasets: [{name: "folder:pets", input_shape: [3, 16, 16]}]
training: {recipe: one_cycle, epochs: 1, batch_size: 8}
splitters: [full]
threads: 1
"""


def write_images(root: Path, *, names: tuple[str, ...] = ("cat", "dog"), seed: int = 0, age: float = 100.0) -> None:
    """Write images that were there for a while."""
    rng = np.random.default_rng(seed)
    for part in ("train", "test"):
        for name in names:
            for number in range(10):
                path = root / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
                os.utime(path, (time.time() - age,) * 2)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "data" / "pets")
    (tmp_path / "own.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(call: Call) -> Result:
    result = call("run", "own.yaml", "--backend", "inline", "--data-root", "data")
    assert result.exit_code == 0, result.stderr
    return result


def to_do(call: Call) -> int:
    counts: dict[str, int] = json.loads(call("plan", "own.yaml", "--json").stdout)["counts"]
    return counts["to do"]


def test_changed_images_are_told_of_and_their_cells_run_again(call: Call, at_home: Path) -> None:
    run(call)
    assert "Nothing to do" in run(call).stdout
    assert to_do(call) == 0
    kept = at_home / "kept"
    shutil.copytree(at_home / "data" / "pets", kept)
    for number in range(3):
        shutil.copy(kept / "train" / "dog" / f"{number}.png", at_home / "data" / "pets" / "train" / "cat")
    planned = call("plan", "own.yaml")
    assert "folder:pets: 3 files changed since 1 row was written; their cells run again." in planned.stderr
    assert "1 to do" in planned.stdout
    again = run(call)
    assert "folder:pets: 3 files changed since 1 row was written" in again.stderr
    assert "1 cell run, 0 were done before." in again.stdout
    rows = ResultStore("results/own").read()
    (counting,) = rows.latest()
    assert len({row.dataset_hash for row in rows.attempts(counting.cell_id)}) == 2
    assert counting.dataset_hash == rows.attempts(counting.cell_id)[-1].dataset_hash
    assert "Nothing to do" in run(call).stdout
    # Back to the first images: the rows of the second do not count for these either.
    shutil.rmtree(at_home / "data" / "pets")
    shutil.copytree(kept, at_home / "data" / "pets")
    assert to_do(call) == 1


def test_files_that_are_touched_or_copied_with_the_same_content_change_nothing(call: Call, at_home: Path) -> None:
    run(call)
    for path in (at_home / "data").rglob("*.png"):
        path.touch()
    assert call("plan", "own.yaml").stderr == ""
    assert "Nothing to do" in run(call).stdout


def test_images_changed_in_place_are_noticed_though_size_and_time_are_as_before(call: Call, at_home: Path) -> None:
    path = at_home / "data" / "pets" / "train" / "cat" / "3.bmp"
    Image.new("RGB", (16, 16), "red").save(path)
    os.utime(path, ns=(10**18, 10**18))
    run(call)
    before = path.stat()
    Image.new("RGB", (16, 16), "blue").save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert (
        "folder:pets: 1 file changed since 1 row was written; their cells run again." in call("plan", "own.yaml").stderr
    )


def test_without_the_cache_changed_images_are_noticed_all_the_same(call: Call, at_home: Path, cache: Path) -> None:
    run(call)
    shutil.rmtree(cache)
    assert "Nothing to do" in run(call).stdout
    shutil.rmtree(cache)
    (at_home / "data" / "pets" / "train" / "cat" / "3.png").unlink()
    again = run(call)
    assert "folder:pets: the images have changed since 1 row was written" in again.stderr
    assert "1 cell run" in again.stdout


def test_files_that_are_as_they_were_are_not_read_again(
    call: Call, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(call)

    def read(files: object) -> str:
        raise AssertionError("images were hashed")

    monkeypatch.setattr(folder_module, "hash_files", read)
    assert "Nothing to do" in run(call).stdout
    assert to_do(call) == 0


def test_rows_count_where_the_images_are_not(call: Call, at_home: Path) -> None:
    run(call)
    shutil.rmtree(at_home / "data")
    assert to_do(call) == 0


def test_a_failure_on_changed_images_is_not_hidden_by_the_earlier_row(call: Call, at_home: Path) -> None:
    run(call)
    (at_home / "data" / "pets" / "train" / "cat" / "3.png").write_bytes(b"no image")
    result = call("run", "own.yaml", "--backend", "inline", "--data-root", "data")
    assert result.exit_code == 1
    assert "folder:pets: the images have changed" in result.stderr
    assert "failed" in result.stderr
