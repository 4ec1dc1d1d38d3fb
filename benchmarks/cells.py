"""A cell: everything that determines one result, and the identity made of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.config import JsonDict
from typing_extensions import Self

from splitters.settings import Settings

CELL_FORMAT = 2
"""Counts the changes of meaning of a cell's fields; part of every identity."""

TRAINING_VERSION = 1
"""Counts the changes of code that alter which weights a recipe ends with; part of every identity."""

SPLITTING_VERSION = 2
"""Counts the changes, outside the splitters, that alter what a split is given; part of every identity."""


class Identified(Settings):
    """Part of a cell's identity. Fields that came later are left out where they say nothing new.

    So a cell that could be described before there was such a field has the identity that it had then.
    """

    @model_serializer(mode="wrap")
    def _without_unused_additions(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialise(self)
        for name, field in type(self).model_fields.items():
            if field.json_schema_extra == _ADDED and getattr(self, name) == field.default:
                values.pop(name, None)
        return values


_ADDED: JsonDict = {"added": True}


def _can_be_made(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = shape
    if channels not in (1, 3) or height < 1 or width < 1:
        raise ValueError(f"channels must be 1 or 3, height and width at least 1, as in [3, 32, 32]; not {[*shape]}")
    return shape


ImageShape = Annotated[tuple[int, int, int], AfterValidator(_can_be_made)]
"""Channels, height and width."""


class SplitterSpec(Identified):
    """A splitter and its settings.

    Args:
        name: A name of ``splitters``.
        settings: Its settings.
        version: The splitter's own count of changes that alter results.
        code: Fingerprint of its code where it is a plug-in's; filled in by the suite's cells.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    version: int = 1
    code: str = Field(default="", json_schema_extra=_ADDED)


class ChannelStatistics(Settings):
    """A normalisation: ``(byte / 255 - mean) / std`` per image channel."""

    mean: tuple[float, ...] = Field(min_length=1)
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)


def _read_normalisation(value: object) -> object:
    if value is None or isinstance(value, ChannelStatistics) or value in ("imagenet", "none"):
        return value
    if isinstance(value, Mapping) and set(value) == {"mean", "std"}:
        mean, std = value["mean"], value["std"]
        if isinstance(mean, list | tuple) and isinstance(std, list | tuple) and len(mean) == len(std):
            return value
    raise ValueError(
        f"a normalisation is imagenet, none (bytes / 255), or {{mean: [...], std: [...]}} with one number per image "
        f"channel; not {value!r}"
    )


class ModelSpec(Identified):
    """A network: a name of ``benchmarks.models`` and its settings (``width``, ``norm``, ...), and its weights if given.

    Without ``weights`` the benchmark trains it. With them it is a given model, which nothing here trains; the fields
    after ``weights`` describe how it was made.

    Args:
        name: Its name.
        settings: Its settings.
        code: Fingerprint of the code that defines it where it is not built in; filled in by the suite's cells.
        weights: A file of weights, relative to the suite's file; or published weights: ``DEFAULT`` or their name.
        weights_hash: SHA-256 of the file's tensors; filled in by the suite's cells.
        normalisation: What its images were normalised with: ``{mean, std}``, ``imagenet``, or ``none`` for values in
            [0, 1]. Published weights and files of ``splitbench train`` have their own.
        input_shape: Channels, height and width of its images; stands in for the data set's ``input_shape``.
        class_names: The class of each logit, in order; the data set's classes in their order if not given.
        class_map: A file that says the same: a JSON or YAML list of names, a mapping from names to logits or back, or
            text with one name per line.
        force: Whether to use the model even if its accuracy on select is implausibly low.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    code: str = ""
    weights: str | None = Field(default=None, json_schema_extra=_ADDED)
    weights_hash: str = Field(default="", json_schema_extra=_ADDED)
    normalisation: Annotated[
        ChannelStatistics | Literal["imagenet", "none"] | None, BeforeValidator(_read_normalisation)
    ] = Field(default=None, json_schema_extra=_ADDED)
    input_shape: ImageShape | None = Field(default=None, json_schema_extra=_ADDED)
    class_names: tuple[str, ...] = Field(default=(), json_schema_extra=_ADDED)
    class_map: str = Field(default="", json_schema_extra=_ADDED)
    force: bool = Field(default=False, json_schema_extra=_ADDED)

    @field_validator("class_names")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} appears twice; each logit has a class of its own")
        return names

    @model_validator(mode="after")
    def _describe_given_weights(self) -> Self:
        described = [name for name in _OF_GIVEN if getattr(self, name)]
        if self.weights is None and described:
            raise ValueError(f"{described[0]!r} describes given weights; name them with 'weights', or leave it out")
        if self.class_names and self.class_map:
            raise ValueError("class_names and class_map say the same; give one of them")
        return self

    @property
    def is_given(self) -> bool:
        """Whether the network comes with its weights."""
        return self.weights is not None

    @property
    def architecture(self) -> ModelSpec:
        """The same network without weights."""
        return ModelSpec(name=self.name, settings=self.settings, code=self.code)

    def identity(self) -> dict[str, Any]:
        """Return what determines results as plain values: the hash of a weights file, not where it is."""
        return _without_location(self.model_dump(mode="json"))


def _without_location(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's fields without those that do not alter results."""
    left_out = {"force", "weights"} if model.get("weights_hash") else {"force"}
    return {key: value for key, value in model.items() if key not in left_out}


_OF_GIVEN = ("weights_hash", "normalisation", "input_shape", "class_names", "class_map", "force")


class DirichletSpec(Settings):
    """Class shares drawn from a Dirichlet distribution (DESIGN.md section 10).

    Args:
        alpha: Concentration.
        min_images: The draw is repeated until the smallest class has as many.
        estimator: Which of the draws; seeds it.
    """

    alpha: float = Field(gt=0)
    min_images: int = Field(default=10, ge=1)
    estimator: int = Field(default=0, ge=0)


class DatasetSpec(Identified):
    """A data set, the form in which the network sees it, and which of its images take part.

    Args:
        name: A registered name, e.g. ``digits``, ``cifar10``, ``parquet:cifar10``, ``folder:cats``.
        input_shape: Channels (1 or 3), height and width that images are brought to.
        classes: The names of the classes that take part, in the order of the labels; all, where none is named.
        train_images: How many images ``train`` keeps at most (stratified); None keeps all.
        select_images: The same for ``select``.
        split_train_images: How many of ``train`` the splitter sees (stratified); base models see all. None shows all.
        split_select_images: The same for ``select``.
        dirichlet: Skews the classes of ``train`` and ``select``.
        code: Fingerprint of the code that reads it where it is a plug-in's; filled in by the suite's cells.
    """

    name: str
    input_shape: ImageShape = (3, 32, 32)
    classes: tuple[str, ...] = Field(default=(), json_schema_extra=_ADDED)
    train_images: int | None = Field(default=None, ge=1)
    select_images: int | None = Field(default=None, ge=1)
    split_train_images: int | None = Field(default=None, ge=1)
    split_select_images: int | None = Field(default=None, ge=1)
    dirichlet: DirichletSpec | None = None
    code: str = Field(default="", json_schema_extra=_ADDED)

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes) or len(classes) == 1:
            raise ValueError(f"classes are at least two, each once, not {list(classes)}")
        return classes


class TrainingSpec(Identified):
    """How the base model is trained.

    Args:
        recipe: ``paper``: SGD, step schedule (lr x0.1 at 60 and 120 of 200 epochs, scaled to ``epochs``);
            ``one_cycle``: SGD with a one-cycle schedule, for short training.
        epochs: Passes over ``train``.
        batch_size: Images per step.
        learning_rate: The peak rate.
        momentum: Of SGD.
        weight_decay: Of SGD.
        flip: Horizontal flips as augmentation; None asks the data set (no flips on digits).
        crop_padding: Pixels of padding before the random crop; 0 turns it off.
        keep: Which epoch's weights are taken: the ``best`` on select, or the ``last``.
        dropout: False turns off dropout and stochastic depth of any network, whatever its settings say.
    """

    recipe: Literal["paper", "one_cycle"] = "paper"
    epochs: int = Field(default=200, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    flip: bool | None = None
    crop_padding: int = Field(default=4, ge=0)
    keep: Literal["best", "last"] = "best"
    dropout: bool = Field(default=True, json_schema_extra=_ADDED)


class Cell(Identified):
    """One (scenario, splitter, base model, data set, seed) evaluation: the unit of work, storage and resuming.

    Args:
        scenario: A name of ``benchmarks.scenarios``.
        scenario_settings: Its settings.
        scenario_version: The scenario's own count of changes that alter results; see ``Scenario.version``.
        scenario_code: Fingerprint of the scenario's code where it is a plug-in's, and of what its settings name.
        splitter: What splits.
        model: The base model's architecture.
        dataset: The images.
        training: How the base model comes to be.
        seed: Seeds splits, base model and splitter; below 2**63, for rows hold it in 64 bits.
        threads: CPU threads of the cell; they change sums in their last bits.
        device: ``auto`` takes a GPU where there is one.
    """

    scenario: str = "modularization"
    scenario_settings: dict[str, Any] = Field(default_factory=dict)
    scenario_version: int = Field(default=1, json_schema_extra=_ADDED)
    scenario_code: str = Field(default="", json_schema_extra=_ADDED)
    splitter: SplitterSpec
    model: ModelSpec
    dataset: DatasetSpec
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @cached_property
    def cell_id(self) -> str:
        """SHA-256, in hex, of the canonical JSON of everything that determines the result."""
        versions = {"format": CELL_FORMAT, "training_version": TRAINING_VERSION, "splitting_version": SPLITTING_VERSION}
        values = {**self.model_dump(mode="json"), "model": self.model.identity()}
        return content_hash({**versions, **_FORMER_FIELDS, **values})

    @model_validator(mode="before")
    @classmethod
    def _read_earlier(cls, values: Any) -> Any:
        """Reads the configurations of earlier rows."""
        return without_former_fields(values) if isinstance(values, Mapping) else values

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy, with an identity of its own; see ``pydantic.BaseModel.model_copy``."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("cell_id", None)
        return copy

    @property
    def label(self) -> str:
        """A short name for people: splitter, model, data set, seed."""
        return f"{self.splitter.name} · {self.model.name} · {self.dataset.name} · seed {self.seed}"


_ABSENT = object()

_FORMER_FIELDS: Mapping[str, object] = {"protocol": "splitbench"}
"""Fields that are gone, with the value that means what cells without them mean: earlier identities hold them."""


def configuration(text: str) -> dict[str, Any]:
    """Return what determines results in a row's ``config``, as plain values, in the form that this version gives it."""
    values = without_former_fields(json.loads(text))
    model = values.get("model")
    if isinstance(model, dict) and model.get("weights"):
        values["model"] = _without_location(model)
    return values


def without_former_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a cell's fields without those that are gone and said nothing else than cells without them say."""
    return {key: value for key, value in values.items() if _FORMER_FIELDS.get(key, _ABSENT) != value}


def content_hash(value: Mapping[str, Any]) -> str:
    """Returns the SHA-256, in hex, of ``value`` as canonical JSON (sorted keys, no spaces, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
