"""Merging: finding good compositions of one candidate per class, of which there are far too many to try.

The classes, in random order, are merged in pairs: 1 + 1 -> 2, 2 + 2 -> 4, and so on to all N; an odd pool is carried
over to the next stage. Each stage keeps only the most accurate compositions.

A composition is, per image, one whole number: the *key* of its winning module. Keys are ordered as the scores are, of
equal scores the lowest class wins, and a key is odd where the winner's class is the image's. So two compositions merge
by a maximum, and no list of scores is needed.

An image of class c counts for a merged pair if its side's module of class c wins there, and wins against the other
side too. All compositions of a side that share that module share the second condition, so the accuracies of all pairs
are matrix products of bits, one per class and candidate. A GPU compares the keys of all pairs instead: launching so
many small products would cost more than the extra arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from splitters.errors import SplitFailedError
from splitters.networks.shared_forward import is_launch_bound

_DISTANCE_UNIT = 2.0**-16
"""Distances break ties between equal accuracies as multiples of this unit, whose sums are exact in float64."""

_COMPARING_BYTES = 8
"""Memory for comparing one pair's keys for an image: the higher key, and whether it is odd, as floats."""

_RANKING_BYTES = 40
"""Memory for ranking one score: two copies of it, their order as int64, the sorted values, and two copies of ranks."""


@dataclass(frozen=True)
class StageLimits:
    """What one merge keeps.

    Args:
        threshold: Compositions with at least this accuracy on the images of their own classes are kept.
        least: Number of best compositions kept in any case.
        most: Maximum number kept; the last generation's best is kept beyond it.
    """

    threshold: float
    least: int
    most: int


@dataclass(frozen=True)
class Compositions:
    """Compositions of one candidate per class that survived all merges, best first.

    Args:
        members: The candidate of each class, by its index among its class's candidates.
        accuracy: Share of the images that the composition classifies correctly.
        distance: Mean pairwise Jaccard distance of the members' kept kernels.
    """

    members: Int64[Tensor, "composition class"]
    accuracy: Float64[Tensor, " composition"]
    distance: Float64[Tensor, " composition"]


@dataclass(frozen=True)
class _Pool:
    classes: tuple[int, ...]
    members: Int64[Tensor, "composition class"]
    keys: Float32[Tensor, "composition sample"]
    spread: Float64[Tensor, " composition"]
    right: Int64[Tensor, " composition"]
    protected: int | None


def stage_sizes(n_classes: int) -> list[list[int]]:
    """Return how many classes each merge of each stage joins, e.g. ``[[2, 2], [4], [5]]`` for 5 classes.

    Args:
        n_classes: At least 2.
    """
    sizes, stages = [1] * n_classes, []
    while len(sizes) > 1:
        joined = [sizes[i] + sizes[i + 1] for i in range(0, len(sizes) - 1, 2)]
        stages.append(joined)
        sizes = joined + sizes[len(joined) * 2 :]
    return stages


class Merger:
    """Merges the candidates of all classes on a fixed set of images.

    Args:
        labels: The images' classes.
        n_classes: The number of classes N.
        memory_bytes: Memory for ranking, and for comparing on a GPU, beside the scores and the ranks themselves.
    """

    def __init__(self, labels: Int64[Tensor, " sample"], n_classes: int, *, memory_bytes: int = 1 << 30) -> None:
        self._memory_bytes = memory_bytes
        self._compares_pairs = is_launch_bound(labels.device)
        self._order = labels.argsort(stable=True)
        self._labels = labels[self._order]
        counts = torch.bincount(labels, minlength=n_classes).tolist()
        ends = torch.tensor(counts).cumsum(0).tolist()
        self._images = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]

    def merge(
        self,
        scores: Float32[Tensor, "class candidate sample"],
        distances: Float64[Tensor, "class candidate class candidate"],
        *,
        class_order: Sequence[int],
        stages: Sequence[StageLimits],
        last_best: Sequence[int] | None = None,
    ) -> Compositions:
        """Return the compositions of all classes that survive.

        Compositions are ranked by accuracy, then by mean Jaccard distance, then by the position of their parts.

        Args:
            scores: Every candidate's score for every image.
            distances: Jaccard distances of the kept kernels of any two candidates.
            class_order: The order in which classes are paired.
            stages: One entry per stage, see ``stage_sizes``.
            last_best: Each class's candidate in the last generation's best composition, which always survives; None in
                the first generation.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        modules = comparison_keys(scores[:, :, self._order], self._labels, memory_bytes=self._memory_bytes)
        units = torch.round(distances / _DISTANCE_UNIT)
        pools = [self._single(c, modules[c], None if last_best is None else last_best[c]) for c in class_order]
        for limits in stages:
            pairs = len(pools) // 2 * 2
            merged = [
                self._join(pools[i], pools[i + 1], modules, units, limits, last=len(pools) == 2)
                for i in range(0, pairs, 2)
            ]
            pools = merged + pools[pairs:]
        (final,) = pools
        members = torch.empty_like(final.members)
        members[:, list(final.classes)] = final.members
        return Compositions(
            members=members,
            accuracy=final.right.double() / len(self._labels),
            distance=_mean_distance(distances, members),
        )

    def _single(self, class_index: int, keys: Tensor, protected: int | None) -> _Pool:
        n = len(keys)
        return _Pool(
            classes=(class_index,),
            members=torch.arange(n, device=keys.device)[:, None],
            keys=keys,
            spread=torch.zeros(n, dtype=torch.float64, device=keys.device),
            right=_is_right(keys[:, self._images[class_index]]).long().sum(1),
            protected=protected,
        )

    def _join(self, a: _Pool, b: _Pool, modules: Tensor, units: Tensor, limits: StageLimits, *, last: bool) -> _Pool:
        if len(a.classes) < len(b.classes):
            a, b = b, a
        right = self._compared_answers(a, b) if self._compares_pairs else self._correct_answers(a, b, modules)
        spread = a.spread[:, None] + b.spread[None, :] + _cross_units(units, a, b)
        total = sum(self._images[c].stop - self._images[c].start for c in (*a.classes, *b.classes))
        protected = None
        if a.protected is not None and b.protected is not None:
            protected = a.protected * len(b.members) + b.protected
        chosen = _survivors(right.flatten(), spread.flatten(), total, limits, protected)
        rows, columns = chosen // len(b.members), chosen % len(b.members)
        return _Pool(
            classes=a.classes + b.classes,
            members=torch.cat([a.members[rows], b.members[columns]], dim=1),
            keys=a.keys[:0] if last else torch.maximum(a.keys[rows], b.keys[columns]),
            spread=spread.flatten()[chosen],
            right=right.flatten()[chosen],
            protected=None if protected is None else int((chosen == protected).nonzero()[0]),
        )

    def _compared_answers(self, a: _Pool, b: _Pool) -> Int64[Tensor, "a b"]:
        """Count the same as ``_correct_answers``, in as few operations as memory allows."""
        images = [self._images[c] for c in (*a.classes, *b.classes)]
        one, other = (torch.cat([pool.keys[:, part] for part in images], dim=1) for pool in (a, b))
        block = max(1, self._memory_bytes // (_COMPARING_BYTES * max(1, other.numel())))
        blocks = [_is_right(torch.maximum(rows[:, None], other)).sum(2) for rows in one.split(block)]
        return torch.cat(blocks).long()

    def _correct_answers(self, a: _Pool, b: _Pool, modules: Tensor) -> Int64[Tensor, "a b"]:
        """Count the images of both sides' classes that each pair of compositions classifies correctly."""
        counts = torch.zeros(len(a.members), len(b.members), device=a.keys.device)
        self._add_wins(counts, a, b, modules)
        self._add_wins(counts.T, b, a, modules)
        return counts.long()

    def _add_wins(self, counts: Tensor, winner: _Pool, loser: _Pool, modules: Tensor) -> None:
        """Add, for each pair, the images of the winner's classes on which the right module beats all others."""
        for column, class_index in enumerate(winner.classes):
            images = self._images[class_index]
            own = modules[class_index][:, images]
            right = _is_right(winner.keys[:, images])
            other = loser.keys[:, images].contiguous()
            wins = torch.empty_like(other)
            candidates = winner.members[:, column]
            rows = candidates.argsort(stable=True)
            sizes = torch.bincount(candidates, minlength=len(own)).tolist()
            for candidate, sharing in enumerate(rows.split(sizes)):
                if len(sharing):
                    torch.gt(own[candidate], other, out=wins)  # into floats, which need no conversion for the product
                    counts.index_add_(0, sharing, right[sharing] @ wins.T)


def comparison_keys(
    scores: Float32[Tensor, "class candidate sample"],
    labels: Int64[Tensor, " sample"],
    *,
    memory_bytes: int = 1 << 30,
) -> Float32[Tensor, "class candidate sample"]:
    """Return whole numbers in the order of the scores of each image; of equal scores, the lowest class ranks highest.

    A number is twice the rank of the score among all candidates' scores for the image, plus one where the module's
    class is the image's. Floats represent it exactly below 2**24, and compare several times faster than integers.

    Args:
        scores: Every candidate's score for every image.
        labels: The images' classes.
        memory_bytes: Memory for ranking beside scores and keys; as many images are ranked at once as fit, at least one.

    Raises:
        SplitFailedError: If a score is NaN, which no comparison can rank.
    """
    nan = torch.isnan(scores).any(2).any(1)
    if bool(nan.any()):
        raise SplitFailedError(
            f"scores of candidates of the classes {nan.nonzero().flatten().tolist()} contain NaN; "
            "their networks overflow."
        )
    n_classes, n_candidates, n_samples = scores.shape
    keys = torch.empty_like(scores, memory_format=torch.contiguous_format)
    block = max(1, memory_bytes // (_RANKING_BYTES * n_classes * n_candidates))
    for begin in range(0, n_samples, block):
        images = slice(begin, begin + block)
        keys[:, :, images] = 2 * _ranks(scores[:, :, images])
    own = torch.arange(n_classes, device=scores.device)[:, None] == labels
    return keys.add_(own[:, None])


def _ranks(scores: Float32[Tensor, "class candidate sample"]) -> Float32[Tensor, "class candidate sample"]:
    """Return each score's rank among all scores for its image; of equal ones, the lowest class's ranks highest."""
    n_classes, n_candidates, n_samples = scores.shape
    # A stable sort over descending classes gives the lowest class the highest of equal ranks.
    descending = scores.flip(0).permute(2, 0, 1).reshape(n_samples, -1)
    order = descending.argsort(dim=1, stable=True)
    ranks = torch.empty_like(descending)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=ranks.device).to(ranks).expand_as(order))
    return ranks.view(n_samples, n_classes, n_candidates).permute(1, 2, 0).flip(0)


def _is_right(keys: Float32[Tensor, "composition sample"]) -> Float32[Tensor, "composition sample"]:
    """Return 1 where the winner's class is the image's, else 0."""
    return torch.remainder(keys, 2)


def _cross_units(units: Tensor, a: _Pool, b: _Pool) -> Float64[Tensor, "a b"]:
    """Return, for each pair, the sum of the distances between members of one side and of the other."""
    n_classes, n_candidates = units.shape[:2]
    rows = units.new_zeros(len(a.members), n_classes, n_candidates)
    for column, class_index in enumerate(a.classes):
        rows += units[class_index][a.members[:, column]]
    cross = units.new_zeros(len(a.members), len(b.members))
    for column, class_index in enumerate(b.classes):
        cross += rows[:, class_index].index_select(1, b.members[:, column])
    return cross


def _survivors(
    right: Int64[Tensor, " pair"],
    spread: Float64[Tensor, " pair"],
    total: int,
    limits: StageLimits,
    protected: int | None,
) -> Int64[Tensor, " kept"]:
    """Return the pairs that a stage keeps, best first, the protected one last if it is not among the best.

    It replaces another one only if that is not the best of all.
    """
    passing = int((right >= limits.threshold * total - 1e-9).sum())
    keep = min(max(passing, limits.least), limits.most, len(right))
    rank = right.double() * (float(spread.max()) + 1) + spread
    cut = rank.topk(keep).values[-1]
    above = (rank > cut).nonzero().flatten()
    equal = (rank == cut).nonzero().flatten()[: keep - len(above)]
    chosen = torch.cat([above, equal])
    chosen = chosen[rank[chosen].argsort(descending=True, stable=True)]
    if protected is not None and not bool((chosen == protected).any()):
        kept = chosen if len(chosen) < limits.most else chosen[: max(1, limits.most - 1)]
        chosen = torch.cat([kept, chosen.new_tensor([protected])])
    return chosen


def _mean_distance(distances: Tensor, members: Int64[Tensor, "composition class"]) -> Float64[Tensor, " composition"]:
    n_classes = members.shape[1]
    total = distances.new_zeros(len(members))
    for one in range(n_classes):
        for other in range(one):
            total += distances[one, members[:, one], other, members[:, other]]
    return total / (n_classes * (n_classes - 1) / 2)
