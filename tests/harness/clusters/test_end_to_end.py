"""From 'ray up' to 'ray down', over ssh, on two machines: docs/clusters/local.yaml, with addresses and ports set."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from machines import HEAD, WORKER, Machines, make_machines
from toys import HERE, ROOT

from harness.store import ResultStore

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]

ENVIRONMENT = Path(sys.prefix)
PORT, DASHBOARD_PORT, AGENT_PORT = 26379, 28265, 28266
SEEDS = 6


pytest.importorskip("aiohttp_cors", reason="Ray's jobs need pip install 'ray[default]'")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = make_machines(tmp_path)
    yield found
    found.close()


def ray(*arguments: str, environment: dict[str, str], check: bool = True) -> str:
    command = [sys.executable, "-m", "ray.scripts.scripts", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def cluster_file(machines: Machines, token: Path) -> Path:
    """Write docs/clusters/local.yaml as a user fills it in; the environment is this one, so none is made."""
    text = (ROOT / "docs" / "clusters" / "local.yaml").read_text()
    values = yaml.safe_load(text.replace("~/splitbench-env", str(ENVIRONMENT)))
    values["provider"] |= {"head_ip": HEAD, "worker_ips": [WORKER]}
    values["auth"] = {"ssh_user": "root", "ssh_private_key": str(machines.key)}
    values["file_mounts"] = {"~/.ray/auth_token": str(token)}
    values["setup_commands"] = values["setup_commands"][:1]
    values["metadata"]["splitbench"]["dashboard_port"] = DASHBOARD_PORT
    # Both machines' names and routes are one machine's, so Ray cannot find out their addresses by itself.
    own = "--object-store-memory=80000000 --num-cpus=1"
    head = (
        f"--node-ip-address={HEAD} --dashboard-port={DASHBOARD_PORT} --dashboard-agent-listen-port={AGENT_PORT} {own}"
    )
    (stop, start), (worker_stop, worker_start) = values["head_start_ray_commands"], values["worker_start_ray_commands"]
    values["head_start_ray_commands"] = [stop, start.replace("--port=6379", f"--port={PORT} {head}")]
    joined = worker_start.replace("$RAY_HEAD_IP:6379", f"$RAY_HEAD_IP:{PORT} --node-ip-address={WORKER} {own}")
    # The worker misses its head after ten seconds and not a minute.
    joined = joined.replace("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=token RAY_gcs_rpc_server_reconnect_timeout_s=10")
    values["worker_start_ray_commands"] = [worker_stop, joined]
    path = machines.folder / "local.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_suite_runs_on_two_machines_and_nothing_is_left_running(
    machines: Machines, write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "RAY_UP_enable_autoscaler_v2": "0",
        "RAY_TMPDIR": str(tmp_path / "laptop"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
        "SPLITBENCH_CACHE": str(tmp_path / "laptop-cache"),
    }
    (tmp_path / "laptop").mkdir()
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    cluster = cluster_file(machines, token)
    ray("up", "--yes", "--no-config-cache", str(cluster), environment=environment)
    status = await_machines(cluster, 2, environment)
    print(status)

    suite = write_suite(seeds=SEEDS, splitters=[{"name": "toy", "settings": {"behaviour": "doze"}}], device="cpu")
    splitbench = [sys.executable, "-m", "harness"]
    submitted = subprocess.run(
        [*splitbench, "submit", str(suite), "--cluster", str(cluster)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    print(submitted.stdout, submitted.stderr)
    assert submitted.returncode == 0
    assert f"[{SEEDS}/{SEEDS}] ✓ toy" in submitted.stdout, "the job's log is shown"

    fetched = subprocess.run(
        [*splitbench, "fetch", "splitbench-results/toys", "--cluster", str(cluster), "--to", str(tmp_path / "here")],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stderr
    table = ResultStore(tmp_path / "here").read().table
    assert Counter(zip(table["seed"].to_pylist(), table["state"].to_pylist(), strict=True)) == {
        (seed, "ok"): 1 for seed in range(SEEDS)
    }
    assert set(table["hostname"].to_pylist()) == {"sb-head", "sb-worker"}
    (commit,) = set(table["git_commit"].to_pylist())
    assert f"Splitbench, commit {commit or 'unknown'}" in submitted.stderr

    ray("down", "--yes", str(cluster), environment=environment)
    deadline = time.monotonic() + 120
    while (left := machines.head.programs() + machines.worker.programs()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []


def await_machines(cluster: Path, n_machines: int, environment: dict[str, str]) -> str:
    command = f"env RAY_AUTH_MODE=token {ENVIRONMENT}/bin/ray status --address {HEAD}:{PORT}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        output = ray("exec", str(cluster), command, environment=environment, check=False)
        if output.count("local.cluster.node") >= 1 and f"{n_machines} local.cluster.node" in output:
            return output
        time.sleep(2)
    raise AssertionError(f"the worker did not join:\n{output}")
