from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.config.expand import expand
from harness.config.suite import Suite, load_suite, parse_only, suite_names
from splitters.errors import ConfigurationError, UnknownNameError

WriteSuite = Callable[..., Path]


@pytest.mark.parametrize("name", suite_names())
def test_a_packaged_suite_is_the_product_of_what_it_names(name: str) -> None:
    suite = load_suite(name)
    cells = expand(suite.model_copy(update={"exclude": ()}))
    assert len(cells) == sum(
        len(entry.splitters or suite.splitters)
        * len(entry.models or suite.models)
        * len(entry.datasets or suite.datasets)
        * len(suite.seeds[: entry.first_seeds])
        for entry in suite.scenario
    )
    assert suite.name == name
    assert suite.description


def test_quick_takes_baselines_of_cnnsplitters_size_on_one_net() -> None:
    items = expand(load_suite("quick"))
    like = {(item.splitter, item.cell.model.name) for item in items if item.splitter.endswith("like cnnsplitter")}
    assert like == {("importance like cnnsplitter", "simcnn"), ("taylor like cnnsplitter", "simcnn")}
    assert len(items) == 58


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_that_comes_along_measures_both_methods(name: str) -> None:
    assert {"gradsplitter", "cnnsplitter"} <= {item.cell.splitter.name for item in expand(load_suite(name))}


def test_reuse_compares_modules_of_gradsplitter_and_scalesplitter_everywhere() -> None:
    reuses: dict[str, set[tuple[str, str]]] = {}
    for item in expand(load_suite("reuse-cpu")):
        cell = item.cell
        reuse = (cell.dataset.name, json.dumps([cell.scenario, cell.scenario_settings], sort_keys=True))
        reuses.setdefault(item.splitter, set()).add(reuse)
    assert len(reuses["gradsplitter"]) == 11
    assert reuses["scalesplitter"] == reuses["gradsplitter"]


def test_the_papers_suite_takes_the_papers_choices_where_there_are_any() -> None:
    items = [item for item in expand(load_suite("paper")) if item.cell.splitter.name == "cnnsplitter"]
    chosen = {(item.cell.model.name, item.cell.dataset.name, item.cell.splitter.settings["preset"]) for item in items}
    assert chosen == {
        ("simcnn", "cifar10", "simcnn-cifar10"), ("simcnn", "svhn", "simcnn-svhn"),
        ("rescnn", "cifar10", "rescnn-cifar10"), ("rescnn", "svhn", "rescnn-svhn"),
        ("incecnn", "cifar10", None), ("incecnn", "svhn", None),
    }  # fmt: skip


def test_a_part_of_the_papers_suite_can_be_run() -> None:
    only = expand(load_suite("paper"), only=parse_only(["model=incecnn", "dataset=svhn"]))
    replaced = expand(load_suite("paper", changes=["models=[incecnn]", "datasets=[svhn]"]))
    assert len(only) == len(load_suite("paper").splitters) * 3
    assert [item.cell.cell_id for item in replaced] == [item.cell.cell_id for item in only]


def test_names_stand_for_entries_and_a_count_for_seeds(write_suite: WriteSuite) -> None:
    suite = load_suite(write_suite(seeds=3, timeout="30m"))
    assert suite.seeds == (0, 1, 2)
    assert suite.timeout == 1800
    assert [entry.name for entry in suite.splitters] == ["toy", "other"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seed": 3}, r"toys.yaml, line \d+: unknown key 'seed'. Did you mean 'seeds'"),
        ({"training": {"epoch": 3}}, r"toys.yaml, line \d+: training: unknown key 'epoch'. Did you mean 'epochs'"),
        ({"splitters": [{"name": "toy", "setting": {}}]}, r"line \d+: splitters.toy: unknown key 'setting'"),
        ({"splitters": [{"name": "toy", "settings": {"los": 1}}]}, r"toy: unknown key 'los'. Did you mean 'loss'"),
        ({"splitters": ["toyy"]}, r"line \d+: splitters.toyy: unknown splitter 'toyy'. Did you mean 'toy'"),
        ({"models": ["simcn"]}, r"line \d+: models: unknown model 'simcn'. Did you mean 'simcnn'"),
        ({"models": [{"name": "simcnn", "settings": {"widht": 1}}]}, r"line \d+: models: .*'widht'. .*'width'"),
        ({"datasets": ["digit"]}, r"line \d+: datasets: unknown data set 'digit'. Did you mean 'digits'"),
        ({"datasets": [{"name": "digits", "train_images": 0}]}, r"datasets.digits: train_images: .* \(given: 0\)"),
        (
            {"datasets": [{"name": "digits", "input_shape": [2, 32, 32]}]},
            r"line \d+: datasets.digits: input_shape: channels must be 1 or 3, .* not \[2, 32, 32\]",
        ),
        (
            {"scenario": "modularization", "datasets": [{"name": "digits", "input_shape": [3, 8, 8]}]},
            r"toy · simcnn · digits · seed 0: model 'simcnn': images of 8x8 pixels are too small; .*least 32x32",
        ),
        ({"scenario": "toi"}, r"line \d+: scenario: unknown scenario 'toi'. Did you mean 'toy'"),
        ({"seeds": 0}, "a count of seeds is at least 1, not 0"),
        ({"seeds": [1, 1]}, "a seed appears twice"),
        ({"seeds": [-1]}, r"seeds.0: Input should be greater than or equal to 0 \(given: -1\)"),
        ({"seeds": [2**63]}, r"toys.yaml, line \d+: the integer 9223372036854775808 is too large; integers have 64"),
        ({"seeds": 10**9}, r"a count of seeds is at most 100,000, not 1,000,000,000; to name one seed, write \[10000"),
        ({"seeds": 60_000}, r"toys.yaml: its splitters, .* make 120,000 combinations; at most 100,000 are allowed"),
        ({"timeout": "soon"}, "a duration is written in seconds or as '90s'"),
        ({"models": []}, "'models' must be a list with one entry at least"),
        (
            {"splitters": [{"name": "toy", "overrides": [{"settings": {}}, {"model": "incecnn", "settings": {}}]}]},
            r"toys.yaml, line \d+: splitters.toy: overrides\[1\]: unknown model of this suite 'incecnn'.*Known: simcnn",
        ),
        (
            {"splitters": [{"name": "toy", "label": "a", "overrides": [{"dataset": "digit", "settings": {}}]}]},
            r"line \d+: splitters.a: overrides\[0\]: unknown dataset of this suite 'digit'. Did you mean 'digits'",
        ),
        (
            {"splitters": ["toy", {"name": "other", "settings": {"like": {"name": "toi"}}}]},
            r"toys.yaml, line \d+: splitters.other: like: unknown splitter 'toi'. Did you mean 'toy'.*under 'plugins'",
        ),
        (
            {"splitters": ["toy", {"name": "other", "settings": {"like": {"name": "toy", "settings": {"los": 1}}}}]},
            r"toys.yaml, line \d+: splitters.other: like: splitter 'toy': unknown key 'los'. Did you mean 'loss'",
        ),
        ({"splitters": [3]}, "an entry is a name or a mapping"),
        ({"exclude": [{"splitter": "tooy"}]}, r"exclude\[0\]: unknown splitter of this suite 'tooy'. .*'toy'"),
        ({"exclude": [{"seed": 9}]}, "unknown seed of this suite '9'"),
        ({"exclude": [{"dataset": "digits"}]}, "no cell is left"),
        (
            {"plugins": ["no_such_module_x"]},
            r"toys.yaml, line \d+: plugins: the plugin 'no_such_module_x' cannot be imported",
        ),
        ({"plugins": [".x"]}, "the plugin '.x' cannot be imported: .* It must be a module's dotted name"),
        ({"plugins": ["lab/x.py"]}, "the plugin 'lab/x.py' cannot be imported: .* dotted name.* Did you mean 'x'?"),
        ({"name": ".."}, "name: String should match pattern"),
        ({"name": "ä" * 101}, "name: .*a name is at most 200 bytes"),
        ({"plugins": [""]}, "the plugin '' cannot be imported: Empty module name"),
        ({"models": ["python:.x:f"]}, r"line \d+: models: model 'python:.x:f': the module '.x' cannot be imported"),
        ({"splitters": [{"name": "toy", "settings": {"behaviour": "refused"}}]}, "digits · seed 0: the toy refuses"),
        ({"splitters": [{"name": "toy", "label": "a"}, {"name": "other", "label": "a"}]}, "label 'a' appears twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_key_and_choices(
    write_suite: WriteSuite, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        expand(load_suite(write_suite(**keys)))


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown suite 'quik'. Did you mean 'quick'"):
        load_suite("quik")


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigurationError, match="a suite is a mapping with the keys name"):
        load_suite(path)


def test_changes_reach_sections_entries_and_settings(write_suite: WriteSuite) -> None:
    path = write_suite(splitters=[{"name": "toy", "label": "a.b"}, "toy", "other"])
    suite = load_suite(
        path,
        changes=[
            "training.epochs=3",
            "seeds=[4, 5]",
            "splitters.a.b.loss=1e-3",
            "splitters.other.settings.loss=0.5",
            "models.simcnn.width=0.25",
            "datasets.digits.train_images=100",
        ],
    )
    assert suite.training.epochs == 3
    assert suite.seeds == (4, 5)
    assert [entry.settings for entry in suite.splitters] == [{"loss": 1e-3}, {}, {"loss": 0.5}]
    assert suite.models[0].settings == {"width": 0.25}
    assert suite.datasets[0].train_images == 100


def test_a_change_of_a_name_reaches_all_entries_of_that_name(write_suite: WriteSuite) -> None:
    path = write_suite(splitters=[{"name": "toy", "label": "a"}, "toy"])
    suite = load_suite(path, changes=["splitters.toy.loss=0.1"])
    assert [entry.settings for entry in suite.splitters] == [{"loss": 0.1}, {"loss": 0.1}]


def test_a_change_of_one_entry_leaves_those_that_share_its_mapping(tmp_path: Path, write_suite: WriteSuite) -> None:
    path = write_suite()
    text = path.read_text().replace("- toy\n", "- {name: toy, settings: &s {loss: 0.1}}\n")
    path.write_text(text.replace("- other\n", "- {name: other, settings: *s}\n"))
    suite = load_suite(path, changes=["splitters.toy.loss=0.2"])
    assert [entry.settings for entry in suite.splitters] == [{"loss": 0.2}, {"loss": 0.1}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epochs", "--set training.epochs: expected KEY=VALUE"),
        ("alpha=1", "unknown key 'alpha'. Known: "),
        ("alpha=1", "A splitter's setting is written splitters.NAME.alpha. See docs/suites.md."),
        ("trainin.epochs=3", "unknown key 'trainin'. Did you mean 'training'"),
        ("training.epoch=3", "with --set training.epoch=3: training: unknown key 'epoch'"),
        ("splitters.toi.loss=3", "--set splitters.toi.loss=3: unknown entry of splitters 'toi'. Did you mean 'toy'"),
        ("splitters.toy.los=3", "with --set splitters.toy.los=3: splitters.toy: unknown key 'los'"),
        ("name.x=3", "'name' holds 'toys', which has no keys"),
        ("seeds=[1", "--set seeds="),
        (
            "splitters.toy={loss: 3}",
            "it names an entry of 'splitters', but none of its keys. Set each key by itself: --set",
        ),
        (
            "datasets.0.classes=[a, b]",
            "entry of datasets '0'. Known: digits. Entries are addressed by name: datasets.NAME.",
        ),
    ],
)
def test_a_wrong_change_is_named(write_suite: WriteSuite, change: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand(load_suite(write_suite(), changes=[change]))
    assert message in str(caught.value)


def test_entries_without_names_are_changed_as_a_whole(write_suite: WriteSuite) -> None:
    path = write_suite(exclude=[{"splitter": "toy"}])
    with pytest.raises(ConfigurationError, match=r"the entries of 'exclude' have no names; .* --set 'exclude=\[...\]'"):
        load_suite(path, changes=["exclude.0.splitter=other"])


def test_only_keeps_cells_that_match_every_key_by_any_of_its_values(write_suite: WriteSuite) -> None:
    suite = load_suite(write_suite(seeds=3, models=["simcnn", "rescnn"]))
    cells = expand(suite, only=parse_only(["seed=0", "seed=2", "model=rescnn", "splitter=toy"]))
    assert [(item.cell.model.name, item.cell.seed) for item in cells] == [("rescnn", 0), ("rescnn", 2)]


@pytest.mark.parametrize(
    ("condition", "message"),
    [("modell=x", "unknown key 'modell'. Did you mean 'model'"), ("model", "expected KEY=VALUE"), ("seed=x", "seed")],
)
def test_a_wrong_condition_is_named(condition: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_only([condition])


def test_a_suite_can_be_built_in_python() -> None:
    suite = Suite.parse({"name": "mine", "models": [{"name": "simcnn"}], "datasets": [{"name": "digits"}],
                         "scenario": "toy", "splitters": [{"name": "toy"}]}, where="here")  # fmt: skip
    assert len(expand(suite)) == 1


_SUITE = "name: t\nmodels: [simcnn]\ndatasets: [digits]\nsplitters: [{name: full, label: x}]\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("timeout: true", "timeout: expected a number, not true."),
        ("threads: true", "threads: expected a number, not true."),
        ("gpu_share: True", "gpu_share: expected a number, not true."),
        ("seeds: true", "seeds: expected a number, not true."),
        ("seeds: [0, false]", "seeds: expected a number, not false."),
        ("seeds: 10:20", "seeds: seeds are a count or a list of integers, not '10:20'."),
        ("seeds: 1e1", "seeds: seeds are a count or a list of integers, not 10.0."),
        ("training: {epochs: true}", "training: epochs: expected a number, not true."),
        ("only: [{seed: true}]", "only[0]: seed: expected a number, not true."),
        ("description: 1.10", "description: expected text; quote it: '1.10'."),
        ("description: TRUE", "description: expected text; quote it: 'TRUE'."),
        ("description:", "description: expected text; quote it: ''."),
        ("plugins: [012]", "plugins.0: expected text; quote it: '012'."),
        ("exclude: [{model: 7}]", "exclude[0]: model.0: expected text; quote it: '7'."),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_line_and_spelling(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"{_SUITE}{line}\n")
    with pytest.raises(ConfigurationError) as refusal:
        load_suite(path)
    assert str(refusal.value) == f"{path}, line 5: {message}"


def test_words_that_yaml_1_1_took_for_booleans_and_times_are_text(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(_SUITE.replace("label: x", "label: no") + "description: 2026-02-30\ntraining: {epochs: 012}\n")
    suite = load_suite(path)
    assert (suite.splitters[0].label, suite.description, suite.training.epochs) == ("no", "2026-02-30", 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epochs=true", "training: epochs: expected a number, not true."),
        ("description=1.10", "description: expected text; quote it: '1.10'."),
        ("splitters.x.label=012", "splitters.12: label: expected text; quote it: '012'."),
    ],
)
def test_a_change_of_the_wrong_kind_is_refused(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(_SUITE)
    with pytest.raises(ConfigurationError) as refusal:
        load_suite(path, changes=[change])
    assert str(refusal.value).endswith(f" with --set {change}: {message}")


@pytest.mark.parametrize(
    "data",
    [
        "name: ü\n".encode("utf-16"),
        "name: x\n".encode("utf-16-le"),
        "name: ü\n".encode("latin-1"),
        b"name: x\x0by\n",
        b"name: \x00\n",
        b"name:\n\tx: 1\n",
        b"name: " + b"[" * 5000,
        b"name: " + b"9" * 5000,
    ],
)
def test_a_suite_that_cannot_be_parsed_is_refused_in_one_line_with_exit_code_2(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(data)
    result = CliRunner().invoke(main, ["plan", str(path)])
    assert result.exit_code == 2
    assert f"{path}, line " in result.stderr
    assert result.stderr.count("\n") == 1
