from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from harness.temporary_folders import temporary_folder

CODE = """
import time
from harness.temporary_folders import temporary_folder
with temporary_folder("tune") as folder:
    (folder / "state").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_removed_after_its_block(temporary: Path) -> None:
    with temporary_folder("tune") as folder:
        assert folder.parent == temporary
        assert folder.name.startswith(f"splitbench-tune-{os.getpid()}-")
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_processes_are_removed_by_the_next_and_those_of_living_ones_stay(temporary: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CODE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        left = Path(process.stdout.readline().strip())
        with temporary_folder("tune"):
            assert left.is_dir(), "its process lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
    (temporary / "splitbench-tune-mine").mkdir()
    with temporary_folder("tune") as folder:
        assert sorted(temporary.iterdir()) == sorted([folder, temporary / "splitbench-tune-mine"])


def test_a_folder_of_a_process_whose_number_was_given_anew_is_removed(temporary: Path) -> None:
    (temporary / f"splitbench-tune-{os.getpid()}-1-abcdefgh").mkdir()
    with temporary_folder("tune") as folder:
        assert list(temporary.iterdir()) == [folder]
