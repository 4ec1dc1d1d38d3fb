"""A running cluster, reached as ``ray exec`` and ``ray rsync-up`` reach it: over ssh to its head."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.clusters.cluster_file import ClusterFile
from splitters.errors import ConfigurationError

_RAY = (sys.executable, "-m", "ray.scripts.scripts")
_STOP_SECONDS = 60
"""Time for a stopped job to store its running cells as interrupted; Ray's default is three seconds."""

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9-]*")


class ClusterCommandError(ConfigurationError):
    """A command on the cluster failed."""


class RemoteCluster:
    """A cluster that ``ray up`` has started.

    Args:
        cluster: Its file.
    """

    def __init__(self, cluster: ClusterFile) -> None:
        self._cluster = cluster

    def submit(self, folder: Path, job_id: str) -> None:
        """Upload a folder and start it as a job, which outlives this connection.

        Args:
            folder: See ``harness.clusters.shipment``; it becomes the job's working directory on every machine.
            job_id: The job's name, of lower-case letters, digits and ``-``.

        Raises:
            ClusterCommandError: If the cluster cannot be reached or refuses the job.
        """
        _check_id(job_id)
        uploaded = f"splitbench-job-{job_id}"
        self._ray("rsync-up", str(self._cluster.path), f"{folder}/", f"~/{uploaded}/", quiet=True)
        call = [
            *self._job("submit"), "--submission-id", job_id, "--working-dir", uploaded, "--no-wait",
            "--runtime-env-json", json.dumps({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)}}),
            "--", self._program("python"), "-m", "harness.cli.clusters.job",
        ]  # fmt: skip
        self._exec(f"{_words(call)} && rm -r -- {shlex.quote(uploaded)}")

    def follow(self, job_id: str) -> bool:
        """Show a job's log until it ends, and return whether it succeeded."""
        _check_id(job_id)
        self._exec(_words([*self._job("logs"), "--follow", job_id]), check=False)
        status = self._exec(_words([*self._job("status"), job_id]), check=False, quiet=True)
        return "succeeded" in status.lower()

    def follow_hint(self, job_id: str) -> str:
        """Return the command that shows the log again."""
        command = _words([*self._job("logs"), "--follow", job_id])
        return f"ray exec {shlex.quote(str(self._cluster.path))} {shlex.quote(command)}"

    def stop_hint(self, job_id: str) -> str:
        """Return the command that stops a job in good order."""
        command = _words([*self._job("stop"), job_id])
        return f"ray exec {shlex.quote(str(self._cluster.path))} {shlex.quote(command)}"

    def fetch(self, source: str, target: Path) -> None:
        """Copy a folder of the head to this machine, except for files that exist here.

        Raises:
            ClusterCommandError: If it cannot be copied.
        """
        target.mkdir(parents=True, exist_ok=True)
        self._ray("rsync-down", str(self._cluster.path), f"{source.rstrip('/')}/", f"{target}/", quiet=True)

    def has_folder(self, path: str) -> bool:
        """Return whether the head has a folder.

        Raises:
            ClusterCommandError: If it cannot be asked.
        """
        # The command itself must not look like its answer, because Ray may print both.
        answer = self._exec(f"{_words(['test', '-d', path])}; echo folder-$?", quiet=True)
        found = re.findall(r"^folder-([01])\s*$", answer, re.MULTILINE)
        if not found:
            raise ClusterCommandError(f"the head did not say whether it has {path}: {answer.strip()[-200:]}")
        return bool(found[-1] == "0")

    def _job(self, verb: str) -> list[str]:
        notes = self._cluster.notes
        guard = ["env", "RAY_AUTH_MODE=token"] if self._cluster.has_token else []
        return [*guard, self._program("ray"), "job", verb, "--address", f"http://127.0.0.1:{notes.dashboard_port}"]

    def _program(self, name: str) -> str:
        environment = self._cluster.notes.environment
        return f"{environment.rstrip('/')}/bin/{name}" if environment else name

    def _exec(self, command: str, *, check: bool = True, quiet: bool = False) -> str:
        return self._ray("exec", str(self._cluster.path), command, check=check, quiet=quiet)

    def _ray(self, verb: str, *arguments: str, check: bool = True, quiet: bool = False) -> str:
        """Run a command of Ray; its output goes to the terminal or, if ``quiet``, is returned."""
        done = subprocess.run(
            [*_RAY, verb, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
        )
        if check and done.returncode:
            last = next((line for line in reversed((done.stdout or "").splitlines()) if line.strip()), "see above")
            raise ClusterCommandError(
                f"'ray {verb} {arguments[0]}' failed: {last.strip()} Is the cluster up? 'ray up {self._cluster.path}' "
                "starts it."
            )
        return done.stdout or ""


def _check_id(job_id: str) -> None:
    if not _JOB_ID.fullmatch(job_id):
        raise ConfigurationError(
            f"{job_id!r} is not a job's name, which consists of lower-case letters, digits and '-'."
        )


def _words(command: Sequence[str]) -> str:
    """Return the command line of some words, in which a shell still expands a leading ``~/``."""
    return " ".join(f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word) for word in command)
