"""The splitter protocol: the task that a splitter gets, and the result that it returns."""

from __future__ import annotations

import fnmatch
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, NoReturn, Protocol, TypeVar, cast

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn

from splitters.canonical.model_copy import copy_of_model
from splitters.data import ImageSet
from splitters.errors import ConfigurationError, DataError, SplitFailedError
from splitters.files.network_description import check_storable
from splitters.files.weights_hash import weights_hash
from splitters.foreign_code import constructing
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.kernel_choice.layer_sensitivity import LayerSensitivity
from splitters.modules.scores import Scores
from splitters.networks.masks import KernelMasks
from splitters.registry import Registry
from splitters.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True)
class Progress:
    """A progress report of long-running work.

    Args:
        stage: The current stage (``"train"``, ``"split"``).
        step: Units done so far.
        total: Units in total, if known.
        metrics: Finite numbers worth showing, by name, e.g. ``accuracy`` and ``kernel_retention``.
        milestone: Whether the step deserves its own line in a log, e.g. a generation of a search.
    """

    stage: str
    step: int
    total: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    milestone: bool = False


ProgressCallback = Callable[[Progress], None]
"""Called often during long-running work; it may raise, which stops the work."""


def ignore_progress(progress: Progress) -> None:
    """The progress callback that does nothing."""


@dataclass(frozen=True)
class CheckpointState:
    """The state from which long-running work resumes: tensors and a JSON value.

    Args:
        tensors: Tensors by name.
        values: A JSON object.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, object]


class Checkpoint(Protocol):
    """Stores the state of one piece of work; whoever starts the work implements it."""

    def load(self) -> CheckpointState | None:
        """Return the last saved state, on the CPU, or None if there is none."""

    def save(self, state: CheckpointState) -> None:
        """Replace the saved state atomically.

        The work must not change the tensors afterwards: they may be written later, when the work is stopped.
        """


class NoCheckpoint:
    """A checkpoint that stores nothing."""

    def load(self) -> CheckpointState | None:
        """Return None."""
        return None

    def save(self, state: CheckpointState) -> None:
        """Do nothing."""


REUSED_SECONDS = "reused_seconds"
"""The fact that holds the seconds that reused findings took when they were computed."""


@dataclass(frozen=True)
class Finding:
    """An intermediate result about a task, e.g. the importance of its channels.

    Args:
        state: Tensors on the CPU, and a JSON object.
        seconds: The time that it took if it was computed earlier; 0 if it was computed now.
    """

    state: CheckpointState
    seconds: float = 0.0


@dataclass(frozen=True)
class SplitTask:
    """The input of a split: a trained network, and images that are not the test set's.

    Args:
        model: The base model; it is not changed. Its output is ``[batch, n_classes]`` raw logits.
        train: Images that fit masks and heads.
        select: Images, disjoint from ``train``, that guide choices: early stopping, fitness, calibration.
        seed: Seeds every random number of the split.
        device: Where the split runs.
        resolve: Returns the result of another splitter on this task, possibly from a cache; for splitters that are
            defined relative to another one.
        recall: Returns an intermediate result of this task by name and key, computing it where it is not cached, so
            that splits with other settings can reuse it; see ``finding``.
    """

    model: nn.Module
    train: ImageSet
    select: ImageSet
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    resolve: Callable[[str, Mapping[str, object]], SplitResult] | None = None
    recall: Callable[[str, Mapping[str, object], Callable[[], CheckpointState]], Finding] | None = None

    def __post_init__(self) -> None:
        """Check the images and their classes.

        Raises:
            DataError: If a set is empty, the sets differ in classes, shape or normalisation, or there is one class.
        """
        if not len(self.train) or not len(self.select):
            raise DataError(
                f"a split needs images to fit and to choose by; there are {len(self.train)} train and "
                f"{len(self.select)} select images."
            )
        if self.train.class_names != self.select.class_names:
            raise DataError(f"train has the classes {self.train.class_names}, select {self.select.class_names}.")
        if self.n_classes < 2:
            raise DataError(f"a split needs at least 2 classes; there is {self.n_classes}.")
        for name in ("input_shape", "normalisation"):
            one, other = getattr(self.train, name), getattr(self.select, name)
            if one != other:
                raise DataError(f"train and select differ in their {name}: {one} and {other}.")

    @property
    def n_classes(self) -> int:
        """The number of classes N, which is the number of modules."""
        return self.train.n_classes

    def trace(self) -> ChannelGraph:
        """Return the base model's channel graph, on the task's device.

        Raises:
            ConfigurationError: If the model has more or fewer logits than there are classes.
            GraphError: If the model cannot be traced, or its modules could not be written to files.
        """
        model = copy_of_model(self.model).to(self.device)
        graph = ChannelGraph.trace(model, self.select.normalisation(self.select.images[:2]).to(self.device))
        return self.usable_graph(graph)

    @torch.no_grad()
    def usable_graph(self, graph: ChannelGraph | None) -> ChannelGraph:
        """Return a channel graph of the base model, traced if None, with one logit per class and storable modules.

        Raises:
            ConfigurationError: If it has more or fewer logits.
            GraphError: If the model cannot be traced, or its modules could not be written to files.
        """
        if graph is None:
            return self.trace()
        device = next(graph.network.parameters()).device
        n_logits = graph.network(torch.zeros(1, *graph.input_shape, device=device)).shape[1]
        if n_logits != self.n_classes:
            way_out = "class_names must name each logit, in order"
            if n_logits == self.n_classes - 1 and min(self.train.labels.min(), self.select.labels.min()) > 0:
                way_out = "no image has the label 0, from which labels are counted: subtract 1"
            raise ConfigurationError(
                f"the model has {n_logits} logits, but the images have {self.n_classes} classes "
                f"({', '.join(self.select.class_names)}); {way_out}."
            )
        check_storable(graph)
        return graph

    def on_device(self) -> SplitTask:
        """Return the same task with its images on the task's device."""
        return replace(self, train=self.train.to(self.device), select=self.select.to(self.device))

    def finding(self, name: str, key: Mapping[str, object], make: Callable[[], CheckpointState]) -> Finding:
        """Return an intermediate result about this task, computed now or earlier.

        Args:
            name: A name within the splitter, e.g. ``importance``.
            key: The settings that it depends on, as JSON values; the task and the splitter's code are implied.
            make: Computes it.
        """
        return Finding(make()) if self.recall is None else self.recall(name, key, make)

    def result_of(self, splitter: str, settings: Mapping[str, object]) -> SplitResult:
        """Return the result of another splitter on this task."""
        if self.resolve is not None:
            return self.resolve(splitter, settings)
        return make_splitter(splitter, settings).split(self)


@dataclass(frozen=True)
class SplitResult:
    """N modules as a splitter finds them: masks over one graph, and a score for each.

    Args:
        masks: One mask per class.
        scores: Turn the logits of each masked network into the module's score.
        met_tolerance: Whether the result meets the splitter's own criterion; True for splitters without one.
        warnings: One sentence each.
        history: One mapping of finite numbers per recorded state (``step``, ``seconds``, ``accuracy`` on select,
            ``kernel_retention`` and others).
        facts: Further finite numbers about the whole split.
        sensitivity: One entry per layer, in order, from splitters that measure it.
    """

    masks: KernelMasks
    scores: Scores
    met_tolerance: bool = True
    warnings: tuple[str, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    sensitivity: tuple[LayerSensitivity, ...] = ()


_SHARES = ("accuracy", "kernel_retention")
"""What every recorded state has, as fractions: boards read both."""


def checked_result(result: object) -> SplitResult:
    """Return what a splitter returned.

    Raises:
        SplitFailedError: If it is no ``SplitResult``, or one with a field of another type, or with a share in its
            history that is no fraction.
    """
    if not isinstance(result, SplitResult):
        raise SplitFailedError(f"'split' must return a splitters.SplitResult, and returned {type(result).__name__}.")
    for name, kind in (("masks", KernelMasks), ("scores", Scores)):
        value = getattr(result, name)
        if not isinstance(value, kind):
            raise SplitFailedError(
                f"{name!r} of the SplitResult must be splitters.{kind.__name__}, not {type(value).__name__}."
            )
    if isinstance(result.warnings, str) or not all(isinstance(warning, str) for warning in result.warnings):
        raise SplitFailedError(f"'warnings' of the SplitResult must be a tuple of sentences, not {result.warnings!r}.")
    _check_numbers("facts", result.facts)
    for record in result.history:
        _check_numbers("history", record)
        for key in _SHARES:
            # NaN is neither: the row says that it is not finite.
            if key in record and (record[key] < 0 or record[key] > 1):
                raise SplitFailedError(
                    f"{key!r} in 'history' of the SplitResult must be a fraction from 0 to 1, not {record[key]!r}."
                )
    return result


def _check_numbers(name: str, record: Mapping[str, float]) -> None:
    for key, value in record.items():
        if not isinstance(value, (int, float)):
            raise SplitFailedError(f"{key!r} in {name!r} of the SplitResult must be a Python number, not {value!r}.")


class _MissingSettings:
    """Stands where a splitter names no settings, and says so when they are asked for."""

    def __get__(self, splitter: object, owner: type) -> NoReturn:
        try:
            place = f"{inspect.getfile(owner)}, line {inspect.findsource(owner)[1] + 1}"
        except (OSError, TypeError):
            place = owner.__module__
        raise ConfigurationError(
            f"{place}: the splitter class {owner.__name__} lacks 'Settings = ...', a subclass of "
            "splitters.settings.Settings; where there is nothing to set, that class itself."
        )


class Splitter(ABC, Generic[SettingsT]):
    """Splits a trained CNN into one module per class.

    A subclass sets ``Settings`` to its settings model, increments ``version`` with every change that alters its
    results, and registers itself with ``@SPLITTERS.register("name")`` or the entry point group
    ``splitbench.splitters``. The source of a splitter from another package is part of its results' identity, so that
    editing it counts without a new version.

    Args:
        settings: The configuration.
    """

    Settings: ClassVar[type[Settings]] = cast(Any, _MissingSettings())
    version: ClassVar[int] = 1

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    def references(self) -> tuple[SplitterReference, ...]:
        """Return the splitters whose results on the same task this one reads; see ``SplitTask.result_of``."""
        return ()

    @abstractmethod
    def split(
        self,
        task: SplitTask,
        *,
        graph: ChannelGraph | None = None,
        progress: ProgressCallback = ignore_progress,
        checkpoint: Checkpoint | None = None,
    ) -> SplitResult:
        """Split the task's base model.

        Args:
            task: The base model and the images.
            graph: The model's channel graph; traced if None.
            progress: Called at least once per recorded state.
            checkpoint: Stores the state of a long split. A resumed split returns the same result as an
                uninterrupted one.

        Raises:
            GraphError: If the model cannot be traced, or its modules could not be written to files.
            SplitFailedError: If no usable modules were found.
        """


class SplitterReference(Settings):
    """Another splitter, by name, with all its settings.

    Missing settings take their defaults, and ``version`` and ``code`` (``Registry.code_fingerprint``) are set to the
    splitter's, so that the reference determines the result.

    Args:
        name: The name of the splitter.
        settings: Its settings; in a suite, they may come from the label of another entry.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    version: int = 1
    code: str = ""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: object) -> object:
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            return values
        splitter = make_splitter(values["name"], values.get("settings") or {})
        return {
            **values,
            "settings": splitter.settings.model_dump(mode="json"),
            "version": splitter.version,
            "code": SPLITTERS.code_fingerprint(values["name"]),
        }

    @model_serializer(mode="wrap")
    def _omit_empty_code(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit an empty ``code``, so that identities stay what they were before it existed."""
        return {key: value for key, value in serialise(self).items() if key != "code" or value}


SPLITTERS: Registry[type[Splitter[Any]]] = Registry(
    "splitter",
    entry_point_group="splitbench.splitters",
    subclass_of=Splitter,
    homes={
        "cnnsplitter": "splitters.methods.cnnsplitter",
        "full": "splitters.methods.baselines",
        "gradsplitter": "splitters.methods.gradsplitter",
        "importance": "splitters.methods.baselines",
        "random": "splitters.methods.baselines",
        "scalesplitter": "splitters.methods.scalesplitter",
        "taylor": "splitters.methods.baselines",
    },
)
"""All splitters by name."""


def list_splitters(pattern: str = "*") -> list[str]:
    """Return the names of all splitters, installed ones included, that match a shell pattern such as ``grad*``."""
    return fnmatch.filter(SPLITTERS, pattern)


def make_splitter(name: str, settings: Mapping[str, object] | None = None, *, where: str = "") -> Splitter[Settings]:
    """Return a configured splitter.

    Args:
        name: A name in ``SPLITTERS``.
        settings: Its settings as plain values; those that are absent, or all if None, take their defaults.
        where: The file and key that hold them, for messages.

    Raises:
        ConfigurationError: If the name or a key is unknown, or a value is not allowed.
    """
    cls = SPLITTERS.get(name, where=where)
    title = f"{where + ': ' if where else ''}splitter {name!r}"
    parsed = cls.Settings.parse(settings or {}, where=title)
    with constructing(title):
        return cls(parsed)


def checked_split(
    splitter: Splitter[Any],
    task: SplitTask,
    *,
    graph: ChannelGraph,
    progress: ProgressCallback,
    checkpoint: Checkpoint | None = None,
) -> SplitResult:
    """Split a task; see ``Splitter.split``.

    Raises:
        SplitFailedError: If the splitter fails, returns what ``checked_result`` refuses, or has changed the base model,
            its graph, or the images: what is measured with them afterwards would not be the base model's.
    """
    before = _contents(task, graph)
    result = splitter.split(task, graph=graph, progress=progress, checkpoint=checkpoint)
    after = _contents(task, graph)
    if changed := [name for name in before if before[name] != after[name]]:
        raise SplitFailedError(
            f"the splitter changed {' and '.join(changed)}, with which its modules are measured; let it change copies "
            "(copy.deepcopy, Tensor.clone)."
        )
    return checked_result(result)


def _contents(task: SplitTask, graph: ChannelGraph) -> dict[str, str]:
    """Return the hashes of what a splitter is given; those that image sets remember are computed anew."""
    return {
        "the base model": weights_hash(task.model),
        "its graph": weights_hash(graph.network),
        "'train'": replace(task.train).content_hash,
        "'select'": replace(task.select).content_hash,
    }
