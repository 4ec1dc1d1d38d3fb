"""Genes, start population, generations, fitness, sensitivity's rule, and what is refused."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splitters.errors import ConfigurationError, DataError
from splitters.graph.layout import ChannelGroup, ChannelLayout, Layer
from splitters.methods.cnnsplitter.genes import group_channels
from splitters.methods.cnnsplitter.genetic import (
    accuracy_weight,
    candidate_fitness,
    next_generation,
    random_population,
    rank_candidates,
    start_population,
)
from splitters.methods.cnnsplitter.merging import Compositions, Merger
from splitters.methods.cnnsplitter.presets import PRESETS
from splitters.methods.cnnsplitter.sensitivity_curves import (
    SensitivityCurves,
    curve_names,
    layer_sensitivities,
    start_shares,
)
from splitters.methods.cnnsplitter.settings import CNNSplitterSettings, stage_limits, stage_thresholds
from splitters.methods.protocol import make_splitter
from splitters.modules.calibration import MomentsCalibration
from splitters.modules.module import Module, extract_modules
from splitters.networks.inference import module_logits
from splitters.testing import tiny_task


def layout_of(*sizes):
    layers, groups, first = [], [], 0
    for number, size in enumerate(sizes):
        channels = tuple(range(first, first + size))
        layers.append(Layer(f"conv{number}", channels))
        groups.append(ChannelGroup((number,), channels))
        first += size
    return ChannelLayout(tuple(layers), tuple(groups), tuple(group.channels for group in groups))


def genes_of(layout, importance, **settings):
    generator = torch.Generator().manual_seed(0)
    chosen = {"grouping": "importance", "genes": 10, "genes_wide": 100, "wide_from": 256, **settings}
    return group_channels(layout, importance, **chosen, generator=generator)


def parsed(**values):
    return CNNSplitterSettings.parse(values, where="here")


def test_the_most_important_channels_form_the_first_gene_of_their_layer():
    importance = torch.tensor([[0.1, 0.9, 0.5, 0.7, 2.0, 1.0], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    genes = genes_of(layout_of(4, 2), importance, genes=2)
    assert genes.counts == (2, 2)
    assert genes.gene_of_channel.tolist() == [[1, 0, 1, 0, 2, 3], [0, 0, 1, 1, 2, 3]]


@pytest.mark.parametrize(("size", "count"), [(3, 3), (10, 10), (25, 10), (255, 10), (256, 100), (512, 100)])
def test_a_layer_has_as_many_genes_as_the_paper_says_but_never_more_than_kernels(size, count):
    genes = genes_of(layout_of(size), torch.rand(1, size))
    sizes = torch.bincount(genes.gene_of_channel[0])
    assert genes.counts == (count,)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_without_grouping_every_channel_is_a_gene():
    assert genes_of(layout_of(7, 3), torch.rand(2, 10), grouping="none").counts == (7, 3)


def test_random_genes_are_as_large_but_do_not_follow_importance():
    importance = torch.arange(60.0).flip(0).expand(2, -1)
    genes = genes_of(layout_of(60), importance, grouping="random")
    ordered = genes_of(layout_of(60), importance)
    assert torch.bincount(genes.gene_of_channel[0]).tolist() == [6] * 10
    assert not torch.equal(genes.gene_of_channel, ordered.gene_of_channel)
    assert not torch.equal(genes.gene_of_channel[0], genes.gene_of_channel[1])


def test_a_candidate_without_any_gene_of_a_layer_gets_the_most_important_one():
    genes = genes_of(layout_of(4, 2), torch.rand(1, 6), genes=2)
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    assert genes.repaired(nothing).tolist() == [[True, False, True, False]]


def test_the_start_population_keeps_the_shares():
    genes = genes_of(layout_of(20, 300), torch.rand(1, 320))
    population = start_population(genes, [(0.3, 0.5), (0.4,)], 400, torch.Generator().manual_seed(1))
    assert set(population[:, :10].sum(1).tolist()) == {3, 5}
    assert set(population[:, 10:].sum(1).tolist()) == {40}


@pytest.mark.parametrize("fall_off", [10.0, 5.0])
def test_the_chance_of_a_gene_falls_exponentially_with_its_rank(fall_off):
    genes = genes_of(layout_of(10), torch.rand(1, 10))
    one_each = [(0.1,)]
    drawn = start_population(genes, one_each, 50_000, torch.Generator().manual_seed(1), fall_off=fall_off)
    weights = torch.exp((10 - 1 - torch.arange(10)) / fall_off)
    assert torch.allclose(drawn.double().mean(0), (weights / weights.sum()).double(), atol=0.006)


def test_genes_are_drawn_without_replacement_one_after_the_other():
    genes = genes_of(layout_of(3), torch.rand(1, 3))
    drawn = start_population(genes, [(2 / 3,)], 50_000, torch.Generator().manual_seed(1), fall_off=1.0)
    chance = (torch.exp(-torch.arange(3.0)) / torch.exp(-torch.arange(3.0)).sum()).tolist()
    left_out = [
        sum(chance[i] * chance[j] / (1 - chance[i]) for i, j in itertools.permutations(range(3), 2) if k not in (i, j))
        for k in range(3)
    ]
    assert (1 - drawn.double().mean(0)).tolist() == pytest.approx(left_out, abs=0.008)


def test_a_large_fall_off_makes_all_genes_equally_likely():
    genes = genes_of(layout_of(300), torch.rand(1, 300))
    drawn = start_population(genes, [(0.4,)], 400, torch.Generator().manual_seed(1), fall_off=1e6).float().mean(0)
    assert float(drawn[:10].mean()) == pytest.approx(0.4, abs=0.05)
    assert float(drawn[-10:].mean()) == pytest.approx(0.4, abs=0.05)


def test_a_random_population_draws_every_gene_with_probability_one_half():
    population = random_population(genes_of(layout_of(300), torch.rand(1, 300)), 200, torch.Generator().manual_seed(1))
    assert float(population.float().mean()) == pytest.approx(0.5, abs=0.02)


@given(st.integers(2, 9), st.integers(1, 9), st.integers(2, 9), st.floats(0, 1), st.integers(0, 99))
def test_a_generation_starts_with_the_elites_and_no_layer_is_lost(size, elites, parents, rate, seed):
    elites, parents = min(elites, size), min(parents, size)
    genes = genes_of(layout_of(3, 5), torch.rand(1, 8), genes=3)
    generator = torch.Generator().manual_seed(seed)
    ranked = random_population(genes, size, generator)
    following = next_generation(genes, ranked, parents=parents, elites=elites, mutation_rate=rate, generator=generator)
    assert following.shape == ranked.shape
    assert torch.equal(following[:elites], ranked[:elites])
    assert all(bool(following[:, place].any(1).all()) for place in genes.group_slices)


def test_without_mutation_offspring_are_the_beginning_of_one_parent_and_the_end_of_the_next():
    genes = genes_of(layout_of(30), torch.rand(1, 30), grouping="none")
    # Each parent has genes of its own, so that an offspring tells whose child it is.
    ranked = torch.stack([torch.arange(30) % 3 == parent for parent in range(3)] + [torch.ones(30, dtype=torch.bool)])
    ranked = torch.cat([ranked, ranked[:1].expand(4, -1)])
    following = next_generation(
        genes, ranked, parents=3, elites=1, mutation_rate=0.0, generator=torch.Generator().manual_seed(4)
    )
    points = set()
    for number, child in enumerate(following[1:]):
        one, other = ranked[number % 3], ranked[(number + 1) % 3]
        fitting = [cut for cut in range(1, 30) if torch.equal(child, torch.cat([one[:cut], other[cut:]]))]
        assert fitting, f"offspring {number} is no child of parents {number % 3} and {(number + 1) % 3}"
        points.add(fitting[0])
    assert len(points) > 1


def test_a_mutation_redraws_one_gene_at_least():
    genes = genes_of(layout_of(5), torch.rand(1, 5))
    ranked = torch.ones(200, 5, dtype=torch.bool)
    following = next_generation(
        genes, ranked, parents=2, elites=1, mutation_rate=0.05, generator=torch.Generator().manual_seed(0)
    )
    assert set(following[1:].sum(1).tolist()) == {4, 5}


def test_mutation_redraws_the_given_share_of_genes():
    genes = genes_of(layout_of(1000), torch.rand(1, 1000), grouping="none")
    ranked = torch.ones(2, 1000, dtype=torch.bool)
    following = next_generation(
        genes, ranked, parents=2, elites=1, mutation_rate=0.2, generator=torch.Generator().manual_seed(0)
    )
    assert 70 <= int((~following[1]).sum()) <= 130, "half of the 200 genes that were drawn anew"


def test_a_candidates_fitness_is_that_of_its_best_composition_or_0():
    found = Compositions(torch.tensor([[0, 1], [2, 1], [2, 2]]), torch.zeros(3).double(), torch.zeros(3).double())
    fitness = candidate_fitness(found, torch.tensor([0.9, 0.8, 0.7]).double(), 4)
    assert torch.equal(fitness, torch.tensor([[0.9, 0, 0.8, 0], [0, 0.9, 0.7, 0]]).double())


def test_of_equal_candidates_the_member_of_the_best_composition_ranks_first():
    assert rank_candidates(torch.tensor([0.5, 0.9, 0.9, 0.1]).double(), best=2).tolist() == [2, 1, 0, 3]


def test_accuracy_weighs_more_while_the_best_composition_is_not_accurate():
    assert accuracy_weight(0.9, 0.95, None) == 0.9
    assert accuracy_weight(0.9, 0.95, 0.75) == pytest.approx(1.1)
    assert accuracy_weight(0.9, 0.95, 0.97) == 0.9


def curves_of(*rows, base=0.9):
    table = torch.tensor(rows, dtype=torch.float64)
    return SensitivityCurves(tuple(f"conv{i}" for i in range(len(rows))), (0.2, 0.4, 0.6, 0.8), table, base)


def test_layers_whose_curves_are_level_late_are_sensitive_and_start_with_more_genes():
    curves = curves_of([0.1, 0.3, 0.88, 0.9], [0.88, 0.9, 0.9, 0.9], [0.9, 0.1, 0.2, 0.3])
    assert curves.level_from(0.05).tolist() == [0.6, 0.2, 1.0]
    found = start_shares(
        layout_of(4, 4, 4), curves, tolerance=0.05, sensitive_from=0.5, margin=0.1,
        sensitive_layers=None, sensitive_shares=None, other_shares=None,
    )  # fmt: skip
    assert found.sensitive == (True, False, True)
    assert found.shares == ((0.8, 0.9, 1.0), (0.3, 0.4, 0.5), (0.8, 0.9, 1.0))


def test_without_a_fixed_share_layers_are_sensitive_whose_curves_are_level_later_than_the_mean():
    curves = curves_of([0.1, 0.3, 0.88, 0.9], [0.88, 0.9, 0.9, 0.9], [0.1, 0.88, 0.9, 0.9], [0.1, 0.2, 0.3, 0.9])
    found = start_shares(
        layout_of(4, 4, 4, 4), curves, tolerance=0.05, sensitive_from=None, margin=0.0,
        sensitive_layers=None, sensitive_shares=None, other_shares=None,
    )  # fmt: skip
    assert found.sensitive == (True, False, False, True), "0.6 and 0.8 lie above the mean of 0.5"
    assert found.shares[0] == (0.7, 0.8, 0.9)
    assert found.shares[1] == (0.3, 0.4, 0.5)


def test_given_values_override_the_curves():
    found = start_shares(
        layout_of(4, 4), None, tolerance=0.05, sensitive_from=0.5, margin=0.1,
        sensitive_layers=(1,), sensitive_shares=(0.7,), other_shares=(0.2, 0.3),
    )  # fmt: skip
    assert found.sensitive == (False, True)
    assert found.shares == ((0.2, 0.3), (0.7,))


def test_a_result_holds_curves_and_start_shares():
    curves = curves_of([0.1, 0.3, 0.88, 0.9], [0.88, 0.9, 0.9, 0.9])
    layout = layout_of(4, 4)
    chosen = start_shares(
        layout, curves, tolerance=0.05, sensitive_from=None, margin=0.0,
        sensitive_layers=None, sensitive_shares=None, other_shares=None,
    )  # fmt: skip
    first, second = layer_sensitivities(layout, curves, chosen)
    assert first.layer == curve_names(layout)[0]
    assert first.kept_shares == curves.shares
    assert first.accuracy == pytest.approx((0.1, 0.3, 0.88, 0.9))
    assert (first.sensitive, second.sensitive) == (True, False)
    assert (first.start_shares, second.start_shares) == chosen.shares


def test_a_random_start_reports_no_sensitivity():
    assert layer_sensitivities(layout_of(4), None, None) == ()


def test_a_preset_replaces_defaults_and_given_settings_override_it():
    chosen = parsed(preset="simcnn-svhn", gamma=0.8)
    assert chosen.mutation_rate == 0.10
    assert chosen.gamma == 0.8
    assert not chosen.needs_curves
    assert CNNSplitterSettings.parse(chosen.model_dump(mode="json"), where="here") == chosen


# arXiv 2209.06116 and its artefact: sensitive layers, shares of sensitive and other layers, redrawn, gamma, thresholds
_PAPER = {
    "simcnn-cifar10": ("0-6", ".6 .7 .8", ".4 .5 .6 .7", 0.05, 0.90, ".95 .95 .85 .80"),
    "simcnn-svhn": ("0-6", ".4 .5 .6", ".1 .2 .3 .4", 0.10, 0.95, ".95 .95 .85 .80"),
    "rescnn-cifar10": ("0 1 3 4 5 7", ".5 .6 .7", ".2 .3 .4", 0.05, 0.90, ".95 .95 .85 .80"),
    "rescnn-svhn": ("1 3 4 5 7", ".3 .4 .5", ".2 .3", 0.10, 0.90, ".95 .95 .90 .85"),
    "simcnn-svhn-0-4": ("0-4", ".4 .5 .6 .7", ".3 .4", 0.10, 0.95, ".95 .90 .85"),
    "rescnn-svhn-0-4": ("4 5 7", ".3 .4 .5", ".2 .3", 0.10, 0.90, ".95 .90 .85"),
}


def numbers(text):
    return tuple(map(float, text.split()))


def test_presets_match_the_paper():
    assert PRESETS.keys() == _PAPER.keys()
    for name, (layers, sensitive, other, redrawn, gamma, thresholds) in _PAPER.items():
        found = parsed(preset=name)
        first, dash, last = layers.partition("-")
        expected = tuple(range(int(first), int(last) + 1)) if dash else tuple(map(int, layers.split()))
        assert found.sensitive_layers == expected
        assert (found.sensitive_shares, found.other_shares) == (numbers(sensitive), numbers(other))
        assert (found.mutation_rate, found.gamma) == (redrawn, gamma)
        assert found.thresholds == numbers(thresholds)


def test_defaults_match_the_paper():
    found = parsed()
    assert (found.population, found.parents, found.elites) == (100, 50, 20)
    assert (found.generations, found.patience, found.mutation_rate) == (200, 20, 0.05)
    assert (found.alpha, found.gamma, found.confidence, found.start_fall_off) == (0.9, 0.9, 0.9, 10.0)
    assert (found.genes, found.genes_wide, found.wide_from) == (10, 100, 256)
    assert (found.thresholds, found.min_kept, found.max_kept) == ((0.95, 0.95, 0.85, 0.80), 50, 500)
    assert (found.grouping, found.initialization, found.evaluation) == ("importance", "sensitivity", "merging")
    assert found.score == "logit"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"population": 10}, "50 parents cannot be chosen among a population of 10"),
        ({"population": 10, "parents": 5}, "20 elites cannot be chosen among a population of 10"),
        ({"population": 4, "parents": 2, "elites": 4}, "4 elites are the whole population"),
        ({"min_kept": 600}, "min_kept is 600, more than max_kept, which is 500"),
        ({"preset": "simcnn-cifar"}, "Did you mean 'simcnn-cifar10'"),
        ({"elite": 3}, "Did you mean 'elites'"),
        ({"elites": 0}, "greater than or equal to 1"),
        ({"thresholds": []}, "thresholds"),
        ({"curve_shares": [0.5, 0.2, 0.9]}, r"curve_shares must rise strictly; \[0.5, 0.2, 0.9\] does not"),
        ({"curve_shares": [0.5, 0.5]}, "curve_shares must rise strictly"),
        ({"grouping": "rank"}, "'importance', 'random' or 'none'"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ConfigurationError, match=message):
        parsed(**values)


def test_exhaustive_evaluation_is_refused_with_the_number_of_compositions():
    with pytest.raises(ConfigurationError, match="would try 10000000000 compositions"):
        stage_limits(parsed(population=10, parents=5, elites=2, evaluation="exhaustive"), 10)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [(1, (0.8,)), (3, (0.95, 0.9, 0.8)), (4, (0.95, 0.9, 0.85, 0.8)), (6, (0.95, 0.9, 0.85, 0.8, 0.8, 0.8))],
)
def test_thresholds_are_fitted_to_the_number_of_stages(stages, expected):
    assert stage_thresholds((0.95, 0.9, 0.85, 0.8), stages) == expected


SMALL = {"population": 4, "parents": 2, "elites": 1, "generations": 6, "patience": 2, "genes": 3}


@pytest.mark.parametrize("search_on", ["train", "select"])
def test_a_class_without_images_in_select_is_refused_before_the_search(search_on):
    task = tiny_task()
    select = task.select.subset((task.select.labels != 1).nonzero().flatten())
    splitter = make_splitter("cnnsplitter", {**SMALL, "search_on": search_on})
    with pytest.raises(DataError, match="select holds no images of the classes"):
        splitter.split(dataclasses.replace(task, select=select))


def test_a_search_stops_when_it_no_longer_finds_better_modules():
    settings = {**SMALL, "mutation_rate": 0.0, "generations": 50, "initialization": "random"}
    result = make_splitter("cnnsplitter", settings).split(tiny_task())
    assert result.facts["generations"] == result.facts["chosen_generation"] + 2 < 50
    best = max(result.history, key=lambda record: record["fitness"])
    assert best["step"] == result.facts["chosen_generation"]
    assert best["kernel_retention"] == result.masks.retention
    assert best["jaccard_distance"] == pytest.approx(result.masks.mean_jaccard_distance)


def test_the_result_is_the_best_by_plain_fitness_though_candidates_breed_by_another(monkeypatch):
    merge = Merger.merge

    def merge_into_rising_accuracy_and_falling_distance(*args, **kwargs):
        found = merge(*args, **kwargs)
        steps = torch.linspace(0, 1, len(found.members), dtype=torch.float64)
        return dataclasses.replace(found, accuracy=0.5 + 0.1 * steps, distance=0.7 - 0.12 * steps)

    monkeypatch.setattr(Merger, "merge", merge_into_rising_accuracy_and_falling_distance)
    settings = {**SMALL, "generations": 4, "patience": 9, "initialization": "random", "alpha": 0.5, "gamma": 1.0}
    result = make_splitter("cnnsplitter", settings).split(tiny_task())
    # Without weight added, the first composition is the best of all; with it, the last one is.
    assert [record["search_accuracy"] for record in result.history] == [0.5] * 4
    assert [record["search_fitness"] for record in result.history] == pytest.approx([0.6] * 4)
    assert [record["accuracy_weight"] for record in result.history] == pytest.approx([0.5, 1.0, 0.9, 0.9])
    best = max(result.history, key=lambda record: record["fitness"])
    assert result.facts["chosen_generation"] == best["step"]


def test_where_no_composition_passes_the_thresholds_the_best_is_the_result_and_a_warning_says_so():
    task = tiny_task()
    labels = task.train.labels.roll(1)
    task = dataclasses.replace(task, train=dataclasses.replace(task.train, labels=labels))
    result = make_splitter("cnnsplitter", {**SMALL, "thresholds": [1.0], "initialization": "random"}).split(task)
    assert result.history[int(result.facts["chosen_generation"]) - 1]["search_accuracy"] < 1
    assert len(result.masks) == 3
    assert result.facts["accuracy"] == result.history[int(result.facts["chosen_generation"]) - 1]["accuracy"]
    assert any("is below 1, the threshold of the last merge" in warning for warning in result.warnings)
    easy = make_splitter("cnnsplitter", {**SMALL, "thresholds": [0.0], "initialization": "random"}).split(task)
    assert not any("threshold" in warning for warning in easy.warnings)


def test_elites_and_repeated_candidates_are_not_run_again():
    settings = {**SMALL, "mutation_rate": 0.0, "generations": 6, "patience": 6, "genes": 1, "initialization": "random"}
    result = make_splitter("cnnsplitter", settings).split(tiny_task())
    assert result.facts["candidates_run"] == 3, "with one gene per layer, there is one candidate per class"


def test_calibrated_modules_score_with_the_base_models_moments_also_when_saved(tmp_path):
    task = tiny_task()
    graph = task.trace()
    result = make_splitter("cnnsplitter", {**SMALL, "score": "moments"}).split(task, graph=graph)
    base = task.model.eval()(task.train.normalisation(task.train.images)).detach()
    scores = result.scores(module_logits(graph, result.masks, task.train))
    assert torch.allclose(scores.mean(1), base.mean(0), atol=1e-4)
    assert torch.allclose(scores.std(1), base.std(0), rtol=1e-4)
    module = extract_modules(graph, result, task.select.class_names, task.select.normalisation)[1]
    module.save(tmp_path / "module.safetensors")
    images = task.train.normalisation(task.train.images)
    again = Module.load(tmp_path / "module.safetensors")
    assert torch.allclose(again(images), scores[1], atol=1e-4)


def test_a_logit_that_never_changes_moves_to_the_mean_and_stays_finite():
    calibration = MomentsCalibration(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 3.0]))
    assert calibration.apply(torch.full((1, 5), 7.0), torch.tensor([1])).tolist() == [[1.0] * 5]


def test_the_last_generations_best_composition_is_among_the_next_ones(monkeypatch):
    merge, seen = Merger.merge, []

    def watch(self, scores, distances, *, last_best, **rest):
        found = merge(self, scores, distances, last_best=last_best, **rest)
        seen.append((scores, found, last_best))
        return found

    monkeypatch.setattr(Merger, "merge", watch)
    settings = {**SMALL, "generations": 4, "patience": 9, "initialization": "random", "gamma": 0.0}
    make_splitter("cnnsplitter", settings).split(tiny_task())
    assert seen[0][2] is None
    for (scores, found, _), (next_scores, next_found, last_best) in itertools.pairwise(seen):
        fitness = 0.9 * found.accuracy + (1 - 0.9) * found.distance
        best = found.members[int(fitness.argmax())]
        classes = torch.arange(len(best))
        assert torch.equal(next_scores[classes, torch.tensor(last_best)], scores[classes, best])
        assert last_best in next_found.members.tolist()
