"""The sweep file: what is searched, on which cells, for which objectives, and within which budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr

from benchmarks.cells import DatasetSpec, ModelSpec, TrainingSpec
from benchmarks.scenarios.scenario import SCENARIOS
from harness.config.expand import expand, plugins_beside
from harness.config.plugins import Plugins
from harness.config.suite import Duration, Names, ScenarioEntry, Seeds, SplitterEntry, Suite, SuiteName
from harness.config.trust import Consent, consent_of
from harness.config.yaml_source import Source
from harness.suite_cell import SuiteCell
from harness.sweep.definition.objectives import Constraint, Objective
from harness.sweep.definition.space import Space
from splitters.errors import ConfigurationError
from splitters.settings import Precision, Settings


class SearchedSplitter(Settings):
    """A splitter of a sweep; every searched setting is a range or a list of choices.

    Args:
        name: The name of a splitter.
        label: Its name on screen; distinguishes two spaces of one splitter.
        settings: The fixed settings, and the defaults of the searched ones.
        space: The searched settings, each a range or a list of choices; see docs/sweeps.md, "Space".
    """

    name: str
    label: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Any] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name on screen."""
        return self.label or self.name


SamplerName = Literal["tpe", "nsga2", "gp", "random", "grid"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)


class SamplerSpec(Settings):
    """How configurations are proposed.

    Args:
        name: An Optuna sampler, or ``grid``, which tries all points of a finite space in order.
        seed: Seed of the proposals.
        startup: Random trials of each splitter before the model-based ones; a third of its trials by default.
        population: Population of ``nsga2``; a quarter of a splitter's trials by default.
    """

    name: SamplerName = "tpe"
    seed: int = Field(default=0, ge=0)
    startup: int | None = Field(default=None, ge=1)
    population: int | None = Field(default=None, ge=2)


class Limit(Settings):
    """A limit of wall time, of device time, or of both.

    Args:
        wall: Seconds, or a text such as ``30m``.
        device: The same, counted as seconds times the share of the GPU.
    """

    wall: Duration | None = None
    device: Duration | None = None


def _as_limit(value: object) -> object:
    return {"wall": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _as_named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _as_race(value: object) -> object:
    return ({} if value else None) if isinstance(value, bool) else value


_Limit = Annotated[Limit, BeforeValidator(_as_limit, json_schema_input_type=Duration | Limit)]


class Budget(Settings):
    """Time limits.

    Args:
        trial: Limit of one trial; a trial that exceeds it has failed.
        sweep: Limit of one call (``wall``) and of the whole study (``device``); the next call continues.
    """

    trial: _Limit = Limit()
    sweep: _Limit = Limit()


class Race(Settings):
    """Ends a configuration that a complete one beats; see docs/sweeps.md, "Race".

    Args:
        after: Seeds that every configuration gets.
        confidence: Confidence of the one-sided test, per objective.
    """

    after: int = Field(default=2, ge=2)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


CURVE_METRICS: Mapping[str, Literal["min", "max"]] = {
    "accuracy": "max",
    "kernel_retention": "min",
    "hypervolume": "max",
}
"""The metrics that trials report after every step, and their better direction."""


class EarlyStopping(Settings):
    """Asynchronous successive halving (ASHA) on one metric of running trials.

    Args:
        metric: ``accuracy`` on select, ``kernel_retention``, or ``hypervolume``, which is (1 - retention) * accuracy.
            Required where there are several objectives.
        grace: Steps (rounds, generations) that every trial gets.
        reduction: One in ``reduction`` trials at a rung continues; rungs are that factor apart.
    """

    metric: str | None = None
    grace: int = Field(default=2, ge=1)
    reduction: float = Field(default=3, gt=1)


class Sweep(Settings):
    """A search over the settings of splitters; ``docs/sweeps.md`` explains how it works.

    Keys that are not described here mean the same as in ``Suite``.

    Args:
        scenario: What is measured; it needs a form that leaves test unread.
        splitters: The splitters and their spaces.
        objectives: Numeric columns of rows, each ``min`` or ``max``.
        constraints: ``COLUMN <= NUMBER`` or ``COLUMN >= NUMBER``.
        reference: The corner from which hypervolume is measured, per objective. Default: 1 for fractions to make
            small, 0 for those to make large, else the worst value.
        sampler: The name of a sampler, or a sampler with its settings.
        trials: How many configurations the study has in the end, over all splitters.
        concurrency: Trials at once at most. Default: as many as fit on what is free.
        budget: Time limits of a trial, of a call and of the study.
        race: Whether configurations that are clearly beaten end before all seeds have run: true, or how it judges.
        early_stopping: Whether trials that do badly while they run are stopped, and by which number. Default: no.
    """

    name: SuiteName
    description: str = ""
    plugins: Names = ()
    scenario: str = "modularization"
    seeds: Seeds = (0,)
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "float32"
    compile: bool = False
    gpu_share: float = Field(default=1.0, gt=0, le=1)
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    splitters: tuple[SearchedSplitter, ...] = Field(min_length=1)
    objectives: dict[str, str] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    reference: dict[str, float] = Field(default_factory=dict)
    sampler: Annotated[SamplerSpec, BeforeValidator(_as_named, json_schema_input_type=SamplerName | SamplerSpec)] = (
        SamplerSpec()
    )
    trials: int = Field(default=50, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    budget: Budget = Budget()
    race: Annotated[Race | None, BeforeValidator(_as_race, json_schema_input_type=bool | Race | None)] = None
    early_stopping: EarlyStopping | None = None

    _source: Source = PrivateAttr(default=Source("sweep"))
    _folder: str = PrivateAttr(default="")

    @property
    def source(self) -> Source:
        """The file that the sweep was read from."""
        return self._source

    def located(self, source: Source, folder: str) -> Sweep:
        """Set the file for messages and the folder of its plugins, and return the sweep."""
        self._source, self._folder = source, folder
        return self

    @cached_property
    def plugin_modules(self) -> Plugins:
        """The modules that register what the sweep names."""
        return plugins_beside(self._folder, self.plugins, self.model_dump(mode="json"))

    @cached_property
    def consent(self) -> Consent:
        """The code that the sweep names, which may therefore be imported where results name it too."""
        return consent_of(self.plugin_modules, self.model_dump(mode="json"))

    @cached_property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives, checked."""
        return tuple(
            Objective.parse(name, direction, where=self.where("objectives", name))
            for name, direction in self.objectives.items()
        )

    @cached_property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints, checked."""
        return tuple(
            Constraint.parse(text, where=f"{self.where('constraints', index)}[{index}]")
            for index, text in enumerate(self.constraints)
        )

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """The search space of each splitter, checked."""
        return tuple(
            Space.parse(entry.name, entry.title, entry.settings, entry.space, where=self._where_of(index))
            for index, entry in enumerate(self.splitters)
        )

    def where(self, key: str, *path: str | int) -> str:
        """Return file, line and key, for messages."""
        return f"{self._source.where(key, *path)}: {key}"

    def _where_of(self, index: int) -> Callable[..., str]:
        title = self.splitters[index].title

        def where(parameter: str | None = None) -> str:
            if parameter is None:
                return f"{self.where('splitters', index)}.{title}"
            return f"{self.where('splitters', index, 'space', parameter)}.{title}.space.{parameter}"

        return where

    @property
    def selection_scenario(self) -> str:
        """The scenario of trials: the variant of the sweep's scenario that never reads test.

        Raises:
            ConfigurationError: If the sweep's scenario has no such variant.
        """
        found = SCENARIOS.get(self.scenario, where=self.where("scenario")).selection
        if found is None:
            able = [name for name in SCENARIOS if SCENARIOS.get(name).selection is not None]
            raise ConfigurationError(
                f"{self.where('scenario')}: {self.scenario!r} cannot be swept, as it has no form that leaves test "
                f"unread. Known: {', '.join(able)}."
            )
        return found

    @property
    def stopping_metric(self) -> str:
        """The metric of early stopping: the one that is named, or else the only objective's own."""
        if self.early_stopping is not None and self.early_stopping.metric is not None:
            return self.early_stopping.metric
        own = self.goals[0].column
        return {"select_accuracy_loss": "accuracy", "select_composed_accuracy": "accuracy"}.get(own, own)

    @cached_property
    def cells(self) -> tuple[SuiteCell, ...]:
        """The cells of the default settings, those of trials and those that score on test."""
        return tuple(expand(self.suite(self.selection_scenario, self.scenario)))

    def suite(self, *scenarios: str) -> Suite:
        """Return the suite of the default settings."""
        shared = Suite.model_fields.keys() & Sweep.model_fields.keys() - {"scenario", "splitters"}
        suite = Suite(
            **{key: getattr(self, key) for key in shared},
            scenario=tuple(ScenarioEntry(name=scenario) for scenario in scenarios),
            splitters=tuple(
                SplitterEntry(name=entry.name, label=entry.label, settings=entry.settings) for entry in self.splitters
            ),
        )
        suite._source = self._source
        return suite
