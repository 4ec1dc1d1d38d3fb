"""docs/clusters/slurm.sh gives sbatch, srun, Ray and Splitbench only what they accept, and each task its shard."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from toys import ROOT

from harness.cli import main

FOLDER = ROOT / "docs" / "clusters"

# Slurm: what sbatch and srun take (their manual pages), what Ray takes (Ray itself), and what Splitbench takes.
_SBATCH = {
    "job-name": r"[\w-]+", "nodes": r"\d+", "ntasks-per-node": r"\d+", "gpus-per-node": r"\d+", "cpus-per-task": r"\d+",
    "time": r"\d+:\d\d:\d\d", "output": r"[\w%.-]+", "signal": r"[A-Z]+@\d+",
}  # fmt: skip
_SRUN = {"nodes": r"\d+", "ntasks": r"\d+", "kill-on-bad-exit": "[01]"}


def wrong_options(words: list[str], known: dict[str, str]) -> list[str]:
    """Return the words that are no ``--option=value`` of those that are known."""
    parsed = [(word, re.fullmatch(r"--([\w-]+)=(.*)", word)) for word in words]
    return [word for word, match in parsed if not match or not re.fullmatch(known.get(match[1], "(?!)"), match[2])]


def slurm_faults(text: str, folder: Path, *arguments: str, array: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with a batch script: in its header, and in what it calls where it runs."""
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import symmetric_run

    programs = folder / "splitbench-env" / "bin"
    programs.mkdir(parents=True)
    for name, does in {"scontrol": "seq -f n%g 1 20000", "srun": 'printf "%s\\n" "$@" > "$HOME/called"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    facts = {
        "HOME": str(folder), "PATH": os.environ["PATH"], "SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "70001",
        "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "1", **(array or {}),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-s", *arguments], input=text, env=facts, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return [done.stderr]
    faults = wrong_options(re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE), _SBATCH)
    called = (folder / "called").read_text().splitlines()
    ray, splitbench = called.index("ray"), called.index("splitbench")
    faults += wrong_options(called[:ray], _SRUN)
    assert called[ray + 1] == "symmetric-run"
    assert called[splitbench - 1] == "--"
    own = symmetric_run.make_parser(click.Context(symmetric_run))
    own.ignore_unknown_options = True
    taken, _, _ = own.parse_args(called[ray + 2 : splitbench - 1])
    assert taken["address"] == "n1:30001"
    try:
        start.make_context("ray start", list(taken["ray_args_and_entrypoint"]))
    except click.UsageError as error:
        faults.append(error.format_message())
    # The address is that of the cluster that is not there; all else must be right.
    words = [*called[splitbench + 1 :], "--dry-run"]
    answer = CliRunner().invoke(main, words)
    return [*faults, *([answer.output] if answer.exit_code else [])]


@pytest.mark.parametrize("arguments", [("quick",), ("sweep-quick", "sweep")])
def test_the_slurm_script_calls_what_there_is(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert slurm_faults((FOLDER / "slurm.sh").read_text(), tmp_path, *arguments) == []


def called_by_slurm(folder: Path) -> list[str]:
    """Return the words of the call of splitbench, without the cluster's address."""
    words = (folder / "called").read_text().splitlines()
    words = words[words.index("splitbench") :]
    address = words.index("--address")
    return words[:address] + words[address + 2 :]


def test_the_slurm_script_hands_further_options_on(tmp_path: Path) -> None:
    text, data = (FOLDER / "slurm.sh").read_text(), tmp_path / "my data"
    data.mkdir()
    options = ("--data-root", str(data), "--download", "--only", "model=simcnn")
    assert slurm_faults(text, tmp_path, "quick", *options) == []
    assert called_by_slurm(tmp_path) == [
        "splitbench", "run", "quick", "--results", str(tmp_path / "results" / "quick"), *options,
    ]  # fmt: skip


def test_the_results_of_a_file_are_named_without_its_folder_and_ending(tmp_path: Path) -> None:
    file = tmp_path / "suites" / "my.yaml"
    file.parent.mkdir()
    file.write_text((ROOT / "benchmarks" / "suites" / "quick.yaml").read_text())
    assert slurm_faults((FOLDER / "slurm.sh").read_text(), tmp_path, str(file)) == []
    assert called_by_slurm(tmp_path)[3:] == ["--results", str(tmp_path / "results" / "my")]


@pytest.mark.parametrize(
    ("task", "first", "step", "shard"), [("1", "1", "1", "1/4"), ("4", "1", "1", "4/4"), ("6", "0", "2", "4/4")]
)
def test_each_task_of_a_slurm_array_runs_its_shard(
    tmp_path: Path, task: str, first: str, step: str, shard: str
) -> None:
    array = {"TASK_ID": task, "TASK_MIN": first, "TASK_STEP": step, "TASK_COUNT": "4"}
    facts = {f"SLURM_ARRAY_{name}": value for name, value in array.items()}
    assert slurm_faults((FOLDER / "slurm.sh").read_text(), tmp_path, "quick", array=facts) == []
    assert called_by_slurm(tmp_path)[-2:] == ["--shard", shard]


def test_an_array_that_is_a_list_is_refused(tmp_path: Path) -> None:
    array = {"TASK_ID": "9", "TASK_MIN": "1", "TASK_STEP": "1", "TASK_COUNT": "3"}
    facts = {f"SLURM_ARRAY_{name}": value for name, value in array.items()}
    (fault,) = slurm_faults((FOLDER / "slurm.sh").read_text(), tmp_path, "quick", array=facts)
    assert "--array takes a range" in fault


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("--ntasks-per-node", "--ntask-per-node", "--ntask-per-node=1"),
        ("TERM@120", "TERM@2m", "--signal=TERM@2m"),
        ("--kill-on-bad-exit=0", "--kill-on-bad-exti=0", "--kill-on-bad-exti=0"),
        ("--num-cpus=", "--num-cpu=", "No such option '--num-cpu'"),
        ("--results", "--result", "No such option"),
        ("$SLURM_JOB_NUM_NODES", "$SLURM_JOB_NODES", "unbound variable"),
        ('"$verb"', "rnu", "rnu"),
    ],
)
def test_a_typo_in_the_slurm_script_is_found(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = (FOLDER / "slurm.sh").read_text()
    faults = slurm_faults(text.replace(old, new), tmp_path, "quick")
    assert any(fault in found for found in faults), faults
