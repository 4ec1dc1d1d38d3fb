from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.expand import expand
from harness.config.suite import load_suite, suite_names, sweep_names
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.load import load_sweep
from harness.sweep.study.trials import Configurations
from splitters.errors import ConfigurationError, UnknownNameError

WriteSweep = Callable[..., Path]
MakeSweep = Callable[..., Sweep]


def bowl(**space: object) -> list[dict[str, object]]:
    return [{"name": "bowl", "space": space}]


@pytest.mark.parametrize("name", sweep_names())
def test_a_packaged_sweep_searches_every_method_from_settings_inside_the_space(name: str) -> None:
    sweep = load_sweep(name)
    assert {space.splitter for space in sweep.spaces} == {"gradsplitter", "cnnsplitter", "scalesplitter"}
    assert all(space.default is not None for space in sweep.spaces)
    assert all(len(space.parameters) >= 3 for space in sweep.spaces)
    assert sweep.name == name
    assert sweep.description


def test_sweeps_are_no_suites() -> None:
    assert {"sweep-quick", "sweep-cifar-cpu"} <= set(sweep_names())
    assert not set(sweep_names()) & set(suite_names())
    with pytest.raises(ConfigurationError, match="type 'splitbench sweep sweep-quick'"):
        load_suite("sweep-quick")


def test_a_sweep_that_is_run_as_a_suite_is_refused_and_the_other_way_round(
    write_sweep: WriteSweep, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="has objectives, so it is a sweep; type 'splitbench sweep"):
        load_suite(write_sweep())
    with pytest.raises(ConfigurationError, match="A file without them is a suite: 'splitbench run' runs it"):
        load_sweep(write_sweep(objectives=None))


def test_a_trial_has_a_cell_per_seed_data_set_and_model_and_no_look_at_test(make_bowls: MakeSweep) -> None:
    sweep = make_bowls(seeds=[3, 5], models=["simcnn", "rescnn"])
    configurations = Configurations(sweep)
    configuration = configurations.at(sweep.spaces[0], {"x": 0.25, "y": 0.0})
    assert [(item.cell.seed, item.cell.model.name) for item in configuration.items] == [
        (3, "simcnn"), (3, "rescnn"), (5, "simcnn"), (5, "rescnn"),
    ]  # fmt: skip
    assert {item.cell.scenario for item in configuration.items} == {"bowl-selection"}
    assert {item.cell.splitter.settings["x"] for item in configuration.items} == {0.25}
    scored = configurations.test_items(configuration)
    assert {item.cell.scenario for item in scored} == {"bowl"}
    assert [item.cell.splitter for item in scored] == [item.cell.splitter for item in configuration.items]


def test_the_cells_of_the_chosen_are_those_of_an_ordinary_suite(make_bowls: MakeSweep) -> None:
    sweep = make_bowls()
    configuration = Configurations(sweep).at(sweep.spaces[0], {"x": 0.5, "y": 0.2})
    suite = sweep.suite("bowl")
    ordinary = {item.cell.cell_id for item in expand(suite)}
    assert {item.cell.cell_id for item in Configurations(sweep).test_items(configuration)} == ordinary


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"splitters": [{"name": "bwl"}]}, r"bowls.yaml, line \d+: splitters.bwl: unknown splitter 'bwl'.*'bowl'"),
        ({"splitters": bowl(yy=[1, 2])}, r"line \d+: splitters.bowl.space.yy: unknown setting of bowl 'yy'.*'y'"),
        ({"splitters": bowl(x={"float": [1, 0]})}, r"the range \[1, 0\] is upside down or empty; write \[0, 1\]"),
        ({"splitters": bowl(x={"float": [0, 2]})}, r"space.x: .*less than or equal to 1 \(given: 2\)"),
        ({"splitters": bowl(x={"flot": [0, 1]})}, "unknown kind of parameter 'flot'. Did you mean 'float'"),
        ({"splitters": bowl(x={"float": [0, 1], "int": [0, 1]})}, "a parameter has one kind, not int and float"),
        ({"splitters": bowl(n={"int": [1, 9], "stp": 2})}, "unknown key of int 'stp'. Did you mean 'step'"),
        ({"splitters": bowl(n={"int": [1, 9], "step": 9})}, "the step 9 must be above 0 and fit into 1 to 9"),
        ({"splitters": bowl(n={"int": [1, 2.5]})}, "a bound of 'int' is a finite int, not 2.5"),
        ({"splitters": bowl(x={"float": [0, 1], "log": True})}, "a logarithmic range begins above 0, not at 0"),
        ({"splitters": bowl(x=[0.1, 0.1])}, "the choice 0.1 appears twice"),
        ({"splitters": bowl(depth={"int": [1, 3], "when": {"mod": 1}})}, r"unknown setting of bowl 'mod'.*'mode'"),
        ({"splitters": [{"name": "bowl"}, {"name": "bowl"}]}, "'bowl' appears twice; give one a label"),
        ({"objectives": {"acuracy_loss": "min"}}, r"line \d+: objectives: unknown numeric column .*'accuracy_loss'"),
        ({"objectives": {"modules": "min"}}, "unknown numeric column of rows 'modules'"),
        ({"objectives": {"accuracy_loss": "mim"}}, "accuracy_loss: unknown direction 'mim'. Did you mean 'min'"),
        ({"objectives": {"accuracy_loss": "max"}}, "max would seek the worst; write 'accuracy_loss: min'"),
        ({"constraints": ["accuracy_loss < tiny"]}, r"constraints\[0\]: the constraint .* cannot be parsed"),
        ({"constraints": ["kernel_retentoin <= 1"]}, "'kernel_retentoin'. Did you mean 'kernel_retention'"),
        ({"reference": {"loss": 1}}, "reference: unknown objective 'loss'"),
        ({"early_stopping": {}}, r"line \d+: early_stopping: it compares trials by one number, and there are 2 obj"),
        ({"early_stopping": {"metric": "acuracy"}}, "metric: unknown metric 'acuracy'. Did you mean 'accuracy'"),
        ({"early_stopping": {}, "objectives": {"seconds": "min"}}, "no trial reports 'seconds' while it runs"),
        ({"race": True}, "every configuration gets 2 seeds, and there are 2"),
        ({"sampler": "tpee"}, r"line \d+: sampler: unknown sampler 'tpee'. Did you mean 'tpe'"),
        ({"sampler": "grid"}, r"space.x: a grid needs an end: give the range a 'step'"),
        ({"trails": 3}, r"line \d+: unknown key 'trails'. Did you mean 'trials'"),
        ({"budget": {"trial": "soon"}}, "budget: trial.wall: a duration is written"),
        ({"scenario": "patching"}, "'patching' cannot be swept, as it has no form that leaves test unread"),
        ({"models": ["simcn"]}, r"line \d+: models: unknown model 'simcn'. Did you mean 'simcnn'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_key_and_choices(
    write_sweep: WriteSweep, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_sweep(write_sweep(**keys))


def test_an_unknown_sweep_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown sweep 'sweep-quik'. Did you mean 'sweep-quick'"):
        load_sweep("sweep-quik")


def test_changes_reach_the_space_and_the_settings(write_sweep: WriteSweep) -> None:
    sweep = load_sweep(
        write_sweep(), changes=["splitters.bowl.space.x={float: [0.2, 0.4]}", "splitters.bowl.steps=7", "trials=9"]
    )
    (space,) = sweep.spaces
    assert (space.parameters[0].low, space.parameters[0].high) == (0.2, 0.4)
    assert space.base.settings["steps"] == 7
    assert sweep.trials == 9


def test_the_only_objective_is_what_running_trials_are_compared_by(make_bowls: MakeSweep) -> None:
    assert make_bowls(objectives={"accuracy_loss": "min"}, early_stopping={}).stopping_metric == "accuracy"
    assert make_bowls(early_stopping={"metric": "hypervolume"}).stopping_metric == "hypervolume"


def test_short_forms_mean_the_long_ones(write_sweep: WriteSweep) -> None:
    text = yaml.safe_load(write_sweep().read_text())
    short = {**text, "budget": {"trial": "90s"}, "constraints": "accuracy_loss <= .05", "seeds": 3, "race": True}
    path = write_sweep()
    path.write_text(yaml.safe_dump(short))
    sweep = load_sweep(path)
    assert sweep.budget.trial.wall == 90
    assert [(bound.text, bound.bound) for bound in sweep.bounds] == [("accuracy_loss <= .05", 0.05)]
    assert sweep.race is not None
    assert sweep.race.after == 2


@pytest.mark.parametrize(
    "data", ["name: ü\n".encode("utf-16"), "name: ü\n".encode("latin-1"), b"name: \x0b\n", b"a: [\n"]
)
def test_a_sweep_that_cannot_be_parsed_is_refused_in_one_line_with_its_place(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"^[^\n]*sweep\.yaml, line \d+: [^\n]+$"):
        load_sweep(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trials: true", r"sweep\.yaml, line \d+: trials: expected a number, not true"),
        ("description: 012", r"sweep\.yaml, line \d+: description: expected text; quote it: '012'"),
        ("race: {after: true}", r"sweep\.yaml, line \d+: race: after: expected a number, not true"),
    ],
)
def test_values_of_another_kind_are_refused_with_their_line_and_spelling(
    write_sweep: WriteSweep, tmp_path: Path, change: str, message: str
) -> None:
    key = change.partition(":")[0]
    text = yaml.safe_dump(
        {name: value for name, value in yaml.safe_load(write_sweep().read_text()).items() if name != key}
    )
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{text}{change}\n")
    with pytest.raises(ConfigurationError, match=message):
        load_sweep(path)
