"""What is sent to a cluster, and how it is asked for; the cluster itself is a stand-in that notes what it is sent."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from toys import ROOT

from harness.clusters import remote
from harness.clusters.cluster_file import read_cluster_file
from harness.clusters.shipment import CALL_FILE, pack
from harness.machines.provenance import git_commit

Call = Callable[..., Result]


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A cluster's file that is filled in."""
    text = (ROOT / "docs" / "clusters" / "local.yaml").read_text()
    for old, new in {"YOUR-HEAD": "10.0.0.1", "YOUR-WORKER-": "10.0.0.", "YOUR-NAME": "me"}.items():
        text = text.replace(old, new)
    path = tmp_path / "my cluster.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What Ray's command line is called with, and, first, the call that was sent."""
    calls: list[list[str]] = []

    def ray(command: list[str], **keys: Any) -> subprocess.CompletedProcess[str]:
        assert isinstance(command, list), "no shell"
        assert not keys.get("shell")
        words = command[3:]
        calls.append(words)
        if words[0] == "rsync-up":
            calls.append(json.loads((Path(words[2]) / CALL_FILE).read_text()))
        if words[0] == "exec" and words[2].startswith("test -d"):
            return subprocess.CompletedProcess(command, 0, f"{words[2]}\nfolder-{int('curves' in words[2])}\n")
        return subprocess.CompletedProcess(command, 0, "Job 'x' succeeded")

    def copy_quickly(folder: Path, commit: str | None) -> None:
        (folder / "harness").mkdir()

    monkeypatch.setattr(remote.subprocess, "run", ray)
    monkeypatch.setattr("harness.clusters.shipment._unpack_wheel_of_checkout", copy_quickly)
    monkeypatch.setattr("harness.clusters.shipment.git_commit", lambda: "abc")
    monkeypatch.setattr("harness.clusters.shipment._ROOT", ROOT)
    return calls


def test_the_call_travels_in_a_file_and_the_job_outlives_the_connection(
    call: Call, write_suite: Callable[..., Path], cluster: Path, sent: list[list[str]]
) -> None:
    suite = write_suite()
    result = call("submit", suite, "--cluster", cluster, "--set", "splitters.toy.loss=0.3", "--seeds", 2)
    assert result.exit_code == 0, result.output
    up, words, start, follow, state = sent
    assert words == [
        "run", "toys.yaml", "--address", "auto", "--results", "~/splitbench-results/toys",
        "--set", "splitters.toy.loss=0.3", "--seeds", "2",
    ]  # fmt: skip
    assert up[:2] == ["rsync-up", str(cluster)]
    assert "--no-wait" in start[2]
    assert start[2].startswith(
        "env RAY_AUTH_MODE=token ~/splitbench-env/bin/ray job submit --address http://127.0.0.1:8265"
    )
    assert "~/splitbench-env/bin/python -m harness.cli.clusters.job && rm -r" in start[2]
    assert "job logs" in follow[2]
    assert "job status" in state[2]


def test_a_sweep_is_known_as_one_and_sent_with_its_plugins(
    call: Call, write_sweep: Callable[..., Path], cluster: Path, sent: list[list[str]]
) -> None:
    result = call("submit", write_sweep(), "--cluster", cluster, "--set", "trials=9", "--data-root", "~/data")
    assert result.exit_code == 0, result.output
    assert sent[1] == [
        "sweep", "bowls.yaml", "--address", "auto", "--results", "~/splitbench-results/bowls",
        "--set", "trials=9", "--data-root", "~/data",
    ]  # fmt: skip
    assert "bowl_plugin.py" in result.stderr


def test_a_sweep_of_the_package_is_sent_by_its_name(call: Call, cluster: Path, sent: list[list[str]]) -> None:
    assert call("submit", "sweep-quick", "--cluster", cluster).exit_code == 0
    assert sent[1][:2] == ["sweep", "sweep-quick"]


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        ({}, ["--seeds", "3"], "--seeds: for suites only"),
        ({}, ["--only", "seed=1", "--timeout", "3m"], "--only, --timeout: for suites only"),
        ({"trials": 0}, [], "trials"),
        ({"splitters": ["bwl"]}, [], "Did you mean 'bowl'"),
    ],
)
def test_a_sweep_that_cannot_be_run_so_is_not_sent(
    call: Call, write_sweep: Callable[..., Path], cluster: Path, sent: list[list[str]], keys: Any, options: list[str],
    message: str,
) -> None:  # fmt: skip
    result = call("submit", write_sweep(**keys), "--cluster", cluster, *options)
    assert (result.exit_code, sent) == (2, [])
    assert message in result.stderr


def test_it_says_what_it_sends_and_how_to_come_back(
    call: Call, write_suite: Callable[..., Path], cluster: Path, sent: list[list[str]]
) -> None:
    result = call("submit", write_suite(), "--cluster", cluster, "--no-follow")
    assert "code only" in result.stderr
    assert "commit abc" in result.stderr
    assert "toys.yaml" in result.stderr
    assert "toy_plugin.py" in result.stderr
    assert f"ray exec '{cluster}'" in result.stdout
    assert "splitbench status splitbench-results/toys" in result.stdout
    assert len(sent) == 3


def test_a_dry_run_shows_what_would_be_sent_and_reaches_for_no_cluster(
    call: Call, write_suite: Callable[..., Path], cluster: Path, sent: list[list[str]]
) -> None:
    result = call("submit", write_suite(), "--cluster", cluster, "--dry-run", "--results", "s3://b/a b")
    assert (result.exit_code, sent) == (0, [])
    assert result.stdout.startswith("Would upload ")
    assert "toy_plugin.py" in result.stdout
    assert "Command: splitbench run toys.yaml --address auto --results 's3://b/a b'" in result.stdout


@pytest.mark.parametrize("evil", ["$(touch hacked)", "; touch hacked", "`touch hacked`", "' && touch hacked '"])
def test_no_word_of_the_users_reaches_a_shell(
    call: Call, write_suite: Callable[..., Path], cluster: Path, sent: list[list[str]], evil: str
) -> None:
    results = f"s3://bucket/{evil}"
    assert call("submit", write_suite(name="toys"), "--cluster", cluster, "--results", results).exit_code == 0
    assert results in sent[1]
    for words in [sent[0], *sent[2:]]:
        assert all(evil not in word for word in words)


def test_the_sent_folder_runs_by_itself_and_knows_its_commit(tmp_path: Path, write_suite: Callable[..., Path]) -> None:
    suite, folder = write_suite(), tmp_path / "sent"
    folder.mkdir()
    words = ["run", suite.name, "--backend", "inline", "--results", str(tmp_path / "r"), "--json"]
    shipment = pack(folder, words, suite=suite, plugins=("toy_plugin",))
    assert shipment.files == (CALL_FILE, "toys.yaml", "toy_plugin.py")
    assert shipment.n_bytes < 5 << 20
    assert not list(folder.rglob("*.pyc"))
    # -S leaves the editable installation out; the folder is all there is of Splitbench.
    site = next(entry for entry in sys.path if entry.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, "-S", "-m", "harness.cli.clusters.job"],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{site}", "SPLITBENCH_CACHE": str(tmp_path / "c"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    files = list((tmp_path / "r" / "rows").rglob("*.parquet"))
    assert len(files) == 2
    assert pq.ParquetFile(files[0]).read(columns=["git_commit"])["git_commit"][0].as_py() == git_commit()


def test_a_copy_of_the_sources_without_its_history_is_sent_too() -> None:
    from harness.clusters import shipment

    copied, tracked = set(shipment._all_files()), set(shipment._tracked_files()) if git_commit() else set()
    assert {Path("pyproject.toml"), Path("harness/cli/runs/run.py"), Path("benchmarks/suites/quick.yaml")} <= copied
    assert tracked <= copied
    assert not [path for path in copied if path.suffix == ".pyc"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([ROOT / "cluster.yaml"], "line 21: .*is still to be filled in"),
        (["none.yaml"], "none.yaml: the cluster's file cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_sends_nothing(
    call: Call, write_suite: Callable[..., Path], sent: list[list[str]], options: list[Path | str], message: str
) -> None:
    import re

    result = call("submit", write_suite(), "--cluster", *options)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)
    assert sent == []


def test_a_wrong_suite_sends_nothing(
    call: Call, write_suite: Callable[..., Path], cluster: Path, sent: list[list[str]]
) -> None:
    assert call("submit", write_suite(splitters=["tony"]), "--cluster", cluster).exit_code == 2
    assert sent == []


def test_a_cluster_that_does_not_answer_is_told_plainly(
    call: Call, write_suite: Callable[..., Path], cluster: Path, sent: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(command: list[str], **keys: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "ssh: no route to host\n")

    monkeypatch.setattr(remote.subprocess, "run", down)
    result = call("submit", write_suite(), "--cluster", cluster)
    assert result.exit_code == 2
    assert "no route to host Is the cluster up? 'ray up" in result.stderr


def test_rows_on_the_head_are_fetched_over_ssh(
    call: Call, cluster: Path, sent: list[list[str]], tmp_path: Path
) -> None:
    target = tmp_path / "here"
    result = call("fetch", "splitbench-results/folder-1/toys", "--cluster", cluster, "--to", target)
    assert result.exit_code == 0, result.output
    folders = [words[2] for words in sent if words[0] == "rsync-down"]
    assert folders == [f"~/splitbench-results/folder-1/toys/{folder}/" for folder in ("rows", "sweeps")]
    assert all(words[1] == str(cluster) for words in sent)
    assert sorted(path.name for path in target.iterdir()) == ["rows", "sweeps"], "no folder for what was not there"


def test_what_users_type_to_follow_is_one_command_with_its_words_quoted(cluster: Path) -> None:
    words = shlex.split(remote.RemoteCluster(read_cluster_file(cluster)).follow_hint("toys-1"))
    assert words[:3] == ["ray", "exec", str(cluster)]
    assert words[3].endswith("job logs --address http://127.0.0.1:8265 --follow toys-1")
