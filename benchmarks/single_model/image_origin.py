"""The images that a network was trained on, recorded so that they can be loaded again and kept out of a choice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from benchmarks.cells import Cell, DatasetSpec
from benchmarks.pipeline.preparation import images_for
from benchmarks.pipeline.workspace import Workspace
from splitters.data import ImageSet
from splitters.errors import DataError, SplitbenchError
from splitters.settings import Settings

_DIGEST_BYTES = 16


class ImageOrigin(Settings):
    """Where a network's images come from.

    Args:
        dataset: The data set, and which of its images are used.
        seed: Seeds their roles.
        dataset_hash: SHA-256 of the decoded data set; other images would get other roles.
        part: All of its ``train`` images, or those of them that a splitter sees.
    """

    dataset: DatasetSpec
    seed: int = Field(ge=0, lt=2**63)
    dataset_hash: str
    part: Literal["train", "split_train"] = "train"

    @model_validator(mode="before")
    @classmethod
    def _read_earlier(cls, values: Any) -> Any:
        """Read the fields of earlier versions; images that those chose from the test set are unknown here."""
        if not isinstance(values, Mapping) or values.get("protocol") != "splitbench":
            return values
        return {key: value for key, value in values.items() if key != "protocol"}

    @classmethod
    def of(cls, cell: Cell, dataset_hash: str) -> ImageOrigin:
        """Return where the images of a cell come from."""
        return cls(dataset=cell.dataset, seed=cell.seed, dataset_hash=dataset_hash)

    def train_images(self, input_shape: tuple[int, int, int], workspace: Workspace, *, dataset: str) -> ImageSet | None:
        """Return the images that the network was trained on; None if they cannot be loaded.

        The file is not trusted: it cannot make this read a location that the user did not name, download anything, or
        decode images to another size.

        Args:
            input_shape: The shape to convert them to; roles do not depend on it.
            workspace: Where to look for the data set.
            dataset: The data set that the user named.
        """
        own = self.dataset.input_shape
        if (self.dataset.name != dataset and ":" in self.dataset.name) or own[1:] != input_shape[1:]:
            return None
        workspace = replace(workspace, download=False)
        try:
            images = images_for(self.dataset, self.seed, workspace)
            if images.dataset_hash != self.dataset_hash:
                return None
            if own != input_shape:
                spec = self.dataset.model_copy(update={"input_shape": input_shape})
                images = images_for(spec, self.seed, workspace)
        except (SplitbenchError, OSError):
            # The data set is elsewhere, or unknown to this installation.
            return None
        return images.roles.train if self.part == "train" else images.split_roles.train


def origin_fields(origin: ImageOrigin | None) -> dict[str, Any]:
    """Return an origin as module files store it; empty if it is unknown."""
    return {} if origin is None else origin.model_dump(mode="json")


def unseen(images: ImageSet, seen: Sequence[ImageSet]) -> ImageSet:
    """Return the images that are in none of some other sets, compared byte for byte.

    Args:
        images: The images.
        seen: Sets of the same shape.

    Raises:
        DataError: If a class has no such image.
    """
    known = {digest for others in seen for digest in _digests(others)}
    new = [index for index, digest in enumerate(_digests(images)) if digest not in known]
    indices = torch.tensor(new, dtype=torch.int64)
    counts = torch.bincount(images.labels.cpu()[indices], minlength=images.n_classes).tolist()
    absent = [name for name, count in zip(images.class_names, counts, strict=True) if not count]
    if absent:
        raise DataError(
            f"of {len(images)} select images, {len(new)} are new to all networks, and none of these is of "
            f"{', '.join(map(repr, absent))}. Train and split with one seed and one choice of images."
        )
    return images.subset(indices)


def _digests(images: ImageSet) -> list[bytes]:
    flat = images.images.cpu().contiguous().flatten(1).numpy()
    return [hashlib.blake2b(image.tobytes(), digest_size=_DIGEST_BYTES).digest() for image in flat]
