"""Merging against a plain version: lists of scores, arg max, Python sets."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synchronisations import Synchronisations

from benchmarks.speed.cnnsplitter.plain import plain_accuracy, plain_distance, plain_mean_distance
from splitters.errors import SplitFailedError
from splitters.methods.cnnsplitter.merging import Merger, StageLimits, comparison_keys, stage_sizes
from splitters.networks.masks import jaccard_distances

EVERYTHING = StageLimits(threshold=0.0, least=10**6, most=10**6)


@st.composite
def candidates(draw, max_classes=5, max_population=3):
    n_classes = draw(st.integers(2, max_classes))
    population = draw(st.integers(1, max_population))
    n_samples = draw(st.integers(1, 12))
    # Few different values, so that ties abound; signed zeros and infinities are values like others.
    values = st.sampled_from([-float("inf"), -1.5, -0.0, 0.0, 0.25, 3.0, float("inf")])
    count = n_classes * population * n_samples
    flat = draw(st.lists(values, min_size=count, max_size=count))
    scores = torch.tensor(flat).view(n_classes, population, n_samples)
    labels = torch.tensor(draw(st.lists(st.integers(0, n_classes - 1), min_size=n_samples, max_size=n_samples)))
    bits = draw(st.lists(st.booleans(), min_size=n_classes * population * 6, max_size=n_classes * population * 6))
    kept = torch.tensor(bits).view(n_classes * population, 6)
    order = draw(st.permutations(range(n_classes)))
    return scores, labels, kept, order


def distances_of(kept, n_classes):
    population = len(kept) // n_classes
    return jaccard_distances(kept).view(n_classes, population, n_classes, population)


@settings(deadline=None, max_examples=150)
@given(candidates())
def test_without_limits_every_composition_is_found_with_its_plain_accuracy_and_distance(drawn):
    scores, labels, kept, order = drawn
    n_classes, population, _ = scores.shape
    found = Merger(labels, n_classes).merge(
        scores, distances_of(kept, n_classes), class_order=order, stages=[EVERYTHING] * len(stage_sizes(n_classes))
    )
    expected = set(itertools.product(range(population), repeat=n_classes))
    assert {tuple(row) for row in found.members.tolist()} == expected
    sets = [set(row.nonzero().flatten().tolist()) for row in kept]
    for members, accuracy, distance in zip(
        found.members.tolist(), found.accuracy.tolist(), found.distance.tolist(), strict=True
    ):
        parts = {c: scores[c, members[c]].numpy() for c in range(n_classes)}
        assert accuracy == pytest.approx(plain_accuracy(parts, labels.numpy()))
        chosen = [sets[c * population + members[c]] for c in range(n_classes)]
        assert distance == pytest.approx(plain_mean_distance(chosen))


@settings(deadline=None, max_examples=60)
@given(candidates(max_classes=4), st.floats(0, 1), st.integers(1, 3), st.integers(0, 4), st.booleans(), st.booleans())
def test_limited_merging_keeps_what_a_plain_version_keeps(drawn, threshold, least, more, protects, on_gpu):
    scores, labels, kept, order = drawn
    n_classes = len(scores)
    distances = distances_of(kept, n_classes)
    limits = StageLimits(threshold, least, least + more)
    last_best = [scores.shape[1] - 1] * n_classes if protects else None
    # One image is ranked, and one composition compared, at a time.
    merger = Merger(labels, n_classes, memory_bytes=1)
    merger._compares_pairs = on_gpu
    found = merger.merge(
        scores, distances, class_order=order, stages=[limits] * len(stage_sizes(n_classes)), last_best=last_best
    )
    assert found.members.tolist() == plain_merge(scores, labels, distances, order, limits, last_best)
    assert last_best is None or last_best in found.members.tolist()


def plain_merge(scores, labels, distances, order, limits, last_best):
    """Pools of compositions as dicts; every stage sorts all pairs."""
    pools = [[{c: i} for i in range(scores.shape[1])] for c in order]
    while len(pools) > 1:
        merged = []
        for one, other in zip(pools[::2], pools[1::2], strict=False):
            if len(one[0]) < len(other[0]):
                one, other = other, one
            pairs = [{**a, **b} for a in one for b in other]
            ranked = []
            for position, pair in enumerate(pairs):
                parts = {c: scores[c, i].numpy() for c, i in pair.items()}
                inside = [s for s, label in enumerate(labels.tolist()) if label in pair]
                right = round(plain_accuracy(parts, labels.numpy()) * len(inside))
                spread = sum(
                    round(float(distances[c, i, d, j]) * 2**16)
                    for (c, i), (d, j) in itertools.combinations(pair.items(), 2)
                )
                ranked.append((-right, -spread, position, pair))
            passing = sum(-item[0] >= limits.threshold * len(inside) - 1e-9 for item in ranked)
            keep = min(max(passing, limits.least), limits.most)
            best = [item[3] for item in sorted(ranked, key=lambda item: item[:3])[:keep]]
            protected = None if last_best is None else {c: last_best[c] for c in pairs[0]}
            if protected is not None and protected not in best:
                best = [*best[: max(1, limits.most - 1)], protected]
            merged.append(best)
        if len(pools) % 2:
            merged.append(pools[-1])
        pools = merged
    return [[pair[c] for c in range(len(order))] for pair in pools[0]]


def test_waits_for_a_gpu_do_not_grow_with_the_candidates():
    def waits(population):
        merger = Merger(torch.arange(40) % 4, 4, memory_bytes=1)
        merger._compares_pairs = True
        scores = torch.rand(4, population, 40)
        distances = torch.zeros(4, population, 4, population).double()
        with Synchronisations() as counts:
            merger.merge(scores, distances, class_order=range(4), stages=[StageLimits(0.0, 1, 50)] * 2)
        return counts

    assert waits(3) == waits(9)


def test_of_equal_scores_the_lowest_class_wins():
    scores = torch.ones(3, 1, 3)
    labels = torch.tensor([0, 1, 2])
    keys = comparison_keys(scores, labels)
    assert keys[:, 0, 0].argmax() == 0
    assert keys[0, 0, 0] % 2 == 1
    for order in itertools.permutations(range(3)):
        found = Merger(labels, 3).merge(
            scores, torch.zeros(3, 1, 3, 1).double(), class_order=order, stages=[EVERYTHING] * 2
        )
        assert found.accuracy.tolist() == pytest.approx([1 / 3])


def test_nan_scores_are_refused_with_their_classes():
    scores = torch.zeros(3, 2, 4)
    scores[1, 0, 2] = float("nan")
    with pytest.raises(SplitFailedError, match=r"classes \[1\] contain NaN"):
        comparison_keys(scores, torch.zeros(4, dtype=torch.int64))


def test_thresholds_that_nothing_passes_keep_the_least_number():
    torch.manual_seed(0)
    scores, labels = torch.randn(3, 6, 30), torch.arange(30) % 3
    impossible = StageLimits(threshold=1.0, least=7, most=20)
    found = Merger(labels, 3).merge(
        scores, torch.zeros(3, 6, 3, 6).double(), class_order=[2, 0, 1], stages=[impossible] * 2
    )
    assert len(found.members) == 7
    assert found.accuracy.max() < 1


def test_the_last_best_composition_survives_limits_that_it_does_not_meet():
    labels = torch.arange(40) % 4
    scores = torch.rand(4, 5, 40) + (labels == torch.arange(4)[:, None, None])
    scores[:, 3] = -scores[:, 3]
    limits = StageLimits(threshold=0.9, least=2, most=4)
    merger = Merger(labels, 4)
    arguments = {"class_order": [3, 1, 0, 2], "stages": [limits] * 2}
    distances = torch.zeros(4, 5, 4, 5).double()
    assert [3, 3, 3, 3] not in merger.merge(scores, distances, **arguments).members.tolist()
    assert [3, 3, 3, 3] in merger.merge(scores, distances, **arguments, last_best=[3] * 4).members.tolist()


@pytest.mark.parametrize(
    ("n_classes", "expected"),
    [
        (2, [[2]]),
        (3, [[2], [3]]),
        (5, [[2, 2], [4], [5]]),
        (7, [[2, 2, 2], [4, 3], [7]]),
        (10, [[2, 2, 2, 2, 2], [4, 4], [8], [10]]),
    ],
)
def test_pools_are_merged_in_pairs_and_an_odd_one_is_carried_over(n_classes, expected):
    assert stage_sizes(n_classes) == expected


def test_plain_distance_of_two_empty_sets_is_zero():
    assert plain_distance(set(), set()) == 0
