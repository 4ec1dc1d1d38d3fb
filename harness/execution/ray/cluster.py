"""The Ray cluster: the one at an address, or one on this machine for the time of the run."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from benchmarks.cells import Cell
from harness.first_contact import require_cluster_answers
from harness.machines.devices import check_precision, share_of_gpu
from harness.signals import kept_sigterm
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError

_OBJECT_STORE_BYTES = 128 << 20
"""Rows are small, and Ray would take a third of the memory."""

_MOST_STARTABLE = 1000


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster has.

    Args:
        cpus: CPUs.
        gpus: GPUs.
        memory: Bytes of memory that Ray schedules.
        node_id: Ray's id of it, if it is up.
    """

    cpus: float
    gpus: float
    memory: float = float("inf")
    node_id: str | None = None

    def room(self, cpus: float, gpus: float, memory: float = 0.0) -> int:
        """Return how many workers of this size fit."""
        room = int(self.cpus // cpus)
        if gpus:
            # A share such as 0.1 has no exact binary form.
            room = min(room, int(self.gpus / gpus + 1e-9))
        if memory and self.memory < float("inf"):
            room = min(room, int(self.memory // memory))
        return room


@contextmanager
def connection(address: str | None) -> Iterator[None]:
    """Connect to Ray for the block.

    Args:
        address: A cluster's address; None takes ``RAY_ADDRESS``, or else starts Ray on this machine. A connection that
            exists already is used as it is, and outlives the block.

    Raises:
        ConfigurationError: If there is no such cluster.
    """
    if ray.is_initialized():
        yield
        return
    source = "--address" if address else "the environment variable RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    require_cluster_answers(address, source=source)
    with temporary_environment(_local_environment() if address == "local" else {}):
        with kept_sigterm():  # Ray's own handler exits with an unexpected code.
            _connect(address, source=source)
        try:
            yield
        finally:
            ray.shutdown()


def _local_environment() -> dict[str, str]:
    """Return what a Ray of our own should find in the environment, where the user has not decided it."""
    # Our workers hide GPUs themselves; this suppresses the notice that Ray is about to stop doing so.
    wanted = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if not any(name in os.environ for name in _AUTHENTICATION):
        # Ray requires a token. One for this run leaves no file in the user's home, as Ray's own would.
        wanted["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    return {name: value for name, value in wanted.items() if name not in os.environ}


@contextmanager
def temporary_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


_SOCKET_PATH_BYTES = 107
_SESSION_BYTES = len("/ray/session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store")


def _check_temporary_folder() -> None:
    """Check that Ray can write to its folder on this machine, and that the system allows the paths of its sockets."""
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), None)
    if variable is None:
        return
    folder = os.environ[variable]
    length, most = len(os.fsencode(folder)), _SOCKET_PATH_BYTES - _SESSION_BYTES
    if length > most:
        raise ConfigurationError(
            f"{variable}={folder}: Ray keeps sockets in this folder, whose paths may not be longer than "
            f"{_SOCKET_PATH_BYTES} bytes; that leaves {most} for the folder, and it has {length}. "
            "Set RAY_TMPDIR to a shorter one, for example /tmp."
        )
    cause = "" if os.path.isabs(folder) else "it is no absolute path"
    try:
        if not cause:
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        cause = str(error.strerror)
    if cause:
        raise ConfigurationError(
            f"{variable}={folder}: Ray cannot keep its sockets and logs in this folder: {cause}. "
            "Set RAY_TMPDIR to another one, for example /tmp."
        )


def _connect(address: str, *, source: str) -> None:
    if address == "local":
        _check_temporary_folder()
    try:
        if address == "local":
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=_OBJECT_STORE_BYTES,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        if address == "local":
            raise ConfigurationError(
                f"Ray cannot be started on this machine: {reason}. Use --backend inline, or name a cluster: --address."
            ) from error
        raise ConfigurationError(
            f"no Ray cluster can be used at {address!r}, from {source}: {reason}. Start one with 'ray start --head', "
            "name another with --address, or use --backend inline."
        ) from error


def nodes() -> list[Node]:
    """Return the machines that are up, and those that the cluster's autoscaler would start for work that waits."""
    up, startable = nodes_by_state()
    return [*up, *startable]


def memory_limit(machines: Sequence[Node], cpus: float, gpus: float) -> float:
    """Return the most memory, in bytes, that a worker of this size can have: that of the largest machine with room."""
    return max((node.memory for node in machines if node.room(cpus, gpus)), default=float("inf"))


def nodes_by_state() -> tuple[list[Node], list[Node]]:
    """Return the machines that are up, and those that the cluster's autoscaler would start; see ``nodes``."""
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    up = [_node(found["Resources"], found.get("NodeID")) for found in alive]
    return up, _startable([set(map(str, found.get("Labels", {}).values())) for found in alive])


def _node(resources: Mapping[str, float], node_id: str | None = None) -> Node:
    memory = resources.get("memory", float("inf"))
    return Node(cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0), memory=memory, node_id=node_id)


def _startable(labels: Sequence[Collection[str]]) -> list[Node]:
    """Return machines that are not up and might be.

    Args:
        labels: The labels of each machine that is up, among them its kind.
    """
    startable: list[Node] = []
    for kind in autoscaled_kinds():
        n_up = sum(kind.name in values for values in labels)
        startable += [_node(kind.resources)] * max(0, min(kind.most, _MOST_STARTABLE) - n_up)
    return startable


@dataclass(frozen=True)
class AutoscaledKind:
    """A kind of machine that the autoscaler may start.

    Args:
        name: Its name in the cluster's file.
        most: How many there may be.
        resources: What each has.
    """

    name: str
    most: int
    resources: Mapping[str, float]


def autoscaled_kinds() -> list[AutoscaledKind]:
    """Return the kinds of machines that the cluster's autoscaler may start; none without an autoscaler."""
    # Ray has no public way to ask for this; its own max-resources request reads the same state.
    from ray._private.state import state

    try:
        config = state.get_cluster_config()
    except (AttributeError, ray.exceptions.RaySystemError):
        return []
    groups = config.node_group_configs if config is not None else ()
    return [
        AutoscaledKind(group.name, _MOST_STARTABLE if group.max_count < 0 else group.max_count, dict(group.resources))
        for group in groups
    ]


def gpu_share_of(cell: Cell, gpu_share: float, machines: Sequence[Node]) -> float:
    """Return the share of a GPU that a cell gets: none on ``cpu``, and on ``auto`` where there are no GPUs."""
    return share_of_gpu(cell, gpu_share, has_gpus=any(node.gpus for node in machines))


def check_fits(cells: Sequence[SuiteCell], gpu_share: float) -> None:
    """Check that some machine, one that is up or may be started, has room for every cell.

    Raises:
        ConfigurationError: If a cell would wait forever, or needs a GPU for TF32.
    """
    machines = nodes()
    for item in cells:
        cell = item.cell
        share = gpu_share_of(cell, gpu_share, machines)
        check_precision(cell, share, title=item.title)
        if any(node.room(cell.threads, share) for node in machines):
            continue
        most = max(machines, key=lambda node: (node.gpus, node.cpus))
        raise ConfigurationError(
            f"{item.title}: it asks for {cell.threads} CPU threads and {share:g} GPU, but no machine of the cluster "
            f"has that (the largest has {most.cpus:g} CPUs and {most.gpus:g} GPUs). "
            "Use --set threads=N, --set device=cpu, or another --address."
        )
