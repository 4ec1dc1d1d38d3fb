"""Splitting a model with one call: from a trained CNN and images to modules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import nn

from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError, DataError
from splitters.files.weights_hash import weights_hash
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import (
    Progress,
    ProgressCallback,
    SplitResult,
    SplitTask,
    Splitter,
    checked_split,
    make_splitter,
)
from splitters.modules.html_table import html_paragraph, html_table
from splitters.modules.module import Module, extract_modules
from splitters.networks.inference import accuracy, network_logits, plausible_accuracy
from splitters.settings import Settings

_LOGGER = logging.getLogger(__name__)

_CLASSES_SHOWN = 20
"""Rows of the table that notebooks show."""


@dataclass(frozen=True, kw_only=True)
class ModelSplit(SplitResult):
    """What a splitter found for a model, with all that its modules need.

    Args:
        graph: The model's channel graph.
        class_names: The classes, one module each.
        normalisation: How bytes become the model's input.
        method: The splitter's name.
        base_model: The model's name.
        base_model_hash: The hash of its weights.
        base_accuracy: Its accuracy on select.
    """

    graph: ChannelGraph
    class_names: tuple[str, ...]
    normalisation: Normalisation
    method: str
    base_model: str
    base_model_hash: str
    base_accuracy: float

    def modules(self) -> list[Module]:
        """Extract the modules, one for each class in order, on the device that the split ran on."""
        return extract_modules(
            self.graph,
            self,
            self.class_names,
            self.normalisation,
            base_model=self.base_model,
            base_model_hash=self.base_model_hash,
            splitter=self.method,
        )

    def _repr_html_(self) -> str:
        """Return a summary for notebooks: what was split, and how many kernels each module keeps."""
        total = self.masks.layout.n_kernels
        kernels = self.masks.kernels.tolist()
        kept = list(zip(self.class_names, kernels, strict=True))
        rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in kept[:_CLASSES_SHOWN]]
        if len(kept) > _CLASSES_SHOWN:
            rows.append((f"{len(kept) - _CLASSES_SHOWN} more", "", ""))
        union = int(self.masks.union.kernels[0])
        rows += [
            ("mean", f"{sum(kernels) / len(kernels):,.0f}", f"{self.masks.retention:.1%}"),
            ("union", f"{union:,}", f"{self.masks.union_retention:.1%}"),
        ]
        summary = (
            f"{self.method}: {len(kept)} modules of {self.base_model}, whose accuracy on select is "
            f"{self.base_accuracy:.1%} and which has {total:,} kernels"
        )
        table = html_table(("class", "kernels kept", "share"), rows)
        return html_paragraph(summary) + table + "".join(html_paragraph(f"Warning: {text}") for text in self.warnings)


def split(
    model: nn.Module,
    train: ImageSet,
    select: ImageSet,
    method: str = "gradsplitter",
    *,
    seed: int = 0,
    callbacks: Sequence[ProgressCallback] = (),
    **settings: object,
) -> ModelSplit:
    """Split a trained CNN into one module per class.

    It runs on the device that ``train`` lies on; a copy of the model is moved there. Whatever surrounds the call,
    gradients are on while it runs and autocast is off.

    Args:
        model: The trained CNN: images to ``[batch, class]`` raw logits. It is not changed.
        train: Images that fit masks and heads, normalised as in the model's training; its classes name the logits.
        select: Images, disjoint from ``train``, that guide choices. Never the test set.
        method: The splitter's name; see ``list_splitters``.
        seed: Seeds every random number; an integer from 0 to 2^63 - 1.
        callbacks: Functions that are called with each ``Progress``; one that raises stops the split.
        **settings: The splitter's settings, e.g. ``preset="small"`` or ``round_to=8``; GradSplitter's defaults are the
            paper's schedule, which takes hours.

    Raises:
        ConfigurationError: If a name or a setting is unknown, an argument is of another type, or classes and logits
            differ in number.
        DataError: If the image sets do not fit each other.
        GraphError: If the model cannot be traced, or no module file could hold its modules.
        SplitFailedError: If no usable modules were found.
    """
    splitter = make_splitter(method, settings)
    _check_types(model, train, select, seed, callbacks)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(train.images.device.type, enabled=False):
        return _split(splitter, model, train, select, method, int(seed), callbacks)


def _split(
    splitter: Splitter[Settings],
    model: nn.Module,
    train: ImageSet,
    select: ImageSet,
    method: str,
    seed: int,
    callbacks: Sequence[ProgressCallback],
) -> ModelSplit:
    task = SplitTask(model, train, select, seed, train.images.device).on_device()
    graph = task.trace()
    base_accuracy = accuracy(network_logits(graph.network, task.select).argmax(1), task.select.labels)
    doubts = _accuracy_warnings(base_accuracy, task.n_classes)
    if train.images.data_ptr() == select.images.data_ptr():
        doubts += ("train and select are the same images, so scores on select are optimistic; pass separate images.",)
    doubts += _missing_classes(train, select)
    for doubt in doubts:
        _LOGGER.warning(doubt)

    def report(progress: Progress) -> None:
        for callback in callbacks:
            callback(progress)

    found = checked_split(splitter, task, graph=graph, progress=report)
    return ModelSplit(
        **{**vars(found), "warnings": (*doubts, *found.warnings)},
        graph=graph,
        class_names=train.class_names,
        normalisation=train.normalisation,
        method=method,
        base_model=type(model).__name__,
        base_model_hash=weights_hash(model),
        base_accuracy=base_accuracy,
    )


def _check_types(model: object, train: object, select: object, seed: object, callbacks: object) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigurationError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    for name, images in (("train", train), ("select", select)):
        if not isinstance(images, ImageSet):
            raise DataError(
                f"{name} must be an ImageSet, got {type(images).__name__}; ImageSet.from_dataset, from_folder and "
                "from_arrays make one."
            )
    if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise ConfigurationError(f"seed must be an integer from 0 to 2^63 - 1, got {seed!r}.")
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise ConfigurationError(f"callbacks must be a list of functions, got {callbacks!r}.")


def _missing_classes(train: ImageSet, select: ImageSet) -> tuple[str, ...]:
    """Return a warning for each of the sets that lacks classes."""
    consequences = {"train": "learns nothing", "select": "cannot be judged"}
    warnings = []
    for images, (role, consequence) in zip((train, select), consequences.items(), strict=True):
        found = images.labels.bincount(minlength=images.n_classes).tolist()
        missing = [repr(name) for name, count in zip(images.class_names, found, strict=True) if not count]
        if missing:
            warnings.append(f"{role} has no image of {', '.join(missing)}; without any, a module {consequence}.")
    return tuple(warnings)


def _accuracy_warnings(base_accuracy: float, n_classes: int) -> tuple[str, ...]:
    """Return a warning if the model hardly knows the classes."""
    if base_accuracy >= plausible_accuracy(n_classes):
        return ()
    return (
        f"the model gives {base_accuracy:.0%} of the select images their class, and chance {1 / n_classes:.0%}; "
        "check the normalisation, the order of the class names, and the order of the colour channels.",
    )
