"""The row that one attempt at a cell writes. Its Parquet schema and documentation are generated from these models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

ROW_FORMAT = 7
"""The version of the row schema. Readers accept older versions and refuse newer ones."""

OBSOLETE_COLUMNS = {"protocol": 3, "flops_retention_union": 3}
"""Removed columns, with the last format that had them. Readers ignore them."""


Count = Annotated[int, "32 bits"]
"""A number of images, of which rows hold many: stored in four bytes."""


def _higher(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra={"better": "higher"})


def _lower(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra={"better": "lower"})


def _fraction(description: str, better: str | None = None, *, low: float = 0.0) -> Any:
    """Return a column with values in [low, 1]."""
    extra: dict[str, Any] = {"unit": "fraction", "bounds": [low, 1.0], **({"better": better} if better else {})}
    return Field(default=None, description=description, json_schema_extra=extra)


def _seconds(description: str) -> Any:
    extra: dict[str, Any] = {"unit": "seconds", "better": "lower"}
    return Field(default=None, description=description, json_schema_extra=extra)


def _measured(description: str, better: str) -> Any:
    return Field(description=description, json_schema_extra={"better": better})


def _fact(description: str) -> Any:
    return Field(default=None, description=description)


class State(str, Enum):
    """How an attempt at a cell ended. Only ``ok`` and ``skipped`` satisfy a later run."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether a cell in this state is not run again."""
        return self in (State.OK, State.SKIPPED)


class Record(BaseModel):
    """The base of everything stored in rows: immutable, no unknown keys, no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LayerRecord(Record):
    """One convolution of the base model."""

    name: str = Field(description="The convolution's name in the base model")
    kernels: int = Field(description="Its kernels in the base model")
    kept: list[int] = Field(description="Kernels kept, per module, in the order of `modules`")
    union_kept: int = Field(description="Kernels that at least one module keeps")


class ModuleRecord(Record):
    """One module."""

    class_index: int = Field(description="Its class, counted from 0")
    class_name: str = Field(description="Its class's name")
    kernels: int = Field(description="Kernels kept, over all convolutions")
    flops: int = Field(description="Floating-point operations for one image")
    parameters: int = Field(description="Parameters, the head included")
    select_precision: float = Field(description="Precision of its class in the composed model, on select")
    select_recall: float = Field(description="Recall of its class in the composed model, on select")
    select_f1: float = Field(description="F1 of its class in the composed model, on select")


class SensitivityRecord(Record):
    """One layer's sensitivity to lost kernels, as the splitter measured it; tied layers are one record."""

    layer: str = Field(description="The layer's name, or the names of tied layers")
    kept_shares: list[float] = Field(description="Shares of its kernels that modules kept, with all other layers whole")
    select_accuracy: list[float] = Field(
        description="Composed accuracy at each of these shares, on the images that the splitter searches on"
    )
    sensitive: bool = Field(description="Whether the splitter considers it sensitive")
    start_shares: list[float] = Field(description="Shares of active genes that the search starts with")


class FigureRecord(Record):
    """A number that the splitter reports for one of its recorded states or generations, or for the whole split."""

    step: int | None = _fact("The round or generation, counted from 1; null: the whole split")
    name: str = Field(
        description="Its name, e.g. `accuracy` (on select), `kernel_retention`, `seconds` since the start"
    )
    value: float = Field(description="The number")


def figures_by_step(figures: Iterable[FigureRecord]) -> dict[int, dict[str, float]]:
    """Return the figures of each round or generation by name, in the order in which they were reported."""
    by_step: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for figure in figures:
        if figure.step is not None:
            by_step[figure.step][figure.name] = figure.value
    return dict(by_step)


class PatchRecord(Record):
    """A weak model before and after its patch, on test: one record per target class and fusion rule."""

    weak_kind: str = Field(description="What makes the weak model weak")
    target_class: str = Field(description="The class that is patched")
    fusion: str = Field(description="The fusion rule")
    tc_precision_before: float = _measured("Weak model's precision of the target class", "higher")
    tc_precision_after: float = _measured("Patched model's precision of the target class", "higher")
    tc_precision_gain: float | None = _higher("`tc_precision_after - tc_precision_before`")
    tc_recall_before: float = _measured("Weak model's recall of the target class", "higher")
    tc_recall_after: float = _measured("Patched model's recall of the target class", "higher")
    tc_recall_gain: float | None = _higher("`tc_recall_after - tc_recall_before`")
    tc_f1_before: float = _measured("Weak model's F1 of the target class", "higher")
    tc_f1_after: float = _measured("Patched model's F1 of the target class", "higher")
    tc_f1_gain: float = _measured("`tc_f1_after - tc_f1_before`", "higher")
    non_tc_accuracy_before: float = _measured("Weak model's accuracy on images of the other classes", "higher")
    non_tc_accuracy_after: float = _measured("Patched model's accuracy on images of the other classes", "higher")
    non_tc_accuracy_gain: float | None = _higher("`non_tc_accuracy_after - non_tc_accuracy_before`")
    accuracy_before: float = _measured("Weak model's accuracy", "higher")
    accuracy_after: float = _measured("Patched model's accuracy", "higher")
    accuracy_gain: float = _measured("`accuracy_after - accuracy_before`", "higher")
    turned_right: int = _measured("Answers that the patch corrected", "higher")
    turned_wrong: int = _measured("Correct answers that the patch made wrong", "lower")
    select_tc_f1_after: float = _measured(
        "Patched model's F1 of the target class on select, to which the rule was fitted", "higher"
    )
    select_tc_f1_before: float | None = _higher("Weak model's F1 of the target class on select")
    select_tc_f1_held_out: float | None = _higher(
        "Patched model's F1 of the target class on select, each fifth by a rule that was fitted to the other four; "
        "null: too few images"
    )
    select_tc_f1_gain: float | None = _higher("`select_tc_f1_held_out - select_tc_f1_before`: to choose a rule by")


class ConfusionRecord(Record):
    """Test images by class and answer: of the base and the composed model, or of a weak model and the patched one."""

    target_class: str | None = _fact("The class that is patched; null: all modules are composed")
    fusion: str | None = _fact("The fusion rule of the patch")
    classes: list[str] = Field(description="Names of the classes, in the order of both matrices")
    before: list[list[Count]] = Field(
        description="Base or weak model: a list per class of the images, with the number of its answers for each class"
    )
    after: list[list[Count]] = Field(description="The same of the composed or patched model")


class ComposedCostRecord(Record):
    """The cost of a composed model, compared with one whole network."""

    flops_sum: int = _measured("FLOPs of the composed model for one image, summed over its modules", "lower")
    parameters_sum: int = _measured("Parameters of the composed model", "lower")
    parameters_union: int = _measured("Parameters stored if modules of one base model share their kernels", "lower")
    latency_seconds: float = _measured("Composed model's median time for one image", "lower")
    base_flops: int = Field(description="FLOPs of the whole network")
    base_parameters: int = Field(description="Parameters of the whole network")
    base_latency_seconds: float = Field(description="Whole network's median time for one image")
    flops_retention_sum: float = _measured("`flops_sum / base_flops`", "lower")
    param_retention_sum: float = _measured("`parameters_sum / base_parameters`", "lower")
    param_retention_union: float = _measured("`parameters_union / base_parameters`", "lower")
    latency_ratio: float = _measured("`latency_seconds / base_latency_seconds`", "lower")


class CompositionRecord(ComposedCostRecord):
    """A composed model of each class's best module among several base models, on test: one record per kind of choice.

    Every choice, of modules and of baselines, is made on select images that no base model was trained on.
    """

    reach: str = Field(description="`intra`: base models of one architecture; `inter`: of several")
    networks: str = Field(description="The architectures, joined by `+`")
    n_base_models: int = Field(description="Base models to choose modules from")
    chosen: list[str] = Field(description="Per class, the base model whose module has the best F1 on select")
    chosen_select_f1: list[float] = Field(description="Per class, that module's F1 on select")
    composed_accuracy: float = _measured("Composed model's accuracy", "higher")
    select_composed_accuracy: float = _measured("The same on select", "higher")
    best_base: str = Field(description="The base model that is most accurate on select")
    best_base_accuracy: float = _measured("That base model's accuracy", "higher")
    mean_base_accuracy: float = _measured("Base models' mean accuracy", "higher")
    ensemble_accuracy: float = _measured("Accuracy of the mean of all base models' probabilities", "higher")
    best_module_set: str = Field(description="The base model whose modules, composed, are most accurate on select")
    best_module_set_accuracy: float = _measured("Accuracy of these modules, composed", "higher")
    gain_over_best_base: float = _measured("`composed_accuracy - best_base_accuracy`", "higher")
    gain_over_mean_base: float = _measured("`composed_accuracy - mean_base_accuracy`", "higher")
    gain_over_ensemble: float = _measured("`composed_accuracy - ensemble_accuracy`", "higher")
    gain_over_module_set: float = _measured("`composed_accuracy - best_module_set_accuracy`", "higher")


class NewTaskRecord(ComposedCostRecord):
    """A task of classes of two data sets, on test: one record per task and number of training images.

    Costs are compared with the cell's network with as many outputs as the task has classes.
    """

    classes: list[str] = Field(description="The task's classes")
    n_classes: int = Field(description="Their number")
    images_per_class: int | None = _fact("Images of each class that the trained networks see; null: all")
    composed_accuracy: float = _measured("Accuracy of the composed model, which is not trained", "higher")
    select_composed_accuracy: float = _measured("The same on select", "higher")
    scratch_accuracy: float = _measured("Accuracy of the same network trained from scratch", "higher")
    select_scratch_accuracy: float = _measured("The same on select", "higher")
    last_layer_accuracy: float = _measured("Accuracy of a base model with a new last layer", "higher")
    select_last_layer_accuracy: float = _measured("The same on select, which chooses the base model", "higher")
    gain_over_scratch: float = _measured("`composed_accuracy - scratch_accuracy`", "higher")
    gain_over_last_layer: float = _measured("`composed_accuracy - last_layer_accuracy`", "higher")
    composed_images: int = _measured("Training images that composing needs", "lower")
    scratch_images: int = _measured("Training images from scratch", "lower")
    last_layer_images: int = _measured("Training images of the last layer", "lower")
    composed_seconds: float = _measured("Time to compose the modules", "lower")
    scratch_seconds: float = _measured("Time to train from scratch", "lower")
    last_layer_seconds: float = _measured("Time to train the last layer of both base models", "lower")


class SubTaskRecord(ComposedCostRecord):
    """A task of some of the classes, on test: modules composed, against the base model restricted to these classes."""

    classes: list[str] = Field(description="The task's classes")
    n_classes: int = Field(description="Their number")
    composed_accuracy: float = _measured("Composed model's accuracy", "higher")
    select_composed_accuracy: float = _measured("The same on select", "higher")
    restricted_accuracy: float = _measured("Accuracy of the base model's highest logit among these classes", "higher")
    select_restricted_accuracy: float = _measured("The same on select", "higher")
    accuracy_loss: float = _measured("`restricted_accuracy - composed_accuracy`", "lower")


class StageRecord(Record):
    """One stage of a cell's work."""

    name: str = Field(
        description="`data`, `train` (`load` for given models), `split`, and what the scenario does after them"
    )
    seconds: float = Field(description="Wall time; for reused work, that of the original computation")
    peak_memory_bytes: int | None = _fact("Peak memory of the GPU if there is one, else of the process")
    reused: bool = Field(default=False, description="Whether it was reused from an earlier cell")
    device_name: str | None = _fact("For reused work, the GPU or CPU that computed it; several are joined by `+`")
    torch_version: str | None = _fact("For reused work, the version of torch that computed it")
    hostname: str | None = _fact("For reused work, the machine that computed it")


class Metrics(Record):
    """What a scenario measures. Fractions are in [0, 1]; null where a scenario does not measure it."""

    base_accuracy: float | None = _fraction("Base model's accuracy on test", "higher")
    composed_accuracy: float | None = _fraction("Composed model's accuracy on test", "higher")
    accuracy_loss: float | None = _fraction("`base_accuracy - composed_accuracy`", "lower", low=-1.0)
    select_base_accuracy: float | None = _fraction("Base model's accuracy on select", "higher")
    select_composed_accuracy: float | None = _fraction("Composed model's accuracy on select", "higher")
    select_accuracy_loss: float | None = _fraction("The same difference on select, for choices", "lower", low=-1.0)
    kernels_total: int | None = _fact("Kernels of the base model, over all convolutions")
    kernel_retention: float | None = _fraction("Kept kernels / all kernels, mean over modules", "lower")
    kernel_retention_union: float | None = _fraction("Kernels kept by at least one module / all kernels", "lower")
    flops_retention: float | None = _fraction("FLOPs of a module / of the base model, mean over modules", "lower")
    flops_retention_sum: float | None = _lower("FLOPs of the composed model / of the base model")
    param_retention: float | None = _fraction("Parameters of a module / of the base model, mean over modules", "lower")
    param_retention_union: float | None = _fraction(
        "Parameters to store, shared ones once / of the base model", "lower"
    )
    param_retention_sum: float | None = _lower("Parameters of the composed model / of the base model")
    jaccard_distance: float | None = _fraction("Mean pairwise Jaccard distance of the modules' kept kernels")
    met_tolerance: bool | None = _fact("Whether the choice met the splitter's own criterion")
    score: str | None = _fact(
        "How modules are scored: `logit` (the raw logit of their class), `moments` (that logit, scaled and shifted to "
        "the base model's mean and deviation), `head` (a small trained head), `linear` (a linear read-out of all "
        "logits), or a plug-in's own kind"
    )
    split_seconds: float | None = _seconds("Wall time of the split")
    train_images: int | None = _fact("Images in train")
    select_images: int | None = _fact("Images in select")
    split_train_images: int | None = Field(default=None, description="Images of train that the splitter saw")
    split_select_images: int | None = Field(
        default=None, description="Images of select that the splitter saw; figures on select are measured on these"
    )
    test_images: int | None = _fact("Images in test")
    dataset_hash: str | None = _fact("SHA-256 of the decoded images and labels")
    other_dataset_hash: str | None = _fact("The same for the scenario's second data set, if any")
    base_model_hash: str | None = _fact("SHA-256 of the base model's weights")
    base: str | None = _fact(
        "`trained`: the benchmark trained the base model; `given`: it came with its weights, and which images it has "
        "seen is not known; null: trained, or of several base models"
    )
    base_source: str | None = _fact("Where a given base model's weights came from: a file, or published weights' name")
    layers: list[LayerRecord] = Field(default_factory=list, description="Kernel counts per convolution")
    modules: list[ModuleRecord] = Field(default_factory=list, description="One record per module")
    shared_kernels: list[list[int]] = Field(
        default_factory=list,
        description="Kernels that two modules both keep: for each of `modules`, one number per later module",
    )
    sensitivity: list[SensitivityRecord] = Field(
        default_factory=list, description="One record per layer, from splitters that measure sensitivity"
    )
    figures: list[FigureRecord] = Field(
        default_factory=list, description="What the splitter reports for its steps and for the whole split, in order"
    )
    patches: list[PatchRecord] = Field(
        default_factory=list, description="One record per target class and fusion rule, from the scenario `patching`"
    )
    confusions: list[ConfusionRecord] = Field(
        default_factory=list,
        description="Confusion matrices on test: one record of all modules, or one per target class, by the fusion "
        "rule with the best mean F1 on select; none where they would hold more than 20,000 numbers",
    )
    compositions: list[CompositionRecord] = Field(
        default_factory=list, description="One record per kind of choice, from the scenario `accuracy_composition`"
    )
    new_tasks: list[NewTaskRecord] = Field(
        default_factory=list, description="One record per task and number of images, from the scenario `new_task`"
    )
    sub_tasks: list[SubTaskRecord] = Field(
        default_factory=list, description="One record per task, from the scenario `sub_task`"
    )
    stages: list[StageRecord] = Field(default_factory=list, description="Time and memory per stage")
    warnings: list[str] = Field(default_factory=list, description="What the user should know")


class Provenance(Record):
    """The software and hardware that computed a row."""

    splitbench_version: str = Field(description="Version of the package")
    git_commit: str | None = Field(
        description="Commit of the package's checkout, with `+dirty` if it was changed; null if installed from a wheel"
    )
    python_version: str = Field(description="Version of Python")
    torch_version: str = Field(description="Version of torch")
    cuda_version: str | None = Field(description="Version of CUDA, if a GPU was used")
    device_name: str = Field(description="Name of the GPU or CPU")
    hostname: str = Field(description="Name of the machine")
    platform: str = Field(description="Operating system and architecture")


class Row(Provenance, Metrics):
    """One attempt at a cell: its identity, outcome, provenance and metrics.

    Metrics are all null, or empty, unless the state is ``ok``.
    """

    row_format: int = Field(default=ROW_FORMAT, description="Version of this schema")
    cell_id: str = Field(description="SHA-256 of everything that determines the result")
    attempt_id: str = Field(description="Unique id of this attempt")
    suite: str = Field(description="The suite that requested the cell")
    state: State = Field(description="How the attempt ended")
    reason: str | None = _fact("Why it is not `ok`, in one line")
    failure_kind: str | None = _fact("Class of the failure, e.g. the exception's name")
    traceback: str | None = _fact("The whole traceback")
    started_at: AwareDatetime = Field(description="When it began, UTC")
    seconds: float = Field(description="Wall time")
    scenario: str = Field(description="Scenario")
    splitter: str = Field(description="Splitter")
    model: str = Field(description="Base model's architecture")
    dataset: str = Field(description="Data set")
    splitter_label: str | None = _fact("The suite's label for the splitter with these settings; null: none")
    plugins: list[str] | None = _fact("Plug-ins that the suite imports; null: none")
    seed: int = Field(description="Seed")
    threads: int = Field(description="CPU threads")
    gpu_share: float = Field(
        default=0.0, description="Share of a GPU that the cell had; timings of shares below 1 are not comparable"
    )
    config: str = Field(description="The whole cell as canonical JSON")
