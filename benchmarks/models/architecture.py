"""What an architecture is, which there are, and how a network is made from its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from benchmarks.cells import ModelSpec
from benchmarks.models.inference import evaluating
from benchmarks.models.published_weights import PublishedWeights
from benchmarks.models.weights_reading import StoredWeights
from benchmarks.seeding import seeded
from splitters.errors import ConfigurationError
from splitters.registry import Registry


class Architecture(ABC):
    """A network, or a family of networks whose names are ``FAMILY:MEMBER``."""

    description: ClassVar[str]
    """One line for people."""

    @abstractmethod
    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Check a member's name and settings.

        Args:
            member: What stands behind the colon; empty for an architecture that is no family.
            settings: The settings as plain values.
            where: The file and key that hold them, for messages.

        Raises:
            ConfigurationError: If there is no such member, or a setting is unknown or not allowed.
        """

    def smallest_side(self, settings: dict[str, object]) -> int:
        """Return the minimum height and width of images, if that is known without building the network.

        Args:
            settings: The settings as plain values, checked already.
        """
        return 1

    @abstractmethod
    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        """Return a new network whose output is ``[batch, n_classes]`` raw logits.

        Its weights may be drawn from torch's global generator, which the caller has seeded.

        Raises:
            ConfigurationError: If the settings are wrong, or inputs of this shape are too small for it.
        """

    def code_fingerprint(self, member: str) -> str:
        """Return a hash of code that is not this package's own, for the identity of trained weights."""
        return ""

    def published(self, member: str, name: str, cache: Path, *, download: bool) -> PublishedWeights | None:
        """Return published weights by name, ``DEFAULT`` among them; None if there are none of that name.

        Args:
            member: What follows the colon.
            name: The name of the weights.
            cache: The cache folder.
            download: Whether what describes them may be fetched.
        """
        return None

    def build_published(self, member: str, settings: dict[str, object], weights: StoredWeights) -> nn.Module:
        """Return the network with published weights; only called where ``published`` returned some.

        Raises:
            ConfigurationError: If the settings change the network, so that the weights do not fit it.
        """
        raise NotImplementedError


MODELS: Registry[Architecture] = Registry("model", entry_point_group="splitbench.models", instance_of=Architecture)
"""All architectures by name. A family is registered as ``family:PLACEHOLDER``, in capitals."""


def check_model(spec: ModelSpec, *, where: str = "", input_shape: tuple[int, int, int] | None = None) -> None:
    """Check a model's name and settings, without building it where that can be avoided.

    Args:
        spec: The name and the settings.
        where: The file and key that hold them, for messages.
        input_shape: Channels, height and width of its images, where they are known.

    Raises:
        ConfigurationError: If the name or a setting is unknown, a value is not allowed, or the images are too small.
    """
    architecture, member = find_architecture(spec.name, where=where)
    prefix = f"{where}: " if where else ""
    title = f"{prefix}model {spec.name!r}"
    architecture.check(member, dict(spec.settings), where=title)
    smallest = architecture.smallest_side(dict(spec.settings))
    if input_shape is not None and min(input_shape[1:]) < smallest:
        raise ConfigurationError(
            f"{title}: images of {input_shape[1]}x{input_shape[2]} pixels are too small; use an input_shape of "
            f"at least {smallest}x{smallest}, or another model."
        )


def build_model(spec: ModelSpec, *, n_classes: int, input_shape: tuple[int, int, int], seed: int) -> nn.Module:
    """Return a new network on the CPU, in train mode, initialised from ``seed``.

    The caller's global generators are left as they were. The network is tried on one black image.

    Args:
        spec: The architecture and its settings.
        n_classes: The number of classes N.
        input_shape: Channels, height and width of its images.
        seed: Seeds the initial weights.

    Raises:
        ConfigurationError: If the spec is wrong, or the network does not turn such images into N logits.
    """
    check_model(spec)
    architecture, member = find_architecture(spec.name)
    with seeded(seed), torch.device("cpu"):
        model = architecture.build(member, dict(spec.settings), n_classes=n_classes, input_shape=input_shape)
        n_logits = count_logits(model, spec.name, input_shape)
    if n_logits != n_classes:
        raise ConfigurationError(
            f"model {spec.name!r} turns one image into (1, {n_logits}); it must give a tensor of logits of shape "
            f"(1, {n_classes}). A factory gets the number of classes as n_classes or num_classes; in 'splitbench "
            "inspect', --classes N gives it."
        )
    return model.train()


def code_fingerprint(spec: ModelSpec) -> str:
    """Return a hash of a model's code where that is not a published package's; empty otherwise."""
    key = _key(spec.name)
    own = MODELS.get(key).code_fingerprint(spec.name.partition(":")[2])
    return own or MODELS.code_fingerprint(key)


def find_architecture(name: str, *, where: str = "") -> tuple[Architecture, str]:
    """Return the architecture of a name, and what follows the colon in it.

    Raises:
        UnknownNameError: If there is none.
    """
    return MODELS.get(_key(name, where=where)), name.partition(":")[2]


def _key(name: str, *, where: str = "") -> str:
    family, colon, member = name.partition(":")
    if not colon and name in MODELS:
        return name
    for key in MODELS:
        if colon and member and key.startswith(f"{family}:"):
            return key
    raise MODELS.unknown(name, where=where)


def count_logits(model: nn.Module, name: str, input_shape: tuple[int, int, int]) -> int:
    """Return how many logits a network gives, tried on one black image.

    Args:
        model: The network, on the CPU.
        name: Its name, for messages.
        input_shape: Channels, height and width of its images.

    Raises:
        ConfigurationError: If it is no network, does not take such images, or returns no logits.
    """
    if not isinstance(model, nn.Module):
        returned = "None" if model is None else f"an object of type {type(model).__name__}"
        raise ConfigurationError(f"model {name!r}: its factory returned {returned}; it must return a torch.nn.Module.")
    try:
        with evaluating(model), torch.no_grad():
            output = model(torch.zeros(1, *input_shape))
    # A network of the user's may raise anything.
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"model {name!r} does not take images of shape {input_shape}: {type(error).__name__}: {error} "
            "Choose another input_shape or another model."
        ) from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or len(output) != 1:
        raise ConfigurationError(
            f"model {name!r} turns one image into {shape}; it must give a tensor of logits of shape (1, classes)."
        )
    return output.shape[1]
