"""What a splitter is: the protocol, what it is given, and what it returns."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn

from splitters.data import ImageSet
from splitters.errors import ConfigurationError, DataError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.layer_sensitivity import LayerSensitivity
from splitters.modules.scores import Scores
from splitters.networks.masks import KernelMasks
from splitters.registry import Registry
from splitters.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True)
class Progress:
    """One report of a long piece of work.

    Args:
        stage: What is being done (``"train"``, ``"split"``).
        step: How many units are done.
        total: How many units there are, if that is known.
        metrics: Finite numbers worth showing, by name, e.g. ``accuracy`` and ``kernel_retention``.
        milestone: Whether the step is worth a line of its own where lines are kept, e.g. a generation of a search.
    """

    stage: str
    step: int
    total: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    milestone: bool = False


ProgressCallback = Callable[[Progress], None]
"""Called often from inside long work. It may raise, and so stop the work politely."""


def ignore_progress(progress: Progress) -> None:
    """The progress callback that does nothing."""


@dataclass(frozen=True)
class CheckpointState:
    """All that a long piece of work needs to go on: tensors, and a JSON value.

    Args:
        tensors: Tensors by name.
        values: Anything that JSON can hold.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, object]


class Checkpoint(Protocol):
    """Where one piece of work keeps its state, outside this floor."""

    def load(self) -> CheckpointState | None:
        """Returns the last saved state, on the CPU, or None if there is none."""

    def save(self, state: CheckpointState) -> None:
        """Replaces the saved state, all or nothing.

        The caller must not change the tensors afterwards: they may be written later, when the work is stopped.
        """


class NoCheckpoint:
    """The checkpoint that keeps nothing."""

    def load(self) -> CheckpointState | None:
        """Returns None."""
        return None

    def save(self, state: CheckpointState) -> None:
        """Does nothing."""


REUSED_SECONDS = "reused_seconds"
"""The fact that says how long a splitter's findings had taken that it did not have to make again."""


@dataclass(frozen=True)
class Finding:
    """Something that a splitter has found out about a task, now or earlier.

    Args:
        state: Tensors, on the CPU, and a JSON value.
        seconds: How long it took where it was found earlier; 0 if it was found now.
    """

    state: CheckpointState
    seconds: float = 0.0


@dataclass(frozen=True)
class SplitTask:
    """All that a splitter may know: a trained network, and images that are not the test set's.

    Args:
        model: The base model; it is not changed. Its output is ``[batch, n_classes]`` raw logits.
        train: Images that fit masks and heads.
        select: Images, disjoint from ``train``, that guide choices: early stopping, fitness, calibration.
        seed: Seeds every random number of the split.
        device: Where the split runs.
        resolve: Returns the result of another splitter on this very task, for splitters that are defined relative
            to another one. The caller may answer it from a store.
        recall: Returns what was found out about this very task under a name and a key, and asks for it if nobody has
            found it yet; see ``finding``. The caller may keep it, for splits with other settings.
    """

    model: nn.Module
    train: ImageSet
    select: ImageSet
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    resolve: Callable[[str, Mapping[str, object]], SplitResult] | None = None
    recall: Callable[[str, Mapping[str, object], Callable[[], CheckpointState]], Finding] | None = None

    def __post_init__(self) -> None:
        """Checks that there is something to split and something to choose by.

        Raises:
            DataError: If a set is empty, the sets' classes differ, or there is only one class.
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

    @property
    def n_classes(self) -> int:
        """The number of classes N, which is the number of modules."""
        return self.train.n_classes

    def trace(self) -> ChannelGraph:
        """Returns the base model's channel graph, on the task's device."""
        model = copy.deepcopy(self.model).to(self.device)
        return ChannelGraph.trace(model, self.select.normalisation(self.select.images[:2]).to(self.device))

    def on_device(self) -> SplitTask:
        """Returns the same task with its images on the task's device."""
        return replace(self, train=self.train.to(self.device), select=self.select.to(self.device))

    def finding(self, name: str, key: Mapping[str, object], make: Callable[[], CheckpointState]) -> Finding:
        """Returns what ``make`` finds out about this task, or found out earlier.

        Args:
            name: What it is, e.g. ``importance``.
            key: All settings that it depends on, as JSON values. The task and the splitter's code need not be named.
            make: Finds it out.
        """
        return Finding(make()) if self.recall is None else self.recall(name, key, make)

    def result_of(self, splitter: str, settings: Mapping[str, object]) -> SplitResult:
        """Returns what another splitter makes of this task."""
        if self.resolve is not None:
            return self.resolve(splitter, settings)
        return make_splitter(splitter, settings).split(self)


@dataclass(frozen=True)
class SplitResult:
    """N modules in the form in which a splitter finds them: masks over one graph, and a score for each.

    Args:
        masks: One mask per class.
        scores: How the logits of each masked network become the module's score.
        met_tolerance: Whether the choice met the splitter's own criterion; always True for splitters without one.
        warnings: What the user should know, one sentence each.
        history: One mapping of finite numbers per recorded state (``step``, ``seconds``, ``accuracy`` on select,
            ``kernel_retention``, and what else the splitter reports).
        facts: Further finite numbers about the whole split.
        sensitivity: One entry per layer, in order, from splitters that ask how much a layer can lose.
    """

    masks: KernelMasks
    scores: Scores
    met_tolerance: bool = True
    warnings: tuple[str, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    sensitivity: tuple[LayerSensitivity, ...] = ()


class Splitter(ABC, Generic[SettingsT]):
    """Splits a trained CNN into one module per class.

    A subclass names its settings model in ``Settings``, counts in ``version`` the changes that alter its results,
    and registers itself with ``@SPLITTERS.register("name")`` or the entry-point group ``splitbench.splitters``. The
    source of one from another package is part of its results' identity, so that an edit counts without a new version.

    Args:
        settings: The configuration.
    """

    Settings: ClassVar[type[Settings]]
    version: ClassVar[int] = 1

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    def references(self) -> tuple[SplitterReference, ...]:
        """Returns the splitters whose results on the same task this one reads; see ``SplitTask.result_of``."""
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
        """Splits the task's base model.

        Args:
            task: The base model and the images.
            graph: The model's channel graph, if the caller has it; traced otherwise.
            progress: Called at least once per recorded state.
            checkpoint: Where to keep, and from where to take up, the state of a long split. A resumed split returns
                the same result as an uninterrupted one.

        Raises:
            SplitFailedError: If no usable modules come out.
        """


class SplitterReference(Settings):
    """Another splitter, by name, with all its settings.

    Settings that are left out take their defaults, and ``version`` is the splitter's own, so that the reference says
    everything that determines the result; so is ``code``, see ``Registry.code_fingerprint``.
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
    def _without_needless(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out ``code`` where there is none, so that identities are those from before there was any."""
        return {key: value for key, value in serialise(self).items() if key != "code" or value}


SPLITTERS: Registry[type[Splitter[Any]]] = Registry(
    "splitter",
    entry_point_group="splitbench.splitters",
    homes={
        "cnnsplitter": "splitters.methods.cnnsplitter",
        "full": "splitters.methods.baselines",
        "gradsplitter": "splitters.methods.gradsplitter",
        "importance": "splitters.methods.baselines",
        "random": "splitters.methods.baselines",
    },
)
"""All splitters by name."""


def make_splitter(name: str, settings: Mapping[str, object], *, where: str = "") -> Splitter[Settings]:
    """Returns a configured splitter.

    Args:
        name: A name in ``SPLITTERS``.
        settings: Its settings as plain values; absent ones take their defaults.
        where: The file and key that hold them, for messages.

    Raises:
        ConfigurationError: If the name or a key is unknown, or a value is not allowed.
    """
    cls = SPLITTERS.get(name, where=where)
    if not (isinstance(cls, type) and issubclass(cls, Splitter)):
        raise ConfigurationError(f"the splitter {name!r} is {cls!r}; it must be a subclass of splitters.Splitter.")
    return cls(cls.Settings.parse(settings, where=f"{where + ': ' if where else ''}splitter {name!r}"))
