from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from toys import ROOT, toy_item, toy_row

from harness.clusters.bill import Bill, bill_of
from harness.clusters.cluster_file import ClusterFile, ClusterNotes, NodeType
from harness.planning.plan import make_plan
from splitters.errors import ConfigurationError

HEAD = NodeType("head", 0, 0, 1, 0.1)
CPU = NodeType("cpu", 8, 0, 4, 0.2)
GPU = NodeType("gpu", 8, 2, 4, 1.0)


def bill(*workers: NodeType, gpu_share: float = 1.0, device: str = "auto", threads: int = 1, n_rows: int = 1) -> Bill:
    """Return what three cells cost that took an hour each."""
    cells = [toy_item(seed=seed, device=device, threads=threads) for seed in range(3)]
    rows = [toy_row(seed=7, seconds=3600.0)] * n_rows
    cluster = ClusterFile(Path("c.yaml"), "aws", HEAD, workers, ClusterNotes())
    return bill_of(make_plan(cells, rows), cluster, gpu_share=gpu_share)


def test_gpu_hours_count_shares_and_machines_are_filled() -> None:
    whole, half = bill(GPU), bill(GPU, gpu_share=0.5)
    assert (whole.gpu_hours, whole.worker_hours) == pytest.approx((3.0, 1.5))
    assert (half.gpu_hours, half.worker_hours) == pytest.approx((1.5, 0.75))
    assert whole.hours == half.hours == pytest.approx(1.0)
    assert whole.money == pytest.approx(1.5 * 1.0 + 1.0 * 0.1)


def test_cells_that_use_no_gpu_go_to_the_cheapest_machine() -> None:
    found = bill(GPU, CPU, device="cpu", threads=4)
    assert found.worker is CPU
    assert found.gpu_hours == 0
    assert found.worker_hours == pytest.approx(1.5)


def test_few_machines_make_the_run_longer_and_not_dearer() -> None:
    one = NodeType("gpu", 8, 1, 1, 1.0)
    found = bill(one)
    assert found.hours == pytest.approx(3.0)
    assert found.money == pytest.approx(3.0 + 0.3)


def test_without_prices_or_history_nothing_is_made_up() -> None:
    assert bill(NodeType("gpu", 8, 1, 1, None)).money is None
    nothing = bill(GPU, n_rows=0)
    assert (nothing.cells, nothing.without_history, nothing.money) == (0, 3, 0.0)


def test_cells_that_fit_nowhere_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no machine has room for a cell with 16 CPU threads.*gpu: 8"):
        bill(GPU, threads=16)
    with pytest.raises(ConfigurationError, match="no machine has room"):
        bill(CPU, device="cuda")


def test_plan_shows_what_the_cluster_costs(
    call: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite, results = write_suite(), tmp_path / "r"
    call("run", suite, "--results", results, "--backend", "inline", "--seeds", "1")
    file = tmp_path / "cluster.yaml"
    file.write_text((ROOT / "cluster.yaml").read_text().replace("YOUR-BUCKET", "bucket"))
    options = ["--results", results, "--seeds", "3", "--cluster", file]
    text = call("plan", suite, *options).stdout.replace("\n", " ")
    assert "GPU hours" in text
    assert "USD" in text
    found = json.loads(call("plan", suite, *options, "--json").stdout)["bill"]
    assert (found["cells"], found["worker"], found["currency"]) == (4, "gpu_worker", "USD")


def test_plan_refuses_a_cluster_that_does_not_exist(
    call: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    result = call("plan", write_suite(), "--cluster", "no.yaml")
    assert result.exit_code == 2
    assert "no.yaml: the cluster's file cannot be read" in result.stderr


def test_plan_refuses_a_cluster_that_is_not_filled_in(
    call: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    result = call("plan", write_suite(), "--cluster", ROOT / "cluster.yaml")
    assert result.exit_code == 2
    assert "'results: s3://YOUR-BUCKET/splitbench' is still to be filled in" in result.stderr


def test_a_cluster_of_a_head_alone_costs_nothing_where_nothing_is_to_do() -> None:
    cluster = ClusterFile(Path("c.yaml"), "aws", HEAD, (), ClusterNotes())
    done = bill_of(make_plan([toy_item()], [toy_row()]), cluster)
    assert (done.worker, done.cells, done.worker_hours, done.money) == (None, 0, 0.0, None)
    with pytest.raises(ConfigurationError, match="head: 0 CPUs, 0 GPUs"):
        bill_of(make_plan([toy_item()], []), cluster)


def test_a_head_that_computes_is_billed_where_no_worker_has_room() -> None:
    head = NodeType("head", 4, 0, 1, 0.5)
    plan = make_plan([toy_item(seed=seed) for seed in range(3)], [toy_row(seed=7, seconds=3600.0)])
    for workers in ((), (NodeType("none", 8, 0, 0, 0.1),)):
        found = bill_of(plan, ClusterFile(Path("c.yaml"), "aws", head, workers, ClusterNotes()))
        assert found.worker is head
        assert (found.worker_hours, found.hours, found.money) == pytest.approx((0.75, 1.0, 0.5))


def test_machines_of_unknown_size_get_no_estimate() -> None:
    found = bill(NodeType("big", None, None, 4, 1.0))
    assert (found.cells, found.gpu_hours, found.worker_hours, found.hours, found.money) == (3, None, None, None, None)
    assert bill(NodeType("big", 8, None, 4, 1.0), device="cpu", threads=4).worker_hours == pytest.approx(1.5)
    assert bill(NodeType("big", None, None, 4, 1.0), device="cuda", gpu_share=0.5).gpu_hours == pytest.approx(1.5)
    assert bill(NodeType("big", None, 2, 4, 1.0)).worker_hours == pytest.approx(1.5)


def test_plan_says_what_the_cluster_lacks(
    call: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite, results, file = write_suite(), tmp_path / "r", tmp_path / "cluster.yaml"
    call("run", suite, "--results", results, "--backend", "inline", "--seeds", "1")
    options = ["--results", results, "--cluster", file]
    values = yaml.safe_load((ROOT / "cluster.yaml").read_text().replace("YOUR-BUCKET", "bucket"))
    del values["available_node_types"]["gpu_worker"]["resources"]
    file.write_text(yaml.safe_dump(values))
    text = " ".join(call("plan", suite, *options, "--seeds", "3").stdout.split())
    assert "no estimate: the file does not say how many CPUs and GPUs a gpu_worker has" in text
    assert json.loads(call("plan", suite, *options, "--seeds", "3", "--json").stdout)["bill"]["hours"] is None
    del values["available_node_types"]["gpu_worker"], values["metadata"]["splitbench"]["price_per_hour"]
    file.write_text(yaml.safe_dump(values))
    done = call("plan", suite, *options, "--seeds", "1")
    assert (done.exit_code, "there is nothing to do" in " ".join(done.stdout.split())) == (0, True)
