"""The genetic search of one class: the start population, fitness, and the next generation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from splitters.methods.cnnsplitter.genes import GeneMap
from splitters.methods.cnnsplitter.merging import Compositions


def random_population(genes: GeneMap, size: int, generator: torch.Generator) -> Bool[Tensor, "candidate gene"]:
    """Draw every gene with probability 1/2."""
    drawn = torch.rand(size, genes.n_genes, generator=generator) < 0.5
    return genes.repaired(drawn)


def start_population(
    genes: GeneMap,
    shares: Sequence[Sequence[float]],
    size: int,
    generator: torch.Generator,
    *,
    fall_off: float = 10.0,
) -> Bool[Tensor, "candidate gene"]:
    """Draw a start population whose layers keep given shares of their genes, important genes more often.

    Args:
        genes: How channels form genes.
        shares: For each channel group, the shares of active genes from which each candidate draws one.
        size: The number of candidates.
        generator: The class's random stream.
        fall_off: A gene of rank i, of G in its group, is drawn in proportion to exp((G - 1 - i) / fall_off); the
            papers' constant by default.
    """
    population = torch.zeros(size, genes.n_genes, dtype=torch.bool)
    for span, choices, count in zip(genes.group_slices, shares, genes.counts, strict=True):
        drawn = torch.randint(len(choices), (size,), generator=generator)
        active = (torch.tensor(choices)[drawn] * count).round().long().clamp(min=1)
        # The largest values of log-weight plus Gumbel noise are a draw without replacement by weight.
        log_weight = torch.arange(count - 1, -1, -1) / fall_off
        uniform = torch.rand(size, count, generator=generator, dtype=torch.float64).clamp(min=1e-300)
        order = (log_weight - torch.log(-torch.log(uniform))).argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(count).expand_as(order))
        population[:, span] = rank < active[:, None]
    return population


def accuracy_weight(alpha: float, gamma: float, last_accuracy: float | None) -> float:
    """Return alpha_t, the weight of accuracy: higher while the last generation's best is less accurate than gamma.

    Args:
        alpha: The base weight.
        gamma: The accuracy from which on nothing is added.
        last_accuracy: Accuracy of the last generation's best composition; None in the first generation, which adds
            nothing.
    """
    return alpha if last_accuracy is None else alpha + max(0.0, gamma - last_accuracy)


def composition_fitness(
    compositions: Compositions, *, accuracy_weight: float, distance_weight: float
) -> Float64[Tensor, " composition"]:
    """Return the weighted sum of accuracy and mean pairwise Jaccard distance."""
    return accuracy_weight * compositions.accuracy + distance_weight * compositions.distance


def candidate_fitness(
    compositions: Compositions, fitness: Float64[Tensor, " composition"], population: int
) -> Float64[Tensor, "class candidate"]:
    """Return the fitness of the best surviving composition that contains each candidate; 0 if there is none."""
    n_classes = compositions.members.shape[1]
    best = fitness.new_zeros(n_classes, population)
    return best.scatter_reduce_(1, compositions.members.T, fitness.expand(n_classes, -1), "amax")


def rank_candidates(fitness: Float64[Tensor, " candidate"], best: int) -> Int64[Tensor, " candidate"]:
    """Return candidates in descending fitness; of equal ones, the best composition's member first, then the earlier."""
    preferred = torch.arange(len(fitness))
    preferred = torch.cat([preferred[best : best + 1], preferred[:best], preferred[best + 1 :]])
    return preferred[fitness[preferred].argsort(descending=True, stable=True)]


def next_generation(
    genes: GeneMap,
    ranked: Bool[Tensor, "candidate gene"],
    *,
    parents: int,
    elites: int,
    mutation_rate: float,
    generator: torch.Generator,
) -> Bool[Tensor, "candidate gene"]:
    """Return the next population of one class: the elites first, then offspring.

    Offspring come from parents k and k + 1, cycling through k, by single-point crossover; a share of their genes is
    then redrawn.

    Args:
        genes: How channels form genes.
        ranked: The population, best first.
        parents: The number of best candidates that have offspring.
        elites: The number of best candidates that are copied.
        mutation_rate: Share of an offspring's genes redrawn from {0, 1}, rounded to whole genes; at least one unless it
            is 0.
        generator: The class's random stream.
    """
    size, n_genes = ranked.shape
    count = size - elites
    one = torch.arange(count) % parents
    points = torch.randint(1, max(n_genes, 2), (count, 1), generator=generator)
    offspring = torch.where(torch.arange(n_genes) < points, ranked[one], ranked[(one + 1) % parents])
    redrawn = max(1, round(mutation_rate * n_genes)) if mutation_rate else 0
    positions = torch.rand(count, n_genes, generator=generator).argsort(dim=1)[:, :redrawn]
    values = torch.randint(2, (count, redrawn), generator=generator).bool()
    offspring = offspring.scatter(1, positions, values)
    return torch.cat([ranked[:elites], genes.repaired(offspring)])
