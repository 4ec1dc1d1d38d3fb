"""CNNSplitter's settings. The defaults are the paper's (arXiv 2209.06116 and 2311.04438)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from splitters.errors import ConfigurationError
from splitters.graph.layout import ChannelLayout
from splitters.methods.cnnsplitter.merging import StageLimits, stage_sizes
from splitters.methods.cnnsplitter.presets import PRESETS
from splitters.methods.cnnsplitter.search_state import SearchOn
from splitters.methods.kernel_choice.kernel_multiples import KernelMultiples
from splitters.methods.scoring.kinds import HeadSettings, ScoreKind
from splitters.settings import PresetSettings

Share = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class CNNSplitterSettings(PresetSettings, HeadSettings, KernelMultiples):
    """Settings of CNNSplitter.

    Args:
        preset: The paper's settings for a base model and data set, e.g. ``simcnn-cifar10``; they replace the defaults,
            and given settings override both.
        confidence: Importance counts only images to whose class the base model gives at least this probability.
        grouping: How a layer's kernels become genes: by ``importance``, at ``random``, or ``none`` (a gene a kernel).
        genes: Genes per channel group and class.
        genes_wide: The same for channel groups of at least ``wide_from`` channels.
        wide_from: Number of channels from which a channel group counts as wide.
        initialization: How the start population is drawn: with shares per kind of layer (``sensitivity``), or each
            gene with probability 1/2 (``random``).
        sensitive_layers: Convolutions, counted from 0, that are sensitive. Default: the curves decide.
        sensitive_shares: Shares of active genes from which sensitive layers of the start population draw. Default: the
            curves decide.
        other_shares: The same for the other layers.
        start_fall_off: A gene of rank i, by importance, is drawn into the start population in proportion to
            exp(-i / start_fall_off); the larger, the more alike are the chances of all genes.
        curve_shares: Shares of kept kernels at which the sensitivity curves are read, strictly rising; 1 is measured
            like any other, as whole modules need not answer exactly as the base model once they are calibrated.
        curve_tolerance: How far a layer's curve may be below the base model's accuracy and still count as level.
        sensitive_from: A layer is sensitive if its curve is level only from this share on, or from a higher one.
            Default: a share above the mean over all layers.
        share_margin: What start shares add to the share from which a kind's curves are level: more where layers that
            lose kernels at the same time do not bear what each bears alone.
        population: Candidates per class.
        parents: Number of best candidates that have offspring.
        elites: Number of best candidates that are copied unchanged.
        generations: Maximum number of generations.
        patience: Stop after this many generations without a better fitness.
        mutation_rate: Share of an offspring's genes that are redrawn.
        alpha: Weight of accuracy in the fitness; 1 - alpha is that of the mean Jaccard distance.
        gamma: While the last generation's best is less accurate, accuracy weighs more by the difference.
        evaluation: Whether compositions are found by ``merging``, or all tried (``exhaustive``).
        thresholds: Accuracy from which each stage of merging keeps a composition. With fewer stages than thresholds,
            the last stage takes the last threshold; with more, the last one is repeated.
        min_kept: Minimum number of compositions that a merge keeps.
        max_kept: Maximum number of compositions that a merge keeps.
        max_compositions: Maximum number of compositions that ``exhaustive`` may try.
        score: How modules are scored: by the raw logit of their class (``logit``), by that logit with a scale and a
            shift that give it the base model's mean and standard deviation (``moments``), or by a head that is trained
            on the finished modules (``head``). Fitness is computed with ``moments`` where the result has heads: they
            make scores comparable too, and a head for every candidate would take longer than the search.
            ``calibration`` is the setting's old name, with ``none`` for ``logit``.
        search_on: What importance, curves and fitness are measured on: ``train``, ``select``, or four fifths of
            ``both``. The result is chosen among the best compositions of all generations on images that the search has
            not seen: select, train, or the other fifth.
        search_images: Maximum number of images to search on, drawn in proportion to the classes. Default: all images.
        batch_size: Maximum number of images per forward pass.
        memory_mb: Activations that may be held at once while the base model or candidates run, with the logits of one
            pass; at least one image runs at a time. As much may be held to rank scores for merging and, on a GPU, to
            compare them. It leaves out weights, images, remembered scores (``cache_mb``), the scores and ranks of all
            of a generation's candidates, and what torch needs inside an operation.
        cache_mb: Cache of scores of earlier candidates, so that repeated ones are not run again.
    """

    presets: ClassVar = {name: preset.settings() for name, preset in PRESETS.items()}

    confidence: Fraction = 0.9
    grouping: Literal["importance", "random", "none"] = "importance"
    genes: int = Field(default=10, ge=1)
    genes_wide: int = Field(default=100, ge=1)
    wide_from: int = Field(default=256, ge=1)
    initialization: Literal["sensitivity", "random"] = "sensitivity"
    sensitive_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    sensitive_shares: Annotated[tuple[Share, ...], Field(min_length=1)] | None = None
    other_shares: Annotated[tuple[Share, ...], Field(min_length=1)] | None = None
    start_fall_off: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    curve_shares: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    curve_tolerance: Fraction = 0.05
    sensitive_from: Share | None = None
    share_margin: Annotated[float, Field(ge=-1, le=1)] = 0.3
    population: int = Field(default=100, ge=2)
    parents: int = Field(default=50, ge=2)
    elites: int = Field(default=20, ge=1)
    generations: int = Field(default=200, ge=1)
    patience: int = Field(default=20, ge=1)
    mutation_rate: Fraction = 0.05
    alpha: Fraction = 0.9
    gamma: Fraction = 0.9
    evaluation: Literal["merging", "exhaustive"] = "merging"
    thresholds: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.95, 0.95, 0.85, 0.80)
    min_kept: int = Field(default=50, ge=1)
    max_kept: int = Field(default=500, ge=1)
    max_compositions: int = Field(default=100_000, ge=1)
    score: ScoreKind = "logit"
    search_on: SearchOn = "train"
    search_images: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=512, ge=1)
    memory_mb: int = Field(default=1024, ge=1)
    cache_mb: int = Field(default=256, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _read_old_name(cls, values: object) -> object:
        """Take ``calibration`` for ``score``, as it was called before other splitters had the setting."""
        if not isinstance(values, Mapping) or "calibration" not in values:
            return values
        rest = {name: value for name, value in values.items() if name != "calibration"}
        old = values["calibration"]
        if old not in ("none", "moments"):
            raise ValueError(f"calibration is the old name of score and was 'none' or 'moments', not {old!r}")
        score = "logit" if old == "none" else old
        if rest.setdefault("score", score) != score:
            raise ValueError(f"score is {rest['score']!r}, and its old name calibration is {old!r}; remove calibration")
        return rest

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("parents", "elites"):
            count = getattr(self, name)
            if count > self.population:
                raise ValueError(
                    f"{count} {name} cannot be chosen among a population of {self.population}; "
                    f"lower {name}, or raise population"
                )
        if self.elites == self.population:
            raise ValueError(f"{self.elites} elites are the whole population and leave no offspring; lower elites")
        if any(one >= other for one, other in pairwise(self.curve_shares)):
            raise ValueError(f"curve_shares must rise strictly; {list(self.curve_shares)} does not")
        if self.min_kept > self.max_kept:
            raise ValueError(f"min_kept is {self.min_kept}, more than max_kept, which is {self.max_kept}")
        return self

    @property
    def needs_curves(self) -> bool:
        """Whether the start population depends on sensitivity curves."""
        chosen = (self.sensitive_layers, self.sensitive_shares, self.other_shares)
        return self.initialization == "sensitivity" and any(choice is None for choice in chosen)


def stage_limits(settings: CNNSplitterSettings, n_classes: int) -> list[StageLimits]:
    """Return the limits of each stage; ``exhaustive`` has none.

    Raises:
        ConfigurationError: If ``exhaustive`` would try more compositions than are allowed.
    """
    stages = len(stage_sizes(n_classes))
    if settings.evaluation == "exhaustive":
        compositions = settings.population**n_classes
        if compositions > settings.max_compositions:
            raise ConfigurationError(
                f"evaluation: exhaustive would try {compositions} compositions in every generation "
                f"({settings.population} candidates of {n_classes} classes); {settings.max_compositions} are allowed. "
                "Choose a smaller population or fewer classes, raise max_compositions, or use merging."
            )
        return [StageLimits(0.0, compositions, compositions)] * stages
    return [
        StageLimits(threshold, settings.min_kept, settings.max_kept)
        for threshold in stage_thresholds(settings.thresholds, stages)
    ]


def stage_thresholds(thresholds: tuple[float, ...], stages: int) -> tuple[float, ...]:
    """Fit thresholds to a number of stages: the last stage takes the last threshold, which is repeated if need be."""
    if stages <= len(thresholds):
        return (*thresholds[: stages - 1], thresholds[-1])
    return thresholds + thresholds[-1:] * (stages - len(thresholds))


def check_layers(settings: CNNSplitterSettings, layout: ChannelLayout) -> None:
    """Check that the sensitive layers are convolutions of this net, where the search asks for them.

    A preset's layers belong to the paper's network; with other layers, its remaining settings fit any network.

    Raises:
        ConfigurationError: If they are not.
    """
    layers, count = settings.sensitive_layers, len(layout.layers)
    if layers is None or settings.initialization == "random":
        return
    preset = PRESETS[settings.preset] if settings.preset else None
    if preset is not None and layers == preset.sensitive_layers and count != preset.convolutions:
        raise ConfigurationError(
            f"the preset {settings.preset!r} names layers of a net with {preset.convolutions} convolutions; "
            f"this one has {count}. Choose another preset, or give other sensitive_layers."
        )
    unknown = sorted(layer for layer in set(layers) if layer >= count)
    if unknown:
        raise ConfigurationError(
            f"sensitive_layers names {unknown}; this net has {count} convolutions, counted from 0 to {count - 1}."
        )
