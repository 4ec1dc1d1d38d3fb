"""Scenario ``accuracy_composition``: each class's best module of several base models (arXiv 2311.04438, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from benchmarks.boards import COMPOSITION, Board
from benchmarks.cells import Cell, DirichletSpec, ModelSpec
from benchmarks.data.datasets import check_dataset
from benchmarks.data.roles import estimator_roles, limit_roles
from benchmarks.models import check_model, code_fingerprint, refuse_given
from benchmarks.pipeline.composed_cost import Pick, composed_cost
from benchmarks.pipeline.preparation import Prepared, PreparedImages, Stages
from benchmarks.pipeline.split_model import SplitModel, split_prepared
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import CompositionRecord, Metrics
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import train_base_model
from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, ProgressCallback, make_splitter
from splitters.networks.inference import accuracy, class_report, composed_answers
from splitters.reuse.composed import compose
from splitters.settings import Settings


class AccuracyCompositionSettings(Settings):
    """Settings of the scenario.

    Args:
        base_models: How many base models each network is trained to.
        alpha: Concentration of the Dirichlet distribution of their class shares; the papers take 1 on CIFAR-10, 0.5 on
            SVHN.
        min_images: The images of the smallest class at least; the papers take 100 on CIFAR-10, 10 on SVHN.
        networks: Further networks. With any, modules are also chosen among the base models of all of them.
    """

    base_models: int = Field(default=10, ge=2)
    alpha: float = Field(default=1.0, gt=0)
    min_images: int = Field(default=100, ge=1)
    networks: tuple[ModelSpec, ...] = ()

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

    The select images of the cell belong to no base model's training: each learns from a Dirichlet draw of train, a
    fifth of which is its own select. So F1 on select compares modules fairly, and so does accuracy for the baselines.
    """

    Settings = AccuracyCompositionSettings
    board: ClassVar[Board] = COMPOSITION
    settings: AccuracyCompositionSettings

    def check(self, cell: Cell) -> None:
        """Checks the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_dataset(cell.dataset.name)
        check_model(cell.model)
        refuse_given(cell.model, "accuracy_composition")
        for network in self.settings.networks:
            check_model(network, where="networks")
            refuse_given(network, "accuracy_composition")
            if network.name == cell.model.name:
                raise ConfigurationError(
                    f"networks: {network.name!r} is the cell's own model; name further ones, or none."
                )
        if cell.dataset.dirichlet is not None:
            raise ConfigurationError("this scenario draws its own samples; leave 'dirichlet' out of the data set.")

    def further_code(self) -> Iterable[str]:
        """Returns the code of the further networks."""
        return [code_fingerprint(network) for network in self.settings.networks]

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Runs the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        images = stages.images(cell, workspace)
        run = _Run(self.settings, cell, workspace, images)
        members: list[_Member] = []
        for model in run.split_models():
            workspace.progress(Progress("compose", len(members), run.n_models))
            members.append(_Member.of(model, images))
        models = [member.model for member in members]
        stages.add("train", *[model.prepared.base for model in models])
        stages.add("split", *[model.split for model in models])
        with stages.measured("compose"):
            scores = _TestScores(images.roles.test, workspace.progress)
            compositions = list(self._compositions(cell, members, scores))
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

    def _compositions(self, cell: Cell, members: Sequence[_Member], scores: _TestScores) -> Iterator[CompositionRecord]:
        names = [cell.model.name, *(network.name for network in self.settings.networks)]
        for place, name in enumerate(names):
            own = members[place * self.settings.base_models : (place + 1) * self.settings.base_models]
            yield _composition(own, scores, "intra", name)
        if len(names) > 1:
            yield _composition(members, scores, "inter", "+".join(names))


@dataclass(frozen=True)
class _Run:
    settings: AccuracyCompositionSettings
    cell: Cell
    workspace: Workspace
    images: PreparedImages

    @property
    def n_models(self) -> int:
        return self.settings.base_models * (1 + len(self.settings.networks))

    def split_models(self) -> Iterator[SplitModel]:
        for network in (self.cell.model, *self.settings.networks):
            for estimator in range(self.settings.base_models):
                yield self._split(network, estimator)

    def _split(self, network: ModelSpec, estimator: int) -> SplitModel:
        cell = self.cell.model_copy(update={"model": network})
        spec = DirichletSpec(alpha=self.settings.alpha, min_images=self.settings.min_images, estimator=estimator)
        roles = estimator_roles(self.images.roles, spec, seed=cell.seed)
        base = train_base_model(
            network,
            cell.training,
            roles,
            dataset_hash=self.images.dataset_hash,
            flips=self.images.flips,
            seed=derive_seed(cell.seed, "estimator", estimator),
            threads=cell.threads,
            cache=self.workspace.artifacts,
            device=self.workspace.device,
            progress=self.workspace.progress,
        )
        prepared = Prepared(
            roles,
            limit_roles(roles, cell.dataset, seed=cell.seed),
            base,
            self.images.dataset_hash,
            self.images.flips,
        )
        return split_prepared(cell, prepared, self.workspace, name=f"{network.name} {estimator}")


@dataclass(frozen=True)
class _Member:
    """A base model, and what it and its modules say of images that it has not learnt from, all on the CPU.

    Test logits are kept for the baselines; no choice reads them.
    """

    model: SplitModel
    select: ImageSet
    test: ImageSet
    select_scores: Float[Tensor, "class sample"]
    select_logits: Float[Tensor, "sample class"]
    test_logits: Float[Tensor, "sample class"]

    @classmethod
    def of(cls, model: SplitModel, images: PreparedImages) -> _Member:
        select, test = images.split_roles.select, images.roles.test
        return cls(model, select, test, model.scores(select), model.logits(select), model.logits(test))

    @property
    def select_f1(self) -> Float[Tensor, " class"]:
        """How well each module recognises its class among the modules of the same base model."""
        answers = composed_answers(self.select_scores)
        return class_report(answers, self.select.labels.cpu(), self.select.n_classes).f1

    @property
    def select_accuracy(self) -> float:
        return accuracy(self.select_logits.argmax(1), self.select.labels.cpu())

    @property
    def select_composed_accuracy(self) -> float:
        return accuracy(composed_answers(self.select_scores), self.select.labels.cpu())

    @property
    def test_accuracy(self) -> float:
        return accuracy(self.test_logits.argmax(1), self.test.labels.cpu())


@dataclass(frozen=True)
class _TestScores:
    """Modules' scores of test images, each computed once: the best modules of a network are often those of all."""

    test: ImageSet
    progress: ProgressCallback
    known: dict[Pick, Tensor] = field(default_factory=dict)

    def accuracy(self, picks: Sequence[Pick]) -> float:
        """Returns the accuracy of modules, composed."""
        for pick in picks:
            self.progress(Progress("compose", len(self.known)))
            if pick not in self.known:
                self.known[pick] = pick.model.module_scores(pick.class_index, self.test)
        answers = composed_answers(torch.stack([self.known[pick] for pick in picks]))
        return accuracy(answers, self.test.labels.cpu())


def _composition(members: Sequence[_Member], scores: _TestScores, reach: str, networks: str) -> CompositionRecord:
    """Chooses on select, then scores on test: the choices and the baselines."""
    f1 = torch.stack([member.select_f1 for member in members])
    chosen = f1.argmax(0).tolist()
    best_base = max(members, key=lambda member: member.select_accuracy)
    best_set = max(members, key=lambda member: member.select_composed_accuracy)
    picks = [Pick(members[place].model, index) for index, place in enumerate(chosen)]
    composed = compose([pick.module for pick in picks])
    select_labels = members[0].select.labels.cpu()
    select_scores = torch.stack([members[place].select_scores[index] for index, place in enumerate(chosen)])
    figures = _test_figures(scores, picks, members, best_base, best_set)
    return CompositionRecord(
        **composed_cost(picks, composed, best_base.model),
        **figures,
        reach=reach,
        networks=networks,
        n_base_models=len(members),
        chosen=[pick.model.name for pick in picks],
        chosen_select_f1=f1.max(0).values.tolist(),
        select_composed_accuracy=accuracy(composed_answers(select_scores), select_labels),
        best_base=best_base.model.name,
        best_module_set=best_set.model.name,
    )


def _test_figures(
    scores: _TestScores, picks: Sequence[Pick], members: Sequence[_Member], best_base: _Member, best_set: _Member
) -> dict[str, float]:
    composed = scores.accuracy(picks)
    own = [Pick(best_set.model, index) for index in range(len(picks))]
    probabilities = torch.stack([member.test_logits.double().softmax(1) for member in members]).mean(0)
    accuracies = [member.test_accuracy for member in members]
    baselines = {
        "best_base": best_base.test_accuracy,
        "mean_base": sum(accuracies) / len(accuracies),
        "ensemble": accuracy(probabilities.argmax(1), scores.test.labels.cpu()),
        "module_set": scores.accuracy(own),
    }
    return {
        "composed_accuracy": composed,
        "best_base_accuracy": baselines["best_base"],
        "mean_base_accuracy": baselines["mean_base"],
        "ensemble_accuracy": baselines["ensemble"],
        "best_module_set_accuracy": baselines["module_set"],
        **{f"gain_over_{name}": composed - value for name, value in baselines.items()},
    }
