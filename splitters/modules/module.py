"""A module: the small network for one class, its score, and all that is known of it; saved as one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field, JsonValue, model_validator
from torch import Tensor, fx, nn
from typing_extensions import Self

from splitters.data import IMAGENET, Normalisation
from splitters.errors import ModuleFileError
from splitters.files.network_description import NodeDescription, build_network, describe_network
from splitters.files.safetensors_file import FileHeader, read_tensor_file, write_tensor_file
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult
from splitters.modules.input_adapter import InputForm
from splitters.modules.scores import HeadScore, LogitScore, ModuleScore, ScaledLogitScore
from splitters.networks.cost import Cost, network_cost
from splitters.networks.extraction import extract_network
from splitters.settings import Settings
from splitters.tensor_names import under

FORMAT = "splitbench.module"
FORMAT_VERSION = 2
"""Readers take this version and older ones, and refuse newer ones."""


class NormalisationInfo(Settings):
    """How bytes become the module's input: ``(value / 255 - mean) / std``."""

    mean: tuple[float, ...] = IMAGENET.mean
    std: tuple[float, ...] = IMAGENET.std


class ModuleInfo(Settings):
    """What is known of a module, beside its network.

    Args:
        class_index: Its class among the base model's, counted from 0.
        class_name: That class's name.
        class_names: All of the base model's classes.
        input_shape: Image channels, height and width.
        normalisation: How bytes become its input.
        base_model: The base model's name.
        base_model_hash: SHA-256 of the base model's weights.
        splitter: What found the module.
        kept: Indices of the kept kernels per convolution of the base model.
        calibration: Figures that make its score comparable, e.g. ``minimum`` and ``maximum``.
        metrics: What was measured of it, e.g. ``select_f1``.
        licence: Terms of the base model's weights, if they are known.
        trained_on: Which images the base model and the module were made with, as whoever made them describes them: one
            entry for each, an empty one where nobody knows.
    """

    class_index: int = Field(ge=0)
    class_name: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    normalisation: NormalisationInfo = NormalisationInfo()
    base_model: str = ""
    base_model_hash: str = ""
    splitter: str = ""
    kept: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    calibration: dict[str, float] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    licence: str | None = None
    trained_on: tuple[dict[str, JsonValue], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 <= self.class_index < len(self.class_names):
            raise ValueError(f"class {self.class_index} is not among {len(self.class_names)} classes")
        if self.class_names[self.class_index] != self.class_name:
            raise ValueError(
                f"class {self.class_index} is {self.class_names[self.class_index]!r}, not {self.class_name!r}"
            )
        channels = {len(self.normalisation.mean), len(self.normalisation.std)}
        if channels != {self.input_shape[0]}:
            raise ValueError(f"images have {self.input_shape[0]} channels, their normalisation {sorted(channels)}")
        return self


class _ScoreDescription(Settings):
    kind: str
    settings: dict[str, int] = Field(default_factory=dict)


class ModuleDescription(Settings):
    """A module as data, its tensors apart."""

    info: ModuleInfo
    score: _ScoreDescription
    nodes: list[NodeDescription]


class _Header(FileHeader, ModuleDescription):
    """The header of a module's file."""


class Module(nn.Module):
    """The part of a trained CNN that recognises one class: ``[batch, channel, height, width]`` images to scores.

    Args:
        network: The small network: images to ``[batch, class]`` logits.
        score: Logits to the score of the module's class.
        info: What is known of it.
    """

    def __init__(self, network: fx.GraphModule, score: ModuleScore, info: ModuleInfo) -> None:
        super().__init__()
        self.network = network
        self.score = score
        self.info = info

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, " batch"]:
        """Returns the score of every normalised image; higher means the module's class."""
        scores: Tensor = self.score(self.network(images))
        return scores

    @property
    def normalisation(self) -> Normalisation:
        """How bytes become the module's input."""
        return Normalisation(self.info.normalisation.mean, self.info.normalisation.std)

    @property
    def input_form(self) -> InputForm:
        """What the module's images look like."""
        return InputForm(self.info.input_shape, self.normalisation)

    def cost(self) -> Cost:
        """Returns the module's cost for one image, its head included."""
        return network_cost(self, self.info.input_shape)

    def save(self, path: Path | str) -> None:
        """Writes the module as one safetensors file; the network is stored as data, never as code.

        Raises:
            ModuleFileError: If the network uses an operation that module files do not know; nothing is written.
        """
        described, tensors = self.describe()
        header = _Header(format=FORMAT, format_version=FORMAT_VERSION, **dict(described))
        write_tensor_file(path, header, tensors)

    @classmethod
    def load(cls, path: Path | str) -> Module:
        """Reads a module; this needs neither the base model nor its code.

        Raises:
            ModuleFileError: If the file is absent, damaged, not a module, or of a newer format.
        """
        header, tensors = read_tensor_file(path, _Header, form=FORMAT, newest=FORMAT_VERSION)
        return cls.rebuild(header, tensors, where=str(path))

    def describe(self) -> tuple[ModuleDescription, dict[str, Tensor]]:
        """Returns the module as data, and its tensors by name.

        Raises:
            ModuleFileError: If the network uses an operation that files do not know.
        """
        nodes, tensors = describe_network(self.network)
        score = _ScoreDescription(kind=self.score.kind, settings=self.score.describe())
        stored = {f"network.{name}": tensor for name, tensor in tensors.items()}
        stored.update({f"score.{name}": tensor for name, tensor in self.score.state_dict().items()})
        return ModuleDescription(info=self.info, score=score, nodes=nodes), stored

    @classmethod
    def rebuild(cls, described: ModuleDescription, tensors: Mapping[str, Tensor], *, where: str) -> Module:
        """Builds a module from what ``describe`` returned.

        Args:
            described: The module as data.
            tensors: Its tensors by name.
            where: The file that holds it, for messages.

        Raises:
            ModuleFileError: If the parts do not fit each other.
        """
        try:
            network = build_network(described.nodes, under(tensors, "network."))
            score = _build_score(described.score, under(tensors, "score."))
            _rehearse(network, score, described.info)
        except (ModuleFileError, TypeError, ValueError, RuntimeError, LookupError, AttributeError) as error:
            raise ModuleFileError(f"{where}: the network cannot be rebuilt: {error}") from error
        return cls(network, score, described.info)


def extract_modules(
    graph: ChannelGraph,
    result: SplitResult,
    class_names: tuple[str, ...],
    normalisation: Normalisation = IMAGENET,
    **known: Any,
) -> list[Module]:
    """Cuts out all modules that a splitter found.

    Args:
        graph: The base model's graph, the one that the splitter used or an equal one.
        result: What the splitter found.
        class_names: The base model's classes.
        normalisation: How bytes become the base model's input.
        **known: Further fields of ``ModuleInfo`` that are the same for all modules, e.g. ``base_model``.
    """
    modules = []
    for index, bits in enumerate(result.masks.bits):
        kernel_bits = result.masks.kernel_bits[index].split([layer.kernels for layer in graph.layout.layers])
        kept = {
            layer.name: tuple(part.nonzero().flatten().tolist())
            for layer, part in zip(graph.layout.layers, kernel_bits, strict=True)
        }
        info = ModuleInfo(
            class_index=index,
            class_name=class_names[index],
            class_names=class_names,
            input_shape=graph.input_shape,
            normalisation=NormalisationInfo(mean=normalisation.mean, std=normalisation.std),
            kept=kept,
            **known,
        )
        modules.append(Module(extract_network(graph, bits), result.scores.of(index), info))
    return modules


def _build_score(description: _ScoreDescription, tensors: Mapping[str, Tensor]) -> ModuleScore:
    if description.kind == LogitScore.kind:
        return LogitScore(**description.settings)
    if description.kind == HeadScore.kind:
        return HeadScore(**tensors)
    if description.kind == ScaledLogitScore.kind:
        arguments: dict[str, Any] = {**description.settings, **tensors}
        return ScaledLogitScore(**arguments)
    raise ModuleFileError(f"the score is of the unknown kind {description.kind!r}; known: logit, scaled_logit, head.")


@torch.no_grad()
def _rehearse(network: fx.GraphModule, score: ModuleScore, info: ModuleInfo) -> None:
    """Runs the parts of a module on one black image, to find what does not fit together before somebody uses it."""
    scores = score(fx.Interpreter(network).run(torch.zeros(1, *info.input_shape)))
    if not isinstance(scores, Tensor) or scores.shape != (1,):
        raise ModuleFileError("it does not return one score for one image.")
