from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from harness.machines.doctor import Diagnosis, diagnose_cluster, mismatches
from harness.machines.node_facts import Gpu, NodeFacts, _cache_trouble, node_facts

Call = Callable[..., Result]

NODE = NodeFacts(
    hostname="one", address="10.0.0.1", splitbench="0.1.0", commit="abc", python="3.11.7", ray="2.60.0", torch="2.14.1",
    cuda="13.0", driver="580.1", gpus=(Gpu("T4", 16 << 30),), cpus=4, memory_bytes=16 << 30, disk_free_bytes=50 << 30,
    cache="/cache", cache_trouble=None, results_trouble="",
)  # fmt: skip


def test_on_this_machine_it_tells_versions_and_tries_the_results(call: Call, tmp_path: Path) -> None:
    result = call("doctor", "--results", tmp_path / "r", "--json")
    found = json.loads(result.stdout)
    (node,) = found["nodes"]
    import ray
    import torch

    assert (node["ray"], node["torch"]) == (ray.__version__, torch.__version__)
    assert node["results_trouble"] == ""
    assert found["healthy"] is (result.exit_code == 0)
    assert not (tmp_path / "r").exists(), "nothing is left behind"


def test_for_people_it_is_a_table(call: Call) -> None:
    result = call("doctor")
    assert result.exit_code == 0, result.stdout
    for word in ("Python", "torch", "CUDA", "GPUs", "cache", "not tried"):
        assert word in result.stdout


def test_results_that_cannot_be_written_are_serious(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = call("doctor", "--results", tmp_path / "file" / "r")
    assert result.exit_code == 1
    assert "the results cannot be written and read back" in result.stdout


def test_a_cache_that_cannot_be_made_is_serious(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    facts = node_facts(tmp_path / "file" / "cache")
    diagnosis = diagnose_cluster([facts])
    assert not diagnosis.is_healthy
    assert "SPLITBENCH_CACHE" in diagnosis.findings[0].remedy


def test_machines_that_are_alike_are_well() -> None:
    assert diagnose_cluster([NODE, replace(NODE, hostname="two", address="10.0.0.2")]) == Diagnosis(
        (NODE, replace(NODE, hostname="two", address="10.0.0.2")), ()
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("splitbench", "0.2.0", "Splitbench differs between machines: 0.1.0 on 10.0.0.1; 0.2.0 on 10.0.0.2."),
        ("commit", "def", "Splitbench's commit differs"),
        ("python", "3.12.1", "Python differs"),
        ("ray", None, "Ray differs between machines: 2.60.0 on 10.0.0.1; None on 10.0.0.2."),
        ("torch", "2.13.0", "torch differs"),
        ("cuda", "12.6", "CUDA differs"),
    ],
)
def test_what_must_be_the_same_and_is_not_is_told_with_its_places(field: str, value: str, message: str) -> None:
    (found,) = mismatches([NODE, replace(NODE, address="10.0.0.2", **{field: value})])
    assert found.serious
    assert found.text.startswith(message)
    assert "--force" in found.remedy


def test_gpus_may_differ() -> None:
    assert mismatches([NODE, replace(NODE, address="10.0.0.2", gpus=(), driver=None)]) == []


def test_a_gpu_that_torch_cannot_use_is_serious() -> None:
    (found,) = diagnose_cluster([replace(NODE, cuda=None)]).findings
    assert found.serious
    assert "there is a GPU (T4), but torch 2.14.1 was built without CUDA" in found.text


def test_a_disk_that_fills_up_is_worth_a_word() -> None:
    diagnosis = diagnose_cluster([replace(NODE, disk_free_bytes=1 << 30)])
    assert diagnosis.is_healthy
    assert "1.0 GB are free" in diagnosis.findings[0].text


def test_machines_that_share_a_cache_folder_may_look_at_it_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as machines:
        troubles = list(machines.map(_cache_trouble, [tmp_path / "cache"] * 400))
    assert set(troubles) == {None}
    assert list((tmp_path / "cache").iterdir()) == []
