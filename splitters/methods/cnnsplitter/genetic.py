"""From one generation to the next, and what a composition is worth."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from splitters.methods.cnnsplitter.genes import GeneMap
from splitters.methods.cnnsplitter.merging import Compositions


def accuracy_weight(alpha: float, gamma: float, last_accuracy: float | None) -> float:
    """Returns alpha_t: accuracy weighs more while the last generation's best is less accurate than gamma.

    Args:
        alpha: The weight to which it returns.
        gamma: The accuracy from which nothing is added.
        last_accuracy: Of the last generation's best composition; None in the first generation, which adds nothing.
    """
    return alpha if last_accuracy is None else alpha + max(0.0, gamma - last_accuracy)


def composition_fitness(
    found: Compositions, *, accuracy_weight: float, distance_weight: float
) -> Float64[Tensor, " composition"]:
    """Returns the weighted sum of accuracy and mean pairwise Jaccard distance."""
    return accuracy_weight * found.accuracy + distance_weight * found.distance


def candidate_fitness(
    found: Compositions, fitness: Float64[Tensor, " composition"], population: int
) -> Float64[Tensor, "class candidate"]:
    """Returns the fitness of the best surviving composition that contains each candidate; 0 if there is none."""
    n_classes = found.members.shape[1]
    best = fitness.new_zeros(n_classes, population)
    return best.scatter_reduce_(1, found.members.T, fitness.expand(n_classes, -1), "amax")


def rank_candidates(fitness: Float64[Tensor, " candidate"], best: int) -> Int64[Tensor, " candidate"]:
    """Returns candidates by falling fitness; of equals the member of the best composition first, then the earlier."""
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
    """Returns the next population of one class: the elites first, then offspring.

    Offspring number j comes from parents k and k + 1, counted round and round: up to a random point from the one,
    from there on from the other. Then a share of its genes is drawn anew.

    Args:
        genes: How channels form genes.
        ranked: The population, best first.
        parents: How many of the best have offspring.
        elites: How many of the best are copied.
        mutation_rate: Share of an offspring's genes that are drawn anew from {0, 1}; rounded to whole genes, and one at
            least unless it is 0.
        generator: The class's random stream.
    """
    size, n_genes = ranked.shape
    count = size - elites
    one = torch.arange(count) % parents
    points = torch.randint(1, max(n_genes, 2), (count, 1), generator=generator)
    offspring = torch.where(torch.arange(n_genes) < points, ranked[one], ranked[(one + 1) % parents])
    redrawn = max(1, round(mutation_rate * n_genes)) if mutation_rate else 0
    places = torch.rand(count, n_genes, generator=generator).argsort(dim=1)[:, :redrawn]
    values = torch.randint(2, (count, redrawn), generator=generator).bool()
    offspring = offspring.scatter(1, places, values)
    return torch.cat([ranked[:elites], genes.repaired(offspring)])
