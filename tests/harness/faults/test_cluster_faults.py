"""Machines, workers and drivers that die in the middle of a cell, on a cluster of machines that Ray believes in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from toys import HERE, ROOT

from benchmarks.rows.row import Row
from harness.store import ResultStore

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster]

WriteSuite = Callable[..., Path]


class Machines:
    """A head that computes nothing, and workers of one slot each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80 << 20, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        self._small = small
        self.workers: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def have(self, n_workers: int) -> None:
        while len(self.workers) < n_workers:
            node = self._cluster.add_node(num_cpus=1, **self._small)
            self.workers[node.node_id] = node

    def kill(self, node_id: str) -> None:
        self._cluster.remove_node(self.workers.pop(node_id), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def started_machines(**settings: str) -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
        for name, value in settings.items():
            patch.setenv(f"RAY_{name}", value)
        found = Machines()
        try:
            yield found
        finally:
            found.close()


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    # Dead machines are noticed in seconds.
    checks = {"period_ms": "500", "initial_delay_ms": "0", "timeout_ms": "1000", "failure_threshold": "3"}
    with started_machines(**{f"health_check_{name}": value for name, value in checks.items()}) as found:
        yield found


def start(suite: Path, results: Path, machines: Machines, environment: dict[str, str], *options: str) -> Any:
    command = [sys.executable, "-m", "harness", "run", str(suite), "--results", str(results)]
    return subprocess.Popen(
        [*command, "--address", machines.address, *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, driver: Any) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def finish(driver: Any, exit_code: int = 0) -> None:
    output, errors = driver.communicate(timeout=200)
    assert driver.returncode == exit_code, f"{output}\n{errors}"


def attempts(results: Path) -> list[Row]:
    contents = ResultStore(results).read()
    assert contents.damaged == ()
    return sorted(
        (row for cell in contents.cell_ids() for row in contents.attempts(cell)), key=lambda row: row.started_at
    )


def assert_one_good_row_each(results: Path, n_cells: int) -> None:
    good = Counter(row.seed for row in attempts(results) if row.state.is_final)
    assert good == dict.fromkeys(range(n_cells), 1)


def toys(behaviour: str, folder: Path) -> list[dict[str, Any]]:
    return [{"name": "toy", "settings": {"behaviour": behaviour, "folder": str(folder)}}]


def test_a_cell_whose_machine_is_removed_goes_on_from_its_checkpoint_on_another_one(
    machines: Machines, write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    machines.have(2)
    results, suite = tmp_path / "results", write_suite(splitters=toys("home", tmp_path), threads=1)
    driver = start(suite, results, machines, environment, "--shared-cache", str(tmp_path / "shared"))
    wait_for(tmp_path / "node", driver)
    first = (tmp_path / "node").read_text()
    machines.kill(first)
    finish(driver)
    lost, good = attempts(results)
    assert (lost.state.value, lost.failure_kind, good.state.value) == ("failed", "node_died", "ok")
    told = (tmp_path / "steps").read_text().splitlines()
    (node_before, begun_at), (node_after, went_on_at) = (line.split() for line in told)
    assert node_before == first != node_after
    assert int(begun_at) == 0
    assert 1 <= int(went_on_at) <= 5
    assert_one_good_row_each(results, 1)


def test_a_killed_drivers_cells_are_run_by_the_next_one_and_finished_ones_are_not(
    machines: Machines, write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    machines.have(2)
    results, suite = tmp_path / "results", write_suite(splitters=toys("block_third", tmp_path), seeds=4)
    driver = start(suite, results, machines, environment, "--workers", "1")
    wait_for(tmp_path / "blocked", driver)
    worker = int((tmp_path / "blocked").read_text())
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {row.attempt_id for row in attempts(results)}
    assert len(before) == 2
    again = start(suite, results, machines, environment)
    finish(again)
    assert before < {row.attempt_id for row in attempts(results)}
    assert_one_good_row_each(results, 4)
    assert not Path(f"/proc/{worker}").exists(), "the killed driver's worker went with it"


def test_a_worker_that_is_killed_from_outside_is_replaced(
    machines: Machines, write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    machines.have(2)
    results, suite = tmp_path / "results", write_suite(splitters=toys("block_once", tmp_path), seeds=2)
    driver = start(suite, results, machines, environment)
    wait_for(tmp_path / "blocked", driver)
    time.sleep(0.2)
    os.kill(int((tmp_path / "blocked").read_text()), signal.SIGKILL)
    finish(driver)
    assert Counter(row.failure_kind for row in attempts(results)) == {"worker_died": 1, None: 2}
    assert_one_good_row_each(results, 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order_and_the_next_one_goes_on(
    machines: Machines, write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    machines.have(2)
    results, suite = tmp_path / "results", write_suite(splitters=toys("polite_once", tmp_path), seeds=3)
    driver = start(suite, results, machines, environment, "--workers", "1")
    wait_for(tmp_path / "begun", driver)
    driver.send_signal(number)
    finish(driver, 130)
    assert [row.state.value for row in attempts(results)] == ["interrupted"]
    finish(start(suite, results, machines, environment))
    assert_one_good_row_each(results, 3)


def test_native_code_that_never_lets_go_is_ended_at_its_deadline(
    machines: Machines, write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    machines.have(2)
    results = tmp_path / "results"
    splitters = [*toys("native", tmp_path), {"name": "other"}]
    driver = start(write_suite(splitters=splitters, timeout="3s"), results, machines, environment)
    finish(driver, 1)
    by_splitter = {row.splitter: row for row in attempts(results)}
    assert len(attempts(results)) == 2
    assert by_splitter["other"].state.value == "ok"
    assert by_splitter["toy"].state.value == "timeout"
    assert "was killed" in str(by_splitter["toy"].reason)
    assert by_splitter["toy"].seconds < 60


def test_machines_that_are_alike_are_fit_for_a_run_and_doctor_shows_them_all(
    machines: Machines, environment: dict[str, str]
) -> None:
    machines.have(2)
    command = [sys.executable, "-m", "harness", "doctor", "--address", machines.address, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)
    assert len(found["nodes"]) == 3
    assert len({node["ray"] for node in found["nodes"]}) == 1
    assert not [finding for finding in found["findings"] if finding["serious"]]
    assert done.returncode == 0


def test_machines_that_differ_are_refused_unless_forced(
    machines: Machines, write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    machines.have(2)
    # The driver takes itself for another version than the workers are.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'harness' in ' '.join(sys.orig_argv):\n"
        "    import importlib.metadata as metadata\n"
        "    known = metadata.version\n"
        "    metadata.version = lambda name: '9.9' if name == 'splitbench' else known(name)\n"
    )
    environment = {**environment, "PYTHONPATH": f"{tmp_path / 'other'}{os.pathsep}{environment['PYTHONPATH']}"}
    suite, results = write_suite(splitters=["toy"]), tmp_path / "results"
    refused = start(suite, results, machines, environment)
    output, errors = refused.communicate(timeout=120)
    assert refused.returncode == 2, output
    assert "Splitbench differs between machines: 9.9 on" in errors
    assert "--force runs nevertheless" in errors
    assert not list((results / "rows").rglob("*.parquet"))
    finish(start(suite, results, machines, environment, "--force"))
    assert_one_good_row_each(results, 1)


def test_a_cell_that_eats_memory_until_ray_kills_it_gets_more_room_the_next_time(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 8 << 30:
        pytest.skip(f"it needs 8 GB of free memory; there are {memory.available / (1 << 30):.1f}")
    threshold = (memory.total - memory.available + (4 << 30)) / memory.total
    suite, results = write_suite(splitters=toys("glutton_once", tmp_path)), tmp_path / "results"
    with started_machines(memory_usage_threshold=f"{threshold:.4f}", memory_monitor_refresh_ms="100") as machines:
        machines.have(1)
        finish(start(suite, results, machines, environment))
    killed, good = attempts(results)
    assert (killed.state.value, killed.failure_kind) == ("out_of_memory", "node_out_of_memory")
    assert good.state.value == "ok"
    assert_one_good_row_each(results, 1)
