"""``python -m benchmarks.speed``: what it prints, and that the plain merging is a fair reference."""

import json

import pytest
import torch
from click.testing import CliRunner
from pretended_gpu import pretended_gpu

import benchmarks.speed.__main__ as speed
from benchmarks.speed.__main__ import BENCHMARKS, main
from benchmarks.speed.cnnsplitter.plain_merging import PlainMerging, kept_sets
from benchmarks.speed.gradsplitter.contest import Contest, synthetic_task
from benchmarks.speed.measurement import Measurement
from splitters.methods.cnnsplitter.merging import Merger, StageLimits, stage_sizes
from splitters.methods.gradsplitter import GradSplitterSettings
from splitters.networks.execution import whole_modules
from splitters.networks.masks import jaccard_distances


def test_json_is_an_object_per_line_with_the_ratio_of_both_times():
    result = CliRunner().invoke(main, ["cnnsplitter.jac", "--json", "--small"])
    assert result.exit_code == 0
    (record,) = map(json.loads, result.stdout.splitlines())
    assert record.keys() == {
        "name", "seconds", "reference_seconds", "ratio", "floor_seconds", "repeats", "detail",
    }  # fmt: skip
    assert record["name"] == "cnnsplitter.jaccard"
    assert record["ratio"] == pytest.approx(record["reference_seconds"] / record["seconds"])


def _second_raises(monkeypatch, error):
    """Replace the benchmarks by three, of which the second one raises."""

    def measure(name):
        if name == "second":
            raise error
        return Measurement(name, 1.0, 2.0, "", ours=lambda: None)

    names = ("first", "second", "third")
    rows = {name: speed.Row(name, lambda device, name=name: measure(name)) for name in names}
    monkeypatch.setattr(speed, "BENCHMARKS", rows)


def _names(result):
    return [json.loads(line)["name"] for line in result.stdout.splitlines()]


def test_rows_that_were_measured_are_printed_before_an_interrupt(monkeypatch):
    _second_raises(monkeypatch, KeyboardInterrupt())
    result = CliRunner().invoke(main, ["--json"])
    assert (result.exit_code, _names(result)) == (1, ["first"])


def test_a_row_that_fails_is_reported_and_stops_no_other(monkeypatch):
    _second_raises(monkeypatch, RuntimeError("the masks differ"))
    result = CliRunner().invoke(main, ["--json"])
    assert (result.exit_code, _names(result)) == (1, ["first", "third"])
    assert "second failed:\nTraceback" in result.stderr
    assert "RuntimeError: the masks differ" in result.stderr
    assert result.stderr.endswith("Error: 1 of 3 rows failed: second\n")


def test_an_unknown_row_names_the_benchmarks():
    result = CliRunner().invoke(main, ["cnnsplitter.merge", "train.epochs"])
    assert result.exit_code == 2
    assert "'train.epochs'" in result.output
    assert all(name in result.output for name in BENCHMARKS)


def test_a_device_that_is_not_there_is_named():
    result = CliRunner().invoke(main, ["gradsplitter.first_steps", "--small", "--device", "cuda:99"])
    assert result.exit_code == 2
    assert "torch cannot use 'cuda:99' here" in result.stderr


def test_rows_and_the_rate_are_measured_without_tf32(monkeypatch):
    allowed = []

    def rate(device):
        allowed.append(torch.backends.cudnn.allow_tf32)
        return 1.0

    def row(**_):
        return Measurement("row", 1.0, 1.0, "", ours=lambda: None, flops=rate("cuda"))

    monkeypatch.setattr(speed, "BENCHMARKS", {"row": speed.Row("a row", row)})
    monkeypatch.setattr(speed, "operations_per_second", rate)
    with pretended_gpu():
        result = CliRunner().invoke(main, ["--device", "cuda"])
    assert (result.exit_code, allowed) == (0, [False, False])
    assert torch.backends.cudnn.allow_tf32, "torch's own default"


def test_plain_merging_finds_the_same_best_fitness():
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(40) % 4
    scores = torch.randn(4, 5, 40, generator=generator)
    bits = torch.rand(4, 5, 30, generator=generator) < 0.5
    plain = PlainMerging(
        scores={c: list(scores[c].numpy()) for c in range(4)},
        labels=labels.numpy(),
        kept={c: kept_sets(bits[c].numpy()) for c in range(4)},
        pool_size=10**6,
    )
    compositions = Merger(labels, 4).merge(
        scores,
        jaccard_distances(bits.flatten(0, 1)).view(4, 5, 4, 5),
        class_order=range(4),
        stages=[StageLimits(0.0, 1, 10**6)] * len(stage_sizes(4)),
    )
    assert plain.run() == pytest.approx(float((0.9 * compositions.accuracy + 0.1 * compositions.distance).max()))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_at_a_small_size_each_benchmark_agrees_with_its_reference(name):
    # A row raises where ours and the reference disagree.
    row = BENCHMARKS[name]
    measurement = row.measure(**row.small)
    assert measurement.name == name
    assert measurement.seconds > 0
    assert measurement.reference_seconds > 0
    has_floor = not name.startswith("cnnsplitter.") and name != "gradsplitter.split" and not name.endswith("_bf16")
    assert (measurement.flops > 0) == has_floor


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_runs_on_a_gpu(name, monkeypatch):
    monkeypatch.setattr(speed, "operations_per_second", lambda device: 1e9)  # takes as long as the rows
    with pretended_gpu():
        result = CliRunner().invoke(main, [name, "--small", "--json", "--device", "cuda"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[0])["name"] == name


def test_benchmarks_are_listed_by_the_beginning_of_their_names():
    result = CliRunner().invoke(main, ["--list", "gradsplitter.mask", "compose"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "compose.predict",
        "gradsplitter.mask_step_dense",
        "gradsplitter.mask_step_dense_bf16",
        "gradsplitter.mask_step_sparse",
        "gradsplitter.mask_step_sparse_bf16",
    ]


def test_the_profile_names_operations():
    result = CliRunner().invoke(main, ["cnnsplitter.jaccard", "--small", "--profile"])
    assert result.exit_code == 0
    assert "aten::mm" in result.stdout


def test_the_floor_is_the_operations_at_the_given_rate():
    measurement = Measurement("row", seconds=3.0, reference_seconds=6.0, detail="", ours=lambda: None, flops=100.0)
    assert measurement.record(50.0)["floor_seconds"] == 2
    assert measurement.record()["floor_seconds"] is None


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_masks_and_heads_train_as_in_plain_torch(kept, shares, monkeypatch):
    monkeypatch.setattr(whole_modules, "_MANY_OPERATIONS", 1 if shares else 1 << 60)
    task = synthetic_task(width=0.04, images=24, classes=3)
    settings = GradSplitterSettings.parse(
        {"batch_size": 8, "mask_phase": "3 steps", "mask_learning_rate": 0.01, "alpha": 0.5}, where="gradsplitter"
    )
    channels = task.trace().layout.n_channels
    generator = torch.Generator().manual_seed(1)
    masks = torch.where(torch.rand(3, channels, generator=generator) < kept, 1.0, -0.5)
    contest = Contest.of(task, settings, masks=masks)
    for _ in contest.ours.mask_phase():
        pass
    contest.plain.mask_phase(contest.batches(3), mask_learning_rate=0.01, head_learning_rate=0.001)
    contest.check()
    assert not torch.equal(contest.ours.masks, masks)
