"""Sweeps as files: what is searched, on which cells, for what, and how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr

from benchmarks.cells import DatasetSpec, ModelSpec, TrainingSpec
from harness.config import Duration, Names, ScenarioEntry, Seeds, SplitterEntry, Suite
from harness.plugins import Plugins
from harness.sweep.objectives import Constraint, Objective
from harness.sweep.space import Space
from harness.trust import Consent, consent_of
from harness.yaml_source import Source
from splitters.settings import Settings


class SearchedSplitter(Settings):
    """A splitter of a sweep.

    Args:
        name: A name of ``splitters``.
        label: What it is called on screen; tells two spaces of one splitter apart.
        settings: What stays fixed, and the default of what is searched.
        space: The settings that are searched; see ``Parameter``.
    """

    name: str
    label: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Any] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called on screen."""
        return self.label or self.name


SamplerName = Literal["tpe", "nsga2", "gp", "random", "grid"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)
"""All ways to propose configurations, by name."""


class SamplerSpec(Settings):
    """How configurations are proposed.

    Args:
        name: ``tpe``, ``nsga2``, ``gp``, ``random``, or ``grid``, which tries every point of a space that has an end.
        seed: Seeds the proposals.
        startup: Random configurations of each splitter before the others are learnt from; a third of its trials by
            default.
        population: Of ``nsga2``; a quarter of a splitter's trials by default.
    """

    name: SamplerName = "tpe"
    seed: int = Field(default=0, ge=0)
    startup: int | None = Field(default=None, ge=1)
    population: int | None = Field(default=None, ge=2)


class Limit(Settings):
    """How much time something may take.

    Args:
        wall: Wall time.
        device: Device time: seconds of cells, times the share of a GPU where they have one.
    """

    wall: Duration | None = None
    device: Duration | None = None


def _as_named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _as_race(value: object) -> object:
    return ({} if value else None) if isinstance(value, bool) else value


def _as_limit(value: object) -> object:
    return {"wall": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class Budget(Settings):
    """How long trials, and all of them together, may take.

    Args:
        trial: Of one trial; one that takes longer has failed.
        sweep: Of one call of the sweep (``wall``), of the whole study (``device``). What runs then is interrupted, and
            the next call goes on.
    """

    trial: Annotated[Limit, BeforeValidator(_as_limit)] = Limit()
    sweep: Annotated[Limit, BeforeValidator(_as_limit)] = Limit()


class Race(Settings):
    """When a configuration need not run on all seeds; see ``harness.sweep.racing``.

    Args:
        after: Seeds that every configuration gets.
        confidence: Of the test that ends it.
    """

    after: int = Field(default=2, ge=2)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


CURVE_METRICS: Mapping[str, Literal["min", "max"]] = {
    "accuracy": "max",
    "kernel_retention": "min",
    "hypervolume": "max",
}
"""What a trial tells of itself while it runs, and which way is better."""


class EarlyStopping(Settings):
    """Ends trials that lie behind others at the same step: asynchronous successive halving (ASHA) on one number.

    Args:
        metric: ``accuracy`` on select, ``kernel_retention``, or ``hypervolume``: the area between a step's accuracy and
            retention and the corner of no accuracy and all kernels, (1 - retention) * accuracy. With several
            objectives it must be named.
        grace: Steps (rounds, generations) that every trial gets.
        reduction: Of the trials that reach a rung, one in so many goes on; rungs lie that many times apart.
    """

    metric: str | None = None
    grace: int = Field(default=2, ge=1)
    reduction: float = Field(default=3, gt=1)


class Sweep(Settings):
    """A search over the settings of splitters.

    The keys that a suite has too mean the same here: see ``Suite``.

    Args:
        name: The sweep's name; its rows carry it.
        description: One line for people.
        plugins: Modules to import first.
        scenario: What is measured. While choices are made, its form that leaves test unread stands for it.
        seeds: Every trial runs on all of them, or races.
        threads: CPU threads of each trial.
        device: ``auto``, ``cpu`` or ``cuda``.
        gpu_share: The share of a GPU that each trial owns.
        models: Base models.
        datasets: Data sets.
        training: How base models are trained.
        splitters: What is searched.
        objectives: Columns of rows, each ``min`` or ``max``.
        constraints: Bounds such as ``accuracy_loss <= 0.02``.
        reference: The corner from which hypervolume is measured, per objective; by default the worst value there is.
        sampler: A name, or a ``SamplerSpec``.
        trials: How many configurations the study has in the end.
        concurrency: Trials at once at most; as many as fit by default.
        budget: See ``Budget``.
        race: See ``Race``; without it, every trial runs on all seeds.
        early_stopping: See ``EarlyStopping``; without it, every trial runs to its end.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    description: str = ""
    plugins: Names = ()
    scenario: str = "modularization"
    seeds: Seeds = (0,)
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpu_share: float = Field(default=1.0, gt=0, le=1)
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    splitters: tuple[SearchedSplitter, ...] = Field(min_length=1)
    objectives: dict[str, str] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    reference: dict[str, float] = Field(default_factory=dict)
    sampler: Annotated[SamplerSpec, BeforeValidator(_as_named)] = SamplerSpec()
    trials: int = Field(default=50, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    budget: Budget = Budget()
    race: Annotated[Race | None, BeforeValidator(_as_race)] = None
    early_stopping: EarlyStopping | None = None

    _source: Source = PrivateAttr(default=Source("sweep"))
    _folder: str = PrivateAttr(default="")

    @property
    def source(self) -> Source:
        """Where the sweep was read from."""
        return self._source

    def located(self, source: Source, folder: str) -> Sweep:
        """Notes where the sweep comes from, for messages, and where its plugins may lie."""
        self._source, self._folder = source, folder
        return self

    @cached_property
    def plugin_modules(self) -> Plugins:
        """The modules that its names may come from."""
        return Plugins(self.plugins, self._folder)

    @cached_property
    def consent(self) -> Consent:
        """What code it names, and so may be imported where results name it too."""
        return consent_of(self.plugin_modules, self.model_dump(mode="json"))

    @cached_property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives, checked."""
        return tuple(
            Objective.parse(name, direction, where=f"{self._source.where('objectives', name)}: objectives")
            for name, direction in self.objectives.items()
        )

    @cached_property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints, checked."""
        return tuple(
            Constraint.parse(text, where=f"{self._source.where('constraints', index)}: constraints[{index}]")
            for index, text in enumerate(self.constraints)
        )

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """The search space of each splitter, checked."""
        return tuple(
            Space.parse(entry.name, entry.title, entry.settings, entry.space, where=self._where_of(index))
            for index, entry in enumerate(self.splitters)
        )

    def _where_of(self, index: int) -> Callable[..., str]:
        title = self.splitters[index].title

        def where(parameter: str | None = None) -> str:
            if parameter is None:
                return f"{self._source.where('splitters', index)}: splitters.{title}"
            return f"{self._source.where('splitters', index, 'space', parameter)}: splitters.{title}.space.{parameter}"

        return where

    def suite(self, scenario: str) -> Suite:
        """Returns the suite of the base settings, which stands for the cells that every configuration is run on."""
        suite = Suite(
            name=self.name,
            plugins=self.plugins,
            scenario=(ScenarioEntry(name=scenario),),
            seeds=self.seeds,
            threads=self.threads,
            device=self.device,
            gpu_share=self.gpu_share,
            models=self.models,
            datasets=self.datasets,
            training=self.training,
            splitters=tuple(
                SplitterEntry(name=entry.name, label=entry.label, settings=entry.settings) for entry in self.splitters
            ),
        )
        suite._source = self._source
        return suite
