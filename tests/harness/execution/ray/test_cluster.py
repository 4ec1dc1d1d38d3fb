from __future__ import annotations

import os
import re
import signal

import pytest
from toys import toy_cell, toy_item

from harness.execution.ray import cluster
from harness.execution.ray.cluster import AutoscaledKind, Node, autoscaled_kinds, check_fits, gpu_share_of, nodes
from splitters.errors import ConfigurationError

HEAD = {"Alive": True, "Resources": {"memory": 4e9}, "Labels": {"ray.io/node-group": "head"}}
WORKER = {"Alive": True, "Resources": {"CPU": 4, "GPU": 1}, "Labels": {"ray.io/node-group": "gpu_worker"}}


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "room"),
    [
        (Node(8, 0), 3, 0, 2),
        (Node(8, 0), 1, 1, 0),
        (Node(8, 2), 1, 1, 2),
        (Node(8, 2), 1, 0.25, 8),
        (Node(64, 1), 1, 0.1, 10),
        (Node(2, 4), 4, 1, 0),
    ],
)
def test_a_machine_has_room_for_as_many_workers_as_cpus_and_gpus_allow(
    node: Node, cpus: float, gpus: float, room: int
) -> None:
    assert node.room(cpus, gpus) == room


@pytest.mark.parametrize(
    ("device", "gpus", "share"), [("cpu", 2, 0.0), ("auto", 2, 0.5), ("auto", 0, 0.0), ("cuda", 0, 0.5)]
)
def test_a_cell_gets_a_gpu_if_it_can_use_one(device: str, gpus: int, share: float) -> None:
    assert gpu_share_of(toy_cell(device=device), 0.5, [Node(8, gpus)]) == share


def test_memory_limits_the_room_where_ray_deals_it_out() -> None:
    assert Node(8, 0, 4e9).room(1, 0, 1e9) == 4
    assert Node(8, 0, 4e9).room(1, 0) == 8
    assert Node(8, 0).room(1, 0, 1e12) == 8


def test_machines_that_the_autoscaler_may_start_count_as_room(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = AutoscaledKind("gpu_worker", 3, {"CPU": 4, "GPU": 1})
    monkeypatch.setattr(cluster, "autoscaled_kinds", lambda: [kind])
    monkeypatch.setattr(cluster.ray, "nodes", lambda: [HEAD, WORKER, {**WORKER, "Alive": False}])
    assert [node.gpus for node in nodes()] == [0, 1, 1, 1]
    check_fits([toy_item(device="cuda", threads=4)], 1.0)
    assert gpu_share_of(toy_cell(), 1.0, nodes()) == 1.0
    with pytest.raises(ConfigurationError, match="asks for 8 CPU threads"):
        check_fits([toy_item(device="cuda", threads=8)], 1.0)


def test_the_autoscalers_kinds_are_read_as_ray_stores_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.state import state
    from ray.core.generated import autoscaler_pb2

    config = autoscaler_pb2.ClusterConfig()
    config.node_group_configs.add(name="gpu_worker", max_count=8, resources={"CPU": 4, "GPU": 1})
    config.node_group_configs.add(name="endless", max_count=-1, resources={"CPU": 1})
    monkeypatch.setattr(state, "get_cluster_config", lambda: config)
    first, endless = autoscaled_kinds()
    assert first == AutoscaledKind("gpu_worker", 8, {"CPU": 4, "GPU": 1})
    assert endless.most == 1000
    monkeypatch.setattr(state, "get_cluster_config", lambda: None)
    assert autoscaled_kinds() == []


def test_the_handler_of_sigterm_outlives_the_connection_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(
        cluster, "_connect", lambda *args, **keys: signal.signal(signal.SIGTERM, lambda *args: os._exit(15))
    )
    with cluster.connection("somewhere"):
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_temporary_folder_whose_name_is_too_long_for_sockets_is_refused_by_name(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **keys: pytest.fail("Ray was started"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, "/" + "x" * 59)
    message = rf"{variable}=/x{{59}}: .* 107 bytes; that leaves 39 .* it has 60\. Set RAY_TMPDIR"
    with pytest.raises(ConfigurationError, match=message), cluster.connection(None):
        pass


@pytest.mark.parametrize(("folder", "cause"), [("relative", "no absolute path"), (__file__, "exists|Not a directory")])
def test_a_temporary_folder_that_ray_cannot_write_to_is_refused_by_name(
    folder: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **keys: pytest.fail("Ray was started"))
    monkeypatch.setattr(cluster, "_SOCKET_PATH_BYTES", 1000)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", folder)
    message = rf"RAY_TMPDIR={re.escape(folder)}: Ray cannot keep .*({cause})"
    with pytest.raises(ConfigurationError, match=message), cluster.connection(None):
        pass


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", r"at 'nonsense', from the environment variable RAY_ADDRESS: no address\. Start one"),
        ("", r"^Ray cannot be started on this machine: no address\. Use --backend inline"),
    ],
)
def test_what_ray_refuses_is_told_in_one_line_with_where_the_address_came_from(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**keys: object) -> None:
        raise ValueError("no address.\n  1. Unset it.")

    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigurationError, match=message) as caught, cluster.connection(None):
        pass
    assert "\n" not in str(caught.value)
