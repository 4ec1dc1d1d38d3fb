"""A module: the small network for one class, its score, and what is known about it; saved as one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from jaxtyping import Float
from pydantic import Field, JsonValue, model_validator
from torch import Tensor, fx, nn
from typing_extensions import Self

from splitters.data import Normalisation
from splitters.data.pictures import Pictures
from splitters.errors import ConfigurationError, DataError, ModuleFileError, UnknownNameError
from splitters.files.network_description import NodeDescription, build_network, describe_network
from splitters.files.safetensors_file import FileHeader, read_tensor_file, write_tensor_file
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.html_table import html_paragraph, html_table
from splitters.modules.input_adapter import InputForm
from splitters.modules.model_input import loader_transform, run_on_images
from splitters.modules.scores import ModuleScore, Scores, describe_module_score, rebuild_module_score
from splitters.networks.cost import Cost, network_cost
from splitters.networks.extraction import extract_network
from splitters.networks.masks import KernelMasks
from splitters.settings import ClassName, Settings
from splitters.tensor_names import strip_prefix, with_prefix

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

FORMAT = "splitbench.module"
FORMAT_VERSION = 2
"""Readers take this version and older ones, and refuse newer ones."""


class NormalisationInfo(Settings):
    """How bytes become the network's input: ``(byte / 255 - mean) / std`` per image channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            Normalisation(self.mean, self.std)
        except DataError as error:
            raise ValueError(str(error)) from error
        return self


class ModuleInfo(Settings):
    """What is known about a module beside its network.

    Args:
        class_index: Its class among the base model's, counted from 0.
        class_name: The name of that class.
        class_names: All classes of the base model, in order.
        input_shape: Image channels, height and width.
        normalisation: How bytes become its input.
        base_model: The base model's name.
        base_model_hash: SHA-256 of the base model's weights.
        splitter: The splitter that found the module.
        kept: Indices of the kept kernels for each convolution of the base model.
        calibration: Unused; files of earlier versions may hold it.
        metrics: Measurements, e.g. ``select_f1``.
        licence: The licence of the base model's weights, if known.
        trained_on: The images that the base model and the module were made with, one entry for each as their makers
            described them; an empty entry if unknown.
    """

    class_index: int = Field(ge=0)
    class_name: ClassName
    class_names: tuple[ClassName, ...]
    input_shape: tuple[int, int, int]
    normalisation: NormalisationInfo
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
        channels = len(self.normalisation.mean)
        if channels != self.input_shape[0]:
            raise ValueError(f"images have {self.input_shape[0]} channels, their normalisation {channels}")
        return self


class _ScoreDescription(Settings):
    kind: str
    settings: dict[str, bool | int | float | str] = Field(default_factory=dict)


class ModuleDescription(Settings):
    """A module as JSON; its tensors are stored beside it."""

    info: ModuleInfo
    score: _ScoreDescription
    nodes: list[NodeDescription]


class _Header(FileHeader, ModuleDescription):
    """The header of a module file."""


def require_modules(given: Iterable[object]) -> None:
    """Check that these are modules, and not their files or something else.

    Raises:
        ConfigurationError: If one is none.
    """
    for one in given:
        if not isinstance(one, Module):
            raise ConfigurationError(
                f"expected a Module, got {type(one).__name__}; load_model(FILE) reads one, and result.modules() makes "
                "those of a split."
            )


class Module(nn.Module):
    """The part of a trained CNN that recognises one class.

    Args:
        network: The small network: ``[batch, channel, height, width]`` images to ``[batch, class]`` logits.
        score: Turns the logits into the score of the module's class.
        info: What is known about the module.
    """

    def __init__(self, network: fx.GraphModule, score: ModuleScore, info: ModuleInfo) -> None:
        super().__init__()
        self.network = network
        self.score = score
        self.info = info

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, " batch"]:
        """Return the score of every normalised image; higher means the module's class."""
        scores: Tensor = self.score(self.network(images))
        return scores

    def predict_scores(self, images: Pictures, *, normalised: bool = False) -> Float[Tensor, " image"]:
        """Return the score of each image; higher means the module's class.

        Images may lie anywhere; they run on the module's device, and the scores lie on the images' device.

        Args:
            images: Files, PIL images, uint8 arrays or tensors: one, a list, or a batch, of any size. They are turned
                upright, resized to the module's input, made grey or coloured as it needs, and normalised.
            normalised: The images are floats that are the module's input already, e.g. from ``transform``.

        Raises:
            DataError: If the images are of another kind or cannot be read.
        """
        return run_on_images(self, images, self.input_form, normalised=normalised)

    @property
    def normalisation(self) -> Normalisation:
        """How bytes become the module's input."""
        return Normalisation(self.info.normalisation.mean, self.info.normalisation.std)

    @property
    def device(self) -> torch.device:
        """Where the module lies."""
        return next((tensor.device for tensor in self.state_dict().values()), torch.device("cpu"))

    @property
    def input_form(self) -> InputForm:
        """The shape and normalisation of the module's images."""
        return InputForm(self.info.input_shape, self.normalisation)

    @property
    def transform(self) -> Transform:
        """The torchvision transform from a PIL image to the module's input, for a data loader of one's own."""
        return loader_transform(self.input_form)

    def cost(self) -> Cost:
        """Return the cost of one image, the head included."""
        return network_cost(self, self.info.input_shape)

    @property
    def n_kernels(self) -> int:
        """The number of kernels that the module keeps."""
        return sum(map(len, self.info.kept.values()))

    def _repr_html_(self) -> str:
        """Return a summary for notebooks: which class, where the module comes from, what it costs."""
        info, cost = self.info, self.cost()
        summary = (
            f"Module of {info.class_name!r}, one of {len(info.class_names)} classes of {info.base_model or 'a network'}"
        ) + (f", found by {info.splitter}" if info.splitter else "")
        rows = [
            ("images", "x".join(map(str, info.input_shape))),
            ("score", self.score.kind),
            ("kernels", f"{self.n_kernels:,}"),
            ("FLOPs per image", f"{cost.flops:,}"),
            ("parameters", f"{cost.parameters:,}"),
            *((name, f"{value:.4g}") for name, value in info.metrics.items()),
        ]
        return html_paragraph(summary) + html_table(("", ""), rows)

    def save(self, path: Path | str) -> None:
        """Write the module as one safetensors file; the network is stored as data, never as code.

        Raises:
            ModuleFileError: If ``load`` could not read the module back, because the network uses an operation that
                files do not know or the score is of an unregistered kind; nothing is written.
        """
        description, tensors = self.describe()
        header = _Header(format=FORMAT, format_version=FORMAT_VERSION, **dict(description))
        write_tensor_file(path, header, tensors)

    @classmethod
    def load(cls, path: Path | str) -> Module:
        """Read a module. This needs neither the base model nor its code.

        Raises:
            ModuleFileError: If the file is absent, damaged, not a module, or of a newer format.
        """
        header, tensors = read_tensor_file(path, _Header, form=FORMAT, newest=FORMAT_VERSION)
        return cls.rebuild(header, tensors, where=str(path))

    def describe(self) -> tuple[ModuleDescription, dict[str, Tensor]]:
        """Return the module as JSON and tensors by name, from which ``rebuild`` makes the same module.

        Raises:
            ModuleFileError: If ``rebuild`` could not.
        """
        name = f"the module of {self.info.class_name!r}"
        nodes, network = describe_network(self.network)
        try:
            kind, settings = describe_module_score(self.score)
        except ConfigurationError as error:
            raise ModuleFileError(f"{name} cannot be saved: {error}") from error
        description = ModuleDescription(
            info=self.info, score=_ScoreDescription(kind=kind, settings=settings), nodes=nodes
        )
        tensors = {**with_prefix(network, "network."), **with_prefix(self.score.state_dict(), "score.")}
        self._check_rebuilds(Module.rebuild(description, tensors, where=f"{name} cannot be saved"))
        return description, tensors

    @classmethod
    def rebuild(cls, description: ModuleDescription, tensors: Mapping[str, Tensor], *, where: str) -> Module:
        """Build a module from what ``describe`` returned.

        Args:
            description: The module as JSON.
            tensors: Its tensors by name.
            where: The file that holds them, for messages.

        Raises:
            ModuleFileError: If the parts do not fit each other.
        """
        try:
            network = build_network(description.nodes, strip_prefix(tensors, "network."))
            stored = description.score
            score = rebuild_module_score(stored.kind, stored.settings, strip_prefix(tensors, "score."))
            _check_output(network, score, description.info)
        except UnknownNameError as error:
            raise ModuleFileError(f"{where}: {error} Install the package that registers it.") from error
        except (ModuleFileError, TypeError, ValueError, RuntimeError, LookupError, AttributeError) as error:
            raise ModuleFileError(f"{where}: the network cannot be rebuilt: {error}") from error
        return cls(network, score, description.info)

    @torch.no_grad()
    def _check_rebuilds(self, rebuilt: Module) -> None:
        """Check that a module rebuilt from this one's description scores an image the same."""
        image = _example(self.info.input_shape, like=self)
        expected, actual = self(image), rebuilt(image)
        if not torch.allclose(expected, actual, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise ModuleFileError(
                f"the module of {self.info.class_name!r} cannot be saved: rebuilt from its description it scores an "
                f"image {float(actual):.6g}, not {float(expected):.6g}."
            )


class FoundModules(Protocol):
    """Masks and scores of N modules, e.g. a ``SplitResult``."""

    @property
    def masks(self) -> KernelMasks:
        """One mask per module."""

    @property
    def scores(self) -> Scores:
        """The modules' scores."""


def extract_modules(
    graph: ChannelGraph,
    result: FoundModules,
    class_names: tuple[str, ...],
    normalisation: Normalisation,
    **known: Any,
) -> list[Module]:
    """Extract all modules that a splitter found.

    Args:
        graph: The base model's graph, either the one that was split or an equal one.
        result: What the splitter returned.
        class_names: The base model's classes.
        normalisation: How bytes become the base model's input, as in its training.
        **known: Further fields of ``ModuleInfo`` that are the same for all modules, e.g. ``base_model``.

    Returns:
        One module per class, in the order of ``class_names``, on the graph's device.

    Raises:
        ConfigurationError: If there are more or fewer class names than masks, or the normalisation is for images of
            other channels.
    """
    if len(class_names) != len(result.masks):
        raise ConfigurationError(f"there are {len(result.masks)} modules, but {len(class_names)} class names.")
    channels, used = graph.input_shape[0], len(normalisation.mean)
    if channels != used:
        raise ConfigurationError(f"the network takes images of {channels} channels, but the normalisation has {used}.")
    modules = []
    masks = result.masks
    for index in range(len(masks)):
        kernel_bits = masks.kernel_bits[index].split([layer.kernels for layer in graph.layout.layers])
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
        network = extract_network(graph, masks.bits[index], masks.scales_of(index))
        modules.append(Module(network, result.scores.of(index), info))
    return modules


@torch.no_grad()
def _check_output(network: fx.GraphModule, score: ModuleScore, info: ModuleInfo) -> None:
    """Run a module's parts on one image, to find what does not fit together before somebody uses it."""
    scores = score(fx.Interpreter(network).run(_example(info.input_shape, like=network)))
    if not isinstance(scores, Tensor) or scores.shape != (1,):
        raise ModuleFileError("it does not return one score for one image.")


def _example(shape: tuple[int, int, int], *, like: nn.Module) -> Float[Tensor, "1 channel height width"]:
    """Return an image whose values all differ, on a network's device."""
    device = next((tensor.device for tensor in like.parameters()), torch.device("cpu"))
    return torch.linspace(-1, 1, math.prod(shape), device=device).view(1, *shape)
