"""Scenario ``accuracy_composition``: each class's best module of several base models (arXiv 2311.04438, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field, field_validator
from torch import Tensor

from benchmarks.boards import COMPOSITION, Board
from benchmarks.cells import Cell, DirichletSpec, ModelSpec
from benchmarks.data.datasets import check_dataset
from benchmarks.data.roles import estimator_roles, limit_roles
from benchmarks.models import check_model, code_fingerprint, refuse_given
from benchmarks.pipeline.composed_cost import ModuleRef, composed_cost
from benchmarks.pipeline.preparation import Prepared, PreparedImages, Stages
from benchmarks.pipeline.split_model import SplitModel, split_base_model
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import CompositionRecord, Metrics
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import train_base_model
from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, ProgressCallback, make_splitter
from splitters.modules.score_kinds import LinearScore, LogitScore, ScaledLogitScore
from splitters.modules.scores import ModuleScore
from splitters.networks.inference import accuracy, class_report
from splitters.reuse.composed import ComposedModel, compose
from splitters.settings import Settings

ChooseBy = Literal["composed", "alone"]


def _is_composed(choose_by: object) -> bool:
    return choose_by == "composed"


class AccuracyCompositionSettings(Settings):
    """Settings of the scenario.

    Args:
        base_models: Number of base models per network.
        alpha: Concentration of the Dirichlet distribution of their class shares; the papers take 1 on CIFAR-10, 0.5 on
            SVHN.
        min_images: Images that the smallest class has at least; the papers take 100 on CIFAR-10, 10 on SVHN.
        networks: Further networks. With any, modules are also chosen among the base models of all networks.
        choose_by: What a class's module is chosen by on select: its F1 in the composed answers of its base model's
            modules (``composed``), or, as in the papers, its F1 ``alone``, where it claims the images that it scores
            above 0.5. ``alone`` needs scores that are probabilities.
    """

    base_models: int = Field(default=10, ge=2)
    alpha: float = Field(default=1.0, gt=0)
    min_images: int = Field(default=100, ge=1)
    networks: tuple[ModelSpec, ...] = ()
    # Left out of dumps at its default, so that the identities of earlier results stay what they were.
    choose_by: ChooseBy = Field(default="composed", exclude_if=_is_composed)

    @field_validator("networks")
    @classmethod
    def _distinct(cls, networks: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
        names = [network.name for network in networks]
        if len(set(names)) < len(names):
            raise ValueError(f"a network appears twice in {names}")
        return networks


@SCENARIOS.register("accuracy_composition")
class AccuracyComposition(Scenario):
    """Trains several base models on skewed samples, splits each, and composes every class's best module.

    No base model is trained on the cell's select images: each learns from a Dirichlet sample of train, a fifth of which
    is its own select. So the cell's select images compare modules and baselines fairly.
    """

    Settings = AccuracyCompositionSettings
    board: ClassVar[Board] = COMPOSITION
    settings: AccuracyCompositionSettings

    def check(self, cell: Cell) -> None:
        """Check the cell's names and settings; see ``Scenario.check``."""
        splitter = make_splitter(cell.splitter.name, cell.splitter.settings)
        if self.settings.choose_by == "alone":
            _check_probabilities(_known_scores(cell.splitter.name, splitter.settings), of=repr(cell.splitter.name))
        check_dataset(cell.dataset.name)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        refuse_given(cell.model, "accuracy_composition")
        for network in self.settings.networks:
            check_model(network, input_shape=cell.dataset.input_shape, where="networks")
            refuse_given(network, "accuracy_composition")
            if network.name == cell.model.name:
                raise ConfigurationError(
                    f"networks: {network.name!r} is the cell's own model; name further ones, or none."
                )
        if cell.dataset.dirichlet is not None:
            raise ConfigurationError("this scenario draws its own samples; leave 'dirichlet' out of the data set.")

    def settings_fingerprints(self) -> Iterable[str]:
        """Return the fingerprints of the further networks."""
        return [code_fingerprint(network) for network in self.settings.networks]

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Run the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        images = stages.images(cell, workspace)
        candidates: list[_Candidate] = []
        n_models = self.settings.base_models * (1 + len(self.settings.networks))
        for model in _split_models(self.settings, cell, workspace, images):
            workspace.progress(Progress("compose", len(candidates), n_models))
            candidates.append(_Candidate.of(model, images, self.settings.choose_by))
        models = [candidate.model for candidate in candidates]
        stages.add("train", *[model.prepared.base for model in models])
        stages.add("split", *[model.split for model in models])
        with stages.measured("compose"):
            scores = _TestScores(images.roles.test, workspace.progress)
            compositions = list(self._compositions(cell, candidates, scores))
        retentions = [model.split.result.masks.retention for model in models]
        return Metrics(
            kernel_retention=sum(retentions) / len(retentions),
            split_seconds=sum(model.split.seconds for model in models),
            train_images=len(images.roles.train),
            select_images=len(images.roles.select),
            split_select_images=len(images.split_roles.select),
            test_images=len(images.roles.test),
            dataset_hash=images.dataset_hash,
            compositions=compositions,
            warnings=[text for model in models for text in model.warnings],
            stages=stages.records,
        )

    def _compositions(
        self, cell: Cell, candidates: Sequence[_Candidate], scores: _TestScores
    ) -> Iterator[CompositionRecord]:
        names = [cell.model.name, *(network.name for network in self.settings.networks)]
        for index, name in enumerate(names):
            of_network = candidates[index * self.settings.base_models : (index + 1) * self.settings.base_models]
            yield _composition(of_network, scores, "intra", name)
        if len(names) > 1:
            yield _composition(candidates, scores, "inter", "+".join(names))


# Scores without probabilities that are known before a splitter runs: by its name, or by its setting ``score``.
_SCORES_OF_SPLITTERS: dict[str, type[ModuleScore]] = {"scalesplitter": LinearScore}
_SCORES_OF_SETTINGS: dict[str, type[ModuleScore]] = {"logit": LogitScore, "moments": ScaledLogitScore}


def _known_scores(splitter: str, settings: Settings) -> list[type[ModuleScore]]:
    known = _SCORES_OF_SPLITTERS.get(splitter) or _SCORES_OF_SETTINGS.get(str(getattr(settings, "score", None)))
    return [known] if known else []


def _check_probabilities(scores: Iterable[ModuleScore | type[ModuleScore]], *, of: str) -> None:
    kinds = {score.kind for score in scores if not score.is_probability}
    if kinds:
        raise ConfigurationError(
            f"choose_by: modules of {of} score by {', '.join(sorted(kinds))}, which is no probability, so that alone "
            "they claim no image at 0.5. Write 'composed', or take a splitter that trains heads."
        )


def _split_models(
    settings: AccuracyCompositionSettings, cell: Cell, workspace: Workspace, images: PreparedImages
) -> Iterator[SplitModel]:
    """Yield the base models of the cell's network, then those of each further one, trained and split."""
    for network in (cell.model, *settings.networks):
        of_network = cell.model_copy(update={"model": network})
        for estimator in range(settings.base_models):
            sample = DirichletSpec(alpha=settings.alpha, min_images=settings.min_images, estimator=estimator)
            prepared = _train_on_sample(of_network, workspace, images, sample)
            yield split_base_model(of_network, prepared, workspace, name=f"{network.name} {estimator}")


def _train_on_sample(cell: Cell, workspace: Workspace, images: PreparedImages, sample: DirichletSpec) -> Prepared:
    roles = estimator_roles(images.roles, sample, seed=cell.seed)
    base = train_base_model(
        cell.model,
        cell.training,
        roles,
        dataset_hash=images.dataset_hash,
        flips=images.flips,
        seed=derive_seed(cell.seed, "estimator", sample.estimator),
        threads=cell.threads,
        cache=workspace.artifacts,
        device=workspace.device,
        progress=workspace.progress,
    )
    split_roles = limit_roles(roles, cell.dataset, seed=cell.seed)
    return Prepared(roles, split_roles, base, images.dataset_hash, images.flips)


@dataclass(frozen=True)
class _Candidate:
    """A base model to choose modules from, with its outputs on images that it was not trained on, all on the CPU.

    Test logits are kept for the baselines; no choice reads them.
    """

    model: SplitModel
    select: ImageSet
    test: ImageSet
    select_scores: Float[Tensor, "class sample"]
    select_logits: Float[Tensor, "sample class"]
    test_logits: Float[Tensor, "sample class"]
    choose_by: ChooseBy

    @classmethod
    def of(cls, model: SplitModel, images: PreparedImages, choose_by: ChooseBy) -> _Candidate:
        if choose_by == "alone":
            _check_probabilities([module.score for module in model.modules], of=model.name)
        select, test = images.split_roles.select, images.roles.test
        scores = model.scores(select)
        return cls(model, select, test, scores, model.logits(select), model.logits(test), choose_by)

    @property
    def select_f1(self) -> Float[Tensor, " class"]:
        """How well each module recognises its class, among the modules of the same base model or alone."""
        if self.choose_by == "alone":
            return f1_alone(self.select_scores, self.select.labels.cpu())
        return class_report(self._select_answers, self.select.labels, self.select.n_classes).f1

    @property
    def select_accuracy(self) -> float:
        return accuracy(self.select_logits.argmax(1), self.select.labels.cpu())

    @property
    def select_composed_accuracy(self) -> float:
        return accuracy(self._select_answers, self.select.labels.cpu())

    @property
    def test_accuracy(self) -> float:
        return accuracy(self.test_logits.argmax(1), self.test.labels.cpu())

    @property
    def _select_answers(self) -> Int64[Tensor, " sample"]:
        return self.model.composed.answers(self.select_scores.T)


@dataclass(frozen=True)
class _TestScores:
    """Modules' scores of test images, each computed once: a network's best modules are often the best of all."""

    test: ImageSet
    progress: ProgressCallback
    computed: dict[ModuleRef, Tensor] = field(default_factory=dict)

    def accuracy(self, composed: ComposedModel, modules: Sequence[ModuleRef]) -> float:
        """Return a composed model's accuracy, from the scores of its modules, given in the order of its classes."""
        for module in modules:
            self.progress(Progress("compose", len(self.computed)))
            if module not in self.computed:
                self.computed[module] = module.model.module_scores(module.class_index, self.test)
        answers = composed.answers(torch.stack([self.computed[module] for module in modules], dim=1))
        return accuracy(answers, self.test.labels.cpu())


def f1_alone(scores: Float[Tensor, "class sample"], labels: Int64[Tensor, " sample"]) -> Float[Tensor, " class"]:
    """Return the F1 of each module as a classifier of its own, which claims images with a score above 0.5."""
    is_claimed = scores > 0.5
    is_of_class = labels == torch.arange(len(scores))[:, None]
    correct, claimed, present = (mask.sum(1).double() for mask in (is_claimed & is_of_class, is_claimed, is_of_class))
    return 2 * correct / (claimed + present).clamp(min=1)


def _composition(candidates: Sequence[_Candidate], scores: _TestScores, reach: str, networks: str) -> CompositionRecord:
    """Choose modules and baselines on select, then score them on test."""
    f1 = torch.stack([candidate.select_f1 for candidate in candidates])
    sources = [candidates[index] for index in f1.argmax(0).tolist()]
    modules = [ModuleRef(source.model, class_index) for class_index, source in enumerate(sources)]
    composed = compose([module.module for module in modules])
    select_scores = torch.stack([source.select_scores[index] for index, source in enumerate(sources)], dim=1)
    best_base = max(candidates, key=lambda candidate: candidate.select_accuracy)
    best_set = max(candidates, key=lambda candidate: candidate.select_composed_accuracy)
    return CompositionRecord(
        **composed_cost(modules, composed, best_base.model),
        **_test_figures(scores.accuracy(composed, modules), candidates, best_base, best_set, scores),
        reach=reach,
        networks=networks,
        n_base_models=len(candidates),
        chosen=[source.model.name for source in sources],
        chosen_select_f1=f1.max(0).values.tolist(),
        select_composed_accuracy=accuracy(composed.answers(select_scores), candidates[0].select.labels.cpu()),
        best_base=best_base.model.name,
        best_module_set=best_set.model.name,
    )


def _test_figures(
    composed_accuracy: float,
    candidates: Sequence[_Candidate],
    best_base: _Candidate,
    best_set: _Candidate,
    scores: _TestScores,
) -> dict[str, float]:
    probabilities = torch.stack([candidate.test_logits.double().softmax(1) for candidate in candidates]).mean(0)
    accuracies = [candidate.test_accuracy for candidate in candidates]
    modules = [ModuleRef(best_set.model, index) for index in range(len(best_set.model.modules))]
    baselines = {
        "best_base": best_base.test_accuracy,
        "mean_base": sum(accuracies) / len(accuracies),
        "ensemble": accuracy(probabilities.argmax(1), scores.test.labels.cpu()),
        "module_set": scores.accuracy(best_set.model.composed, modules),
    }
    return {
        "composed_accuracy": composed_accuracy,
        "best_base_accuracy": baselines["best_base"],
        "mean_base_accuracy": baselines["mean_base"],
        "ensemble_accuracy": baselines["ensemble"],
        "best_module_set_accuracy": baselines["module_set"],
        **{f"gain_over_{name}": composed_accuracy - value for name, value in baselines.items()},
    }
