"""Confusion matrices for rows: what a model answers before and after its modules are used."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from benchmarks.rows.row import ConfusionRecord
from splitters.data import ImageSet

MAX_COUNTS = 20_000
"""Numbers in the matrices of one row: two matrices of 100 classes."""


def fits_in_row(n_classes: int, *, n_records: int = 1) -> bool:
    """Return whether a row has room for this many pairs of matrices."""
    return 2 * n_records * n_classes**2 <= MAX_COUNTS


def confusion_record(
    before: Int64[Tensor, " sample"],
    after: Int64[Tensor, " sample"],
    images: ImageSet,
    *,
    target_class: str | None = None,
    fusion: str | None = None,
) -> ConfusionRecord:
    """Return two models' answers for the same images as matrices.

    Args:
        before: Answers of the base or weak model, on any device.
        after: Answers of the composed or patched model.
        images: The images.
        target_class: See ``ConfusionRecord``.
        fusion: See ``ConfusionRecord``.
    """
    labels, n_classes = images.labels.cpu(), images.n_classes
    return ConfusionRecord(
        target_class=target_class,
        fusion=fusion,
        classes=list(images.class_names),
        before=_matrix(before.cpu(), labels, n_classes),
        after=_matrix(after.cpu(), labels, n_classes),
    )


def _matrix(answers: Tensor, labels: Tensor, n_classes: int) -> list[list[int]]:
    counts = torch.bincount(labels * n_classes + answers, minlength=n_classes**2)
    matrix: list[list[int]] = counts.view(n_classes, n_classes).tolist()
    return matrix
