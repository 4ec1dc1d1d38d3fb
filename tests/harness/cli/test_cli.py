from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from benchmarks.training.base_model import TrainingError
from harness.cli.errors import report_errors
from harness.config.cache_folder import cache_folder
from splitters.errors import ConfigurationError, DataError, ModuleFileError, SplitFailedError, UnknownNameError

Call = Callable[..., Result]

HEAVY = ("torch", "ray", "pyarrow", "optuna", "numpy", "pydantic")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "-h"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str], environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"main({arguments!r}, prog_name='splitbench', standalone_mode=False)\n"
        f"print('loaded:', sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "splitbench" in done.stdout
    assert done.stdout.endswith("loaded: []\n")


def test_help_lists_the_verbs_and_exit_codes(call: Call) -> None:
    text = call("--help").stdout
    assert all(verb in text for verb in ("run", "plan", "leaderboard", "show", "ls", "Exit codes"))
    assert call("-h").stdout == text


def test_a_module_run_is_the_command(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "--version"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("splitbench ")


def test_an_unknown_verb_is_refused(call: Call) -> None:
    assert call("rnu").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [["rnu\x1b[31m\n"], ["status", "r", "more\x1b[31m\n"], ["run", "--no\x1b[31m\n"], ["ls", "x\x1b[31m\n"]],
)
def test_what_was_typed_is_shown_and_not_obeyed(call: Call, arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "\\x1b[31m\\n" in line


def test_errors_that_are_meant_become_one_message_and_others_keep_their_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @report_errors
    def fail(error: BaseException) -> None:
        raise error

    ends = (
        (ConfigurationError("a call"), 2),
        (UnknownNameError("model", "x", ()), 2),
        (DataError("data"), 2),
        (ModuleFileError("a file"), 2),
        (SplitFailedError("a split"), 1),
        (TrainingError("a training"), 1),
        (OSError("a disk"), 1),
        (KeyboardInterrupt(), 130),
    )
    for error, code in ends:
        with pytest.raises(SystemExit) as caught:
            fail(error)
        assert caught.value.code == code, error
    assert capsys.readouterr().err.splitlines() == [*(f"Error: {error}" for error, _ in ends[:-1]), "Interrupted."]
    for defect in (KeyError("defect"), click.UsageError("click's own")):
        with pytest.raises(type(defect)):
            fail(defect)


def test_the_cache_folder_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITBENCH_CACHE", "/somewhere/else")
    assert cache_folder() == Path("/somewhere/else")
    monkeypatch.delenv("SPLITBENCH_CACHE")
    assert cache_folder().name == "splitbench"


def test_sigterm_ends_a_command_in_order_and_leaves_the_signal_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before, left = signal.getsignal(signal.SIGTERM), []

    @report_errors
    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10.0)
        finally:
            left.append("in order")

    with pytest.raises(SystemExit) as caught:
        work()
    assert (caught.value.code, left) == (130, ["in order"])
    assert capsys.readouterr().err == "Interrupted.\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_a_help_text_for_which_there_is_no_room_is_an_error_in_one_line(
    environment: dict[str, str], arguments: list[str]
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: [Errno 28] No space left on device\n"
