"""Cells: everything that determines one result, and its hash."""

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

from splitters.settings import ClassName, Precision, Settings

CELL_FORMAT = 2
"""Incremented when the meaning of a cell's fields changes; part of every cell id."""

TRAINING_VERSION = 1
"""Incremented when a change of code alters trained weights; part of every cell id."""

SPLITTING_VERSION = 2
"""Incremented when a change outside the splitters alters the input of a split; part of every cell id."""


class IdentityFields(Settings):
    """Fields that are part of a cell's id. Fields that were added later are omitted at their defaults.

    So a cell keeps its id when a field is added.
    """

    @model_serializer(mode="wrap")
    def _omit_added_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
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


class SplitterSpec(IdentityFields):
    """A splitter and its settings.

    Args:
        name: A registered splitter.
        settings: Its settings.
        version: The splitter's version, incremented with every change that alters its results.
        code: Fingerprint of its code if it is a plug-in; set when a suite is expanded to cells.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    version: int = 1
    code: str = Field(default="", json_schema_extra=_ADDED)


class ChannelStatistics(Settings):
    """A normalisation: ``(byte / 255 - mean) / std`` per image channel.

    Args:
        mean: One number per channel.
        std: One number per channel.
    """

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


class ModelSpec(IdentityFields):
    """A network: a name and its settings (``width``, ``norm``, ...), and its weights if given.

    Without ``weights`` the benchmark trains it. With them it is a given model, which nothing here trains; the fields
    after ``weights`` describe how it was made.

    Args:
        name: The name of a network.
        settings: Its settings.
        code: Fingerprint of its code if it is not built in; set when a suite is expanded to cells.
        weights: A file of weights, relative to the suite's file; or published weights: ``DEFAULT`` or their name.
        weights_hash: SHA-256 of the file's tensors; set when a suite is expanded to cells.
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
    class_names: tuple[ClassName, ...] = Field(default=(), json_schema_extra=_ADDED)
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
    """Class shares drawn from a Dirichlet distribution (docs/design.md, "The papers' networks and recipe").

    Args:
        alpha: Concentration.
        min_images: The draw is repeated until the smallest class has this many images.
        estimator: Number of the draw, which seeds it.
    """

    alpha: float = Field(gt=0)
    min_images: int = Field(default=10, ge=1)
    estimator: int = Field(default=0, ge=0)


class DatasetSpec(IdentityFields):
    """A data set, the shape in which the network sees it, and the images that are used.

    Args:
        name: A registered name, e.g. ``digits``, ``parquet:cifar10``, ``folder:cats:test=val``; see docs/data.md.
        input_shape: Channels (1 or 3), height and width that images are converted to.
        classes: The names of the classes that are used, in the order of the labels. Default: all.
        images_per_class: Official training images of each class, at most; ``train`` and ``select`` are drawn from them.
        train_images: Maximum size of ``train`` (stratified). Default: all images.
        select_images: The same for ``select``.
        split_train_images: Images of ``train`` that the splitter sees, at most (stratified); base models see all.
        split_select_images: The same for ``select``.
        dirichlet: Skews the classes of ``train`` and ``select``.
        code: Fingerprint of the code that reads it if it is a plug-in; set when a suite is expanded to cells.
    """

    name: str
    input_shape: ImageShape = (3, 32, 32)
    classes: tuple[ClassName, ...] = Field(default=(), json_schema_extra=_ADDED)
    images_per_class: int | None = Field(default=None, ge=2, json_schema_extra=_ADDED)
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


class TrainingSpec(IdentityFields):
    """The training of a base model.

    Args:
        recipe: ``paper``: SGD, step schedule (lr x0.1 at 60 and 120 of 200 epochs, scaled to ``epochs``);
            ``one_cycle``: SGD with a one-cycle schedule, for short training.
        epochs: Passes over ``train``.
        batch_size: Images per step.
        learning_rate: The peak rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        flip: Whether images are flipped horizontally at random. Default: the data set decides (no flips on digits).
        crop_padding: Pixels of padding before the random crop; 0 turns cropping off.
        keep: The epoch whose weights are kept: the ``best`` on select, or the ``last``.
        dropout: False turns off dropout and stochastic depth of any network, whatever its settings are.
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


class Cell(IdentityFields):
    """One (scenario, splitter, base model, data set, seed) evaluation: the unit of work, storage and resuming.

    Args:
        scenario: A registered scenario.
        scenario_settings: Its settings.
        scenario_version: The scenario's version; see ``Scenario.version``.
        scenario_code: Fingerprint of the code of the scenario, if it is a plug-in, and of plug-ins in its settings.
        splitter: The splitter.
        model: The base model's architecture.
        dataset: The images.
        training: The base model's training.
        seed: Seeds roles, base model and splitter; below 2**63, since rows store it in 64 bits.
        threads: CPU threads of the cell; they change the last bits of sums.
        device: ``auto`` takes a GPU if there is one.
        precision: The precision of networks in training, searches and evaluation.
        compile: Whether networks are compiled where they are trained or masked.
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
    precision: Precision = Field(default="float32", json_schema_extra=_ADDED)
    compile: bool = Field(default=False, json_schema_extra=_ADDED)

    @cached_property
    def cell_id(self) -> str:
        """The SHA-256, in hex, of the canonical JSON of everything that determines the result."""
        before, after = self.identity_without_seed
        return hashlib.sha256(f'{before},"seed":{self.seed},{after}'.encode()).hexdigest()

    @cached_property
    def identity_without_seed(self) -> tuple[str, str]:
        """That JSON before the seed and after it, without the commas; equal for cells that differ in the seed alone."""
        versions = {"format": CELL_FORMAT, "training_version": TRAINING_VERSION, "splitting_version": SPLITTING_VERSION}
        values = {**self.model_dump(mode="json"), "model": self.model.identity()}
        values = {**versions, **_OBSOLETE_FIELDS, **values}
        before = canonical_json({key: value for key, value in values.items() if key < "seed"})
        after = canonical_json({key: value for key, value in values.items() if key > "seed"})
        return before[:-1], after[1:]

    @model_validator(mode="before")
    @classmethod
    def _read_older_format(cls, values: Any) -> Any:
        return drop_obsolete_fields(values) if isinstance(values, Mapping) else values

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with an id of its own; see ``pydantic.BaseModel.model_copy``."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("cell_id", None)
        copy.__dict__.pop("identity_without_seed", None)
        return copy

    def with_seed(self, seed: int) -> Self:
        """Return a copy with another seed, whose id is made from what is known of this one."""
        values = {**self.__dict__, "identity_without_seed": self.identity_without_seed, "seed": seed}
        values.pop("cell_id", None)
        # What pydantic's own copy does, which copies more and takes several times as long.
        copy = type(self).__new__(type(self))
        object.__setattr__(copy, "__dict__", values)
        object.__setattr__(copy, "__pydantic_fields_set__", self.__pydantic_fields_set__ | {"seed"})
        object.__setattr__(copy, "__pydantic_extra__", self.__pydantic_extra__)
        object.__setattr__(copy, "__pydantic_private__", self.__pydantic_private__)
        return copy

    @property
    def label(self) -> str:
        """A short name for display: splitter, model, data set, seed."""
        return f"{self.splitter.name} · {self.model.name} · {self.dataset.name} · seed {self.seed}"


_ABSENT = object()

_OBSOLETE_FIELDS: Mapping[str, object] = {"protocol": "splitbench"}
"""Removed fields, each with the value that it had in every cell: older cell ids depend on them."""


def parse_config(text: str) -> dict[str, Any]:
    """Return what determines results in a row's ``config``, as plain values, in the form that this version gives it."""
    values = drop_obsolete_fields(json.loads(text))
    model = values.get("model")
    if isinstance(model, dict) and model.get("weights"):
        values["model"] = _without_location(model)
    return values


def drop_obsolete_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell's fields without obsolete ones that hold their only valid value."""
    return {key: value for key, value in values.items() if _OBSOLETE_FIELDS.get(key, _ABSENT) != value}


def content_hash(value: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of ``value`` as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Mapping[str, Any]) -> str:
    """Return a value as canonical JSON: sorted keys, no spaces, no NaN, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
