"""Given models: networks that were trained elsewhere, with their weights, for the classes of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.cells import ChannelStatistics, ModelSpec
from benchmarks.models.architecture import build_model, check_model, count_logits, find_architecture
from benchmarks.models.logits import read_class_map, with_logits
from benchmarks.models.memory_order import in_fastest_order
from benchmarks.models.published_weights import PublishedWeights
from benchmarks.models.weights_reading import StoredWeights, read_weights
from splitters.data import Normalisation
from splitters.data.normalisation import imagenet_statistics
from splitters.errors import ConfigurationError, listed_names
from splitters.files.weights_hash import state_hash


@dataclass(frozen=True)
class GivenModel:
    """A given model.

    Args:
        network: On the CPU, in eval mode, frozen, in its fastest memory order; its logits are those of ``class_names``.
        class_names: The classes.
        source: Where the weights came from: a file, or the name of published weights.
        notes: What was done to make the weights fit, one sentence each.
    """

    network: nn.Module
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()


def complete_given(
    spec: ModelSpec, *, cache: Path, folder: Path | None = None, download: bool = False, where: str = ""
) -> ModelSpec:
    """Return a given model with everything filled in that its weights say about themselves.

    Published weights and files of ``splitbench train`` know their input shape, normalisation and classes; what the
    model says itself takes precedence.

    Args:
        spec: The model; one without weights is returned as it is.
        cache: The cache folder.
        folder: The folder that relative paths start from; the current one if None.
        download: Whether descriptions of published weights may be fetched.
        where: The file and key with the model, for messages.

    Raises:
        ConfigurationError: If what the model says contradicts its weights.
        ModuleFileError: If the file of its weights is absent, damaged or foreign.
        DataError: If the description of published weights is not on this machine.
    """
    if spec.weights is None:
        return spec
    title = f"{where}: model {spec.name!r}" if where else f"model {spec.name!r}"
    base = folder or Path.cwd()
    values: dict[str, object] = {}
    if spec.class_map:
        values |= {"class_names": read_class_map(base / Path(spec.class_map).expanduser()), "class_map": ""}
    published = find_published(spec, cache, download=download)
    if published is None:
        values |= _described_by_file(spec, read_weights(base / Path(spec.weights).expanduser()), title)
    else:
        values |= {
            "weights": published.name.rpartition(".")[2] if spec.weights != "DEFAULT" else _short(published),
            "input_shape": spec.input_shape or published.input_shape,
            "normalisation": spec.normalisation or ChannelStatistics(mean=published.mean, std=published.std),
            "class_names": values.get("class_names") or spec.class_names or published.class_names,
        }
    return spec.model_copy(update=values)


def _short(published: PublishedWeights) -> str:
    """Return the name of published weights without their model's, by which a suite may ask for them."""
    return published.name.rpartition(".")[2] if not published.name.startswith("hf:") else "DEFAULT"


def find_published(spec: ModelSpec, cache: Path, *, download: bool) -> PublishedWeights | None:
    """Return the published weights that a given model names; None if it names a file.

    Raises:
        ConfigurationError: If the network has no published weights of the name DEFAULT.
        DataError: If their description is not on this machine.
    """
    architecture, member = find_architecture(spec.name)
    name = str(spec.weights)
    published = architecture.published(member, name, cache, download=download)
    if published is None and name == "DEFAULT":
        raise ConfigurationError(f"model {spec.name!r} has no published weights; name a file of weights.")
    return published


def _described_by_file(spec: ModelSpec, stored: StoredWeights, title: str) -> dict[str, object]:
    values: dict[str, object] = {
        "weights": str(stored.path.absolute()),
        "weights_hash": state_hash(stored.tensors),
    }
    header = stored.header
    if header is None:
        return values
    if header.model.name != spec.name:
        raise ConfigurationError(f"{title}: {stored.path} holds the weights of {header.model.name!r}.")
    differing = [key for key, value in spec.settings.items() if header.model.settings.get(key, value) != value]
    if differing:
        raise ConfigurationError(
            f"{title}: {stored.path} was trained with {differing[0]}={header.model.settings[differing[0]]!r}; leave "
            "the settings out, the file has them."
        )
    return {
        **values,
        "settings": header.model.settings,
        "input_shape": spec.input_shape or header.input_shape,
        "normalisation": spec.normalisation or "imagenet",
        "class_names": spec.class_names or header.class_names,
    }


def check_given(spec: ModelSpec, *, where: str = "") -> None:
    """Check that a complete given model says how its images were normalised.

    Raises:
        ConfigurationError: If it does not, or not for the channels of its images.
    """
    if spec.weights is None:
        return
    title = f"{where}: model {spec.name!r}" if where else f"model {spec.name!r}"
    if spec.normalisation is None:
        raise ConfigurationError(
            f"{title}: {spec.weights} does not say how the images were normalised that it was trained on; add "
            "normalisation: imagenet, none (bytes / 255), or {mean: [...], std: [...]}."
        )


def check_weights(spec: ModelSpec, *, where: str) -> None:
    """Check that the file of a complete given model's weights still holds them; published weights are not looked for.

    Raises:
        ConfigurationError: If the file is gone, or holds other weights.
        ModuleFileError: If it is damaged or foreign.
    """
    if not spec.weights_hash:
        return
    path = Path(str(spec.weights))
    if not path.is_file():
        raise ConfigurationError(f"{where}: the weights of {spec.name!r} are gone; put {path} back.")
    if not _holds(read_weights(path), spec):
        raise ConfigurationError(
            f"{where}: {path} no longer holds the weights that the cell was measured with; put these back, or measure "
            "those that it holds as a new cell."
        )


def _holds(stored: StoredWeights, spec: ModelSpec) -> bool:
    return not spec.weights_hash or state_hash(stored.tensors) == spec.weights_hash


def refuse_given(spec: ModelSpec, scenario: str) -> None:
    """Refuse a given model where a scenario trains its base models itself.

    Raises:
        ConfigurationError: If the model comes with weights.
    """
    if spec.is_given:
        raise ConfigurationError(
            f"scenario {scenario!r} trains its base models itself, and {spec.name!r} comes with weights; name the "
            "scenario's other models under its key 'models'."
        )


def normalisation_of(spec: ModelSpec, channels: int) -> Normalisation:
    """Return the normalisation of a given model's images.

    Args:
        spec: The model, complete.
        channels: How many channels its images have.

    Raises:
        ConfigurationError: If the normalisation is for another number of channels.
    """
    match spec.normalisation:
        case None | "imagenet":
            return imagenet_statistics(channels)
        case "none":
            return Normalisation((0.0,) * channels, (1.0,) * channels)
        case statistics:
            if len(statistics.mean) != channels:
                numbers = "1 number" if len(statistics.mean) == 1 else f"{len(statistics.mean)} numbers"
                other = (
                    "an input_shape with 1 channel for grey images"
                    if channels == len("RGB")
                    else "an input_shape with 3 channels for colour images"
                )
                raise ConfigurationError(
                    f"model {spec.name!r}: its normalisation has {numbers}, but the images have "
                    f"{channels} channel{'s' if channels > 1 else ''}: give one per channel, or {other}."
                )
            return Normalisation(statistics.mean, statistics.std)


def load_given(
    spec: ModelSpec,
    *,
    task_classes: Sequence[str],
    input_shape: tuple[int, int, int],
    cache: Path,
    download: bool = False,
) -> GivenModel:
    """Load a given model for the classes of a task, with one logit for each of them, in their order.

    The task may have some of the network's classes only; the other logits are then cut off.

    Args:
        spec: The model, complete; see ``complete_given``.
        task_classes: The classes.
        input_shape: Channels, height and width of the images.
        cache: The cache folder.
        download: Whether published weights may be fetched.

    Raises:
        ConfigurationError: If the weights have changed or do not fit the network, or a class has no logit.
        ModuleFileError: If the file is absent, damaged or foreign.
        DataError: If published weights are absent.
    """
    published = find_published(spec, cache, download=download)
    path = Path(str(spec.weights)) if published is None else published.file(cache, download=download)
    stored = read_weights(path)
    if not _holds(stored, spec):
        raise ConfigurationError(f"{path} has changed since this was planned; run it again.")
    names = spec.class_names or (published.class_names if published else ())
    notes: tuple[str, ...] = ()
    if published is not None:
        architecture, member = find_architecture(spec.name)
        network = architecture.build_published(member, dict(spec.settings), stored)
        n_logits = count_logits(network, spec.name, input_shape)
    else:
        network, n_logits, notes = _with_weights(spec, stored, len(names or task_classes), input_shape)
    names = _names_of_logits(spec, names, n_logits, task_classes)
    network.eval().requires_grad_(False)
    if names != tuple(task_classes):
        network = with_logits(network, [names.index(name) for name in task_classes], input_shape)
    network = in_fastest_order(network.eval().requires_grad_(False), input_shape)
    return GivenModel(network, tuple(task_classes), published.name if published else str(path), notes)


def build_given(
    spec: ModelSpec, *, input_shape: tuple[int, int, int], n_classes: int, cache: Path, download: bool = False
) -> tuple[nn.Module, int, tuple[str, ...]]:
    """Return a network with all its logits, their number, and notes; ``n_classes`` is a first guess of that number.

    A model without weights is built with ``n_classes`` logits.

    Raises:
        SplitbenchError: See ``load_given``.
    """
    if spec.weights is None:
        return build_model(spec, n_classes=n_classes, input_shape=input_shape, seed=0).eval(), n_classes, ()
    published = find_published(spec, cache, download=download)
    if published is None:
        return _with_weights(spec, read_weights(spec.weights), len(spec.class_names) or n_classes, input_shape)
    architecture, member = find_architecture(spec.name)
    network = architecture.build_published(
        member, dict(spec.settings), read_weights(published.file(cache, download=download))
    )
    return network.eval(), count_logits(network, spec.name, input_shape), ()


def _with_weights(
    spec: ModelSpec, stored: StoredWeights, n_classes: int, input_shape: tuple[int, int, int]
) -> tuple[nn.Module, int, tuple[str, ...]]:
    """Build a network and load weights into it; with as many logits as the weights have, where it can have them."""
    network, n_logits = _built(spec, n_classes, input_shape)
    stored_logits = stored.differing_logits(network, n_logits)
    if stored_logits is not None:
        network, n_logits = _built(spec, stored_logits, input_shape)
    notes = stored.load_into(network, spec.name)
    return network.eval(), n_logits, notes


def _built(spec: ModelSpec, n_classes: int, input_shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    check_model(spec.architecture, input_shape=input_shape)
    architecture, member = find_architecture(spec.name)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = architecture.build(member, dict(spec.settings), n_classes=n_classes, input_shape=input_shape)
        return network, count_logits(network, spec.name, input_shape)


def _names_of_logits(
    spec: ModelSpec, names: Sequence[str], n_logits: int, task_classes: Sequence[str]
) -> tuple[str, ...]:
    if names and len(names) != n_logits:
        raise ConfigurationError(
            f"model {spec.name!r} has {n_logits} logits, but class_names has {len(names)} names "
            f"({listed_names(names)}); give one name per logit, in order."
        )
    if not names and n_logits != len(task_classes):
        way_out = (
            "say which logit is which class with class_names or class_map; the data may have some of them only"
            if n_logits > len(task_classes)
            else "leave out the classes that it does not know, and say with class_names which it knows"
        )
        raise ConfigurationError(
            f"model {spec.name!r} has {n_logits} logits, but the data has {len(task_classes)} classes "
            f"({listed_names(task_classes)}); {way_out}."
        )
    absent = [name for name in task_classes if names and name not in names]
    if absent:
        raise ConfigurationError(
            f"model {spec.name!r} has no logit for {listed_names(absent)}; its {n_logits} logits are "
            f"{listed_names(names)}. Leave these classes out of the data, or correct class_names or class_map."
        )
    return tuple(names or task_classes)
