"""Published figures: complete, each with its source, and only where they may stand."""

from __future__ import annotations

import pytest

from benchmarks.models import MODELS
from benchmarks.rows.published import figures_for, published_figures
from benchmarks.scenarios.scenario import SCENARIOS


def test_every_figure_is_about_measures_of_its_scenario_and_names_its_source() -> None:
    for figure in published_figures():
        assert set(figure.values) <= set(SCENARIOS.get(figure.scenario).board.measures)
        assert figure.source.startswith(("arXiv ", "log in ", "figures of ", "MwT, "))
        assert not figure.model or figure.model in MODELS
        assert not (figure.model and figure.net)
    assert len({figure.text + figure.dataset for figure in published_figures()}) == len(published_figures())


def test_losses_are_the_differences_of_the_accuracies_that_were_read_off() -> None:
    read_off = [figure.values for figure in published_figures() if "MODA" in figure.source]
    assert len(read_off) == 6
    for values in read_off:
        assert values["accuracy_loss"] == pytest.approx(values["base_accuracy"] - values["composed_accuracy"])


def test_the_abstracts_figures_are_there() -> None:
    grad, genetic = figures_for("patching", dataset="svhn", model="simcnn")
    assert grad.values == {"tc_precision_gain": 0.1713, "tc_recall_gain": 0.0495, "tc_f1_gain": 0.1147}
    assert genetic.values == {"tc_precision_gain": 0.1254, "tc_recall_gain": 0.0214, "non_tc_accuracy_gain": 0.0118}
    (new_task,) = figures_for("new_task", dataset="svhn", model="simcnn")
    assert new_task.values == {"gain_over_scratch": -0.0246}


@pytest.mark.parametrize("scenario", ["modularization", "patching", "new_task"])
def test_results_on_other_images_than_the_papers_have_no_figures_beside_them(scenario: str) -> None:
    assert figures_for(scenario, dataset="digits", model="simcnn") == ()
    assert figures_for(scenario, dataset="cifar10, digits", model="simcnn") == ()
    assert figures_for(scenario, dataset="union:digits+parquet:cifar10", model="simcnn") == ()
    assert figures_for(scenario, dataset="cifar10", model="simcnn")


@pytest.mark.parametrize("dataset", ["cifar10", "parquet:cifar10", "folder:data/cifar10/"])
def test_figures_of_one_data_set_and_network_stand_beside_these_alone(dataset: str) -> None:
    def flops(dataset: str, model: str) -> list[float]:
        figures = figures_for("modularization", dataset=dataset, model=model)
        return [figure.values["flops_retention"] for figure in figures if "flops_retention" in figure.values]

    assert flops(dataset, "simcnn") == [0.5236]
    assert flops(dataset, "rescnn") == [0.5228]
    assert flops(dataset, "incecnn") == []
    assert flops("digits", "simcnn") == []
    assert flops("svhn", "simcnn") == [0.3437]
