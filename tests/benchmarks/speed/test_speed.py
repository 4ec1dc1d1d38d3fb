"""``python -m benchmarks.speed``: what it prints, and that the plain merging is a fair reference."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.speed import cnnsplitter_generation, cnnsplitter_merge
from benchmarks.speed.__main__ import BENCHMARKS, main
from benchmarks.speed.plain_merging import PlainMerging, kept_sets
from splitters.methods.cnnsplitter.merging import Merger, StageLimits, stage_sizes
from splitters.networks.masks import jaccard_distances


def test_json_is_a_list_with_the_ratio_of_both_times():
    result = CliRunner().invoke(main, ["--only", "cnnsplitter.jac", "--json"])
    assert result.exit_code == 0
    (record,) = json.loads(result.stdout)
    assert record.keys() == {"name", "seconds", "reference_seconds", "ratio", "detail"}
    assert record["name"] == "cnnsplitter.jaccard"
    assert record["ratio"] == pytest.approx(record["reference_seconds"] / record["seconds"])


def test_an_unknown_prefix_names_the_benchmarks():
    result = CliRunner().invoke(main, ["--only", "merge"])
    assert result.exit_code == 2
    assert all(name in result.output for name in BENCHMARKS)


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


def test_merging_and_generations_are_measured_and_compared_with_their_references():
    # Both raise where ours and the reference disagree.
    merge = cnnsplitter_merge.measure(classes=5, population=4, images=60, kernels=20, pool_size=30)
    generation = cnnsplitter_generation.measure(width=0.03, population=3, images=20)
    for measurement in (merge, generation):
        assert measurement.seconds > 0
        assert measurement.reference_seconds > 0
    assert "population 3, 20 images" in generation.detail
