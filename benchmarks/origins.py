"""Which images a network has seen in its training: enough to deal them out again, and to keep them out of a choice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from benchmarks.cells import Cell, DatasetSpec
from benchmarks.preparation import images_for
from benchmarks.scenarios.base import Workspace
from splitters.data import ImageSet
from splitters.errors import DataError
from splitters.settings import Settings

_DIGEST_BYTES = 16


class ImageOrigin(Settings):
    """Where a network's images come from.

    Args:
        dataset: The data set, and which of its images take part.
        seed: Deals them out to their roles.
        protocol: How; see ``Cell``.
    """

    dataset: DatasetSpec
    seed: int = Field(ge=0, lt=2**63)
    protocol: Literal["splitbench", "published"] = "splitbench"

    @classmethod
    def of(cls, cell: Cell) -> ImageOrigin:
        """Returns where the images of a cell's base model come from."""
        return cls(dataset=cell.dataset, seed=cell.seed, protocol=cell.protocol)


def unseen(images: ImageSet, origins: Sequence[ImageOrigin], workspace: Workspace) -> ImageSet:
    """Returns those images that no network was trained on.

    Args:
        images: The images.
        origins: Where the networks' images come from.
        workspace: Where to look for these.

    Raises:
        DataError: If a class has no such image, or a network's data set is not there.
    """
    seen: set[bytes] = set()
    for origin in dict.fromkeys(origin.model_dump_json() for origin in origins):
        known = ImageOrigin.model_validate_json(origin)
        # Roles do not depend on the form that images are brought to, and the same form makes them comparable.
        spec = known.dataset.model_copy(update={"input_shape": images.input_shape})
        seen.update(_digests(images_for(spec, known.seed, known.protocol, workspace).roles.train))
    new = [index for index, digest in enumerate(_digests(images)) if digest not in seen]
    kept = images.subset(torch.tensor(new, dtype=torch.int64))
    counts = torch.bincount(kept.labels, minlength=kept.n_classes).tolist()
    absent = [name for name, count in zip(kept.class_names, counts, strict=True) if not count]
    if absent:
        raise DataError(
            f"of {len(images)} select images, {len(new)} are new to all networks, and none of these is of "
            f"{', '.join(map(repr, absent))}. Train and split with one seed: then all have seen the same images."
        )
    return kept


def _digests(images: ImageSet) -> list[bytes]:
    flat = images.images.cpu().contiguous().flatten(1).numpy()
    return [hashlib.blake2b(image.tobytes(), digest_size=_DIGEST_BYTES).digest() for image in flat]
