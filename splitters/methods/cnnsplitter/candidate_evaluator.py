"""Scores of candidates, cached; each distinct candidate runs once and shares computation with others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from splitters.data import ImageSet
from splitters.methods.cnnsplitter.genes import GeneMap
from splitters.modules.calibration import Calibration
from splitters.networks.shared_forward import SharedForward

_Key = tuple[int, bytes]


class Evaluator:
    """Scores candidates on one set of images, with a cache.

    Args:
        forward: Runs candidates.
        genes: The mapping of channels to genes.
        images: The images, on the graph's device.
        calibration: Turns logits into scores.
        cache_bytes: Size of the cache of scores. The least recently used are evicted first; those of the current
            generation never.
    """

    def __init__(
        self,
        forward: SharedForward,
        genes: GeneMap,
        images: ImageSet,
        *,
        calibration: Calibration,
        cache_bytes: int,
    ) -> None:
        self._forward = forward
        self._genes = genes
        self._images = images
        self._calibration = calibration
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[_Key, Tensor] = OrderedDict()
        self.evaluated = 0

    def scores(self, population: Bool[Tensor, "class candidate gene"]) -> Float32[Tensor, "class candidate sample"]:
        """Return every candidate's score for every image; cached ones are not run again."""
        keys = [[(c, _bytes(row)) for row in rows] for c, rows in enumerate(population)]
        missing: dict[_Key, Tensor] = {}
        for c, rows in enumerate(population):
            for key, row in zip(keys[c], rows, strict=True):
                if key not in self._cache:
                    missing.setdefault(key, row)
        self._run(missing)
        for key in (key for row in keys for key in row):
            self._cache.move_to_end(key)
        result = torch.stack([torch.stack([self._cache[key] for key in row]) for row in keys])
        self._evict(at_least=len({key for row in keys for key in row}))
        return result

    def _run(self, missing: Mapping[_Key, Tensor]) -> None:
        if not missing:
            return
        classes = torch.tensor([c for c, _ in missing])
        chromosomes = torch.stack(list(missing.values()))
        bits = torch.cat([self._genes.channels(c, chromosomes[classes == c]) for c in classes.unique().tolist()])
        logits = self._forward.class_logits(bits, classes, self._images)
        self._store(missing, self._calibration.apply(logits, classes))
        self.evaluated += len(missing)

    def _store(self, keys: Iterable[_Key], scores: Tensor) -> None:
        # A row that is a view would keep the memory of all rows.
        self._cache.update((key, row.clone()) for key, row in zip(keys, scores, strict=True))

    def _evict(self, *, at_least: int) -> None:
        entry = len(self._images) * 4
        while len(self._cache) > max(at_least, self._cache_bytes // entry):
            self._cache.popitem(last=False)

    def state(self) -> dict[str, Tensor]:
        """Return the cache, so that a resumed search evaluates the same candidates as an uninterrupted one."""
        n_genes = self._genes.n_genes
        genes = [torch.frombuffer(bytearray(key), dtype=torch.bool) for _, key in self._cache]
        return {
            "classes": torch.tensor([c for c, _ in self._cache]),
            "chromosomes": torch.stack(genes) if genes else torch.empty(0, n_genes, dtype=torch.bool),
            "scores": torch.stack(list(self._cache.values())).cpu() if genes else torch.empty(0, len(self._images)),
            "evaluated": torch.tensor(self.evaluated),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        keys = [(c, _bytes(row)) for c, row in zip(state["classes"].tolist(), state["chromosomes"], strict=True)]
        rows = state["scores"].to(self._images.images.device)
        self._cache.clear()
        self._store(keys, rows)
        self.evaluated = int(state["evaluated"])


def _bytes(chromosome: Bool[Tensor, " gene"]) -> bytes:
    return chromosome.cpu().contiguous().numpy().tobytes()
