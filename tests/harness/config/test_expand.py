from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model
from toy_plugin import ToyScenario, ToySettings

from harness.config.expand import completed_splitter, expand
from harness.config.suite import load_suite
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError, UnknownNameError
from splitters.methods.protocol import SPLITTERS
from splitters.settings import Settings

WriteSuite = Callable[..., Path]


def cells_of(write_suite: WriteSuite, **keys: Any) -> list[SuiteCell]:
    return expand(load_suite(write_suite(**keys)))


def test_cells_are_the_product_with_seeds_outermost_and_models_innermost(write_suite: WriteSuite) -> None:
    cells = cells_of(write_suite, seeds=2, models=["simcnn", "rescnn"])
    assert [(item.cell.seed, item.splitter, item.cell.model.name) for item in cells] == [
        (seed, splitter, model) for seed in (0, 1) for splitter in ("toy", "other") for model in ("simcnn", "rescnn")
    ]


def test_a_cell_holds_every_setting_and_the_splitters_version(write_suite: WriteSuite) -> None:
    cell = cells_of(write_suite)[0].cell
    assert cell.splitter.settings == {"behaviour": "ok", "loss": 0.02, "folder": "", "like": None}
    assert cell.splitter.version == 3
    assert cell.model.settings == {"width": 1.0, "norm": "batch", "dropout": 0.5, "features": 4096}


def test_a_default_written_out_is_the_same_cell(write_suite: WriteSuite) -> None:
    short = cells_of(write_suite, splitters=["toy"])
    long = cells_of(write_suite, splitters=[{"name": "toy", "settings": {"loss": 0.02}}])
    assert short[0].cell.cell_id == long[0].cell.cell_id


def test_a_label_is_no_part_of_a_cells_identity_but_of_what_it_is_called(write_suite: WriteSuite) -> None:
    plain = cells_of(write_suite, splitters=["toy"])[0]
    labelled = cells_of(write_suite, splitters=[{"name": "toy", "label": "mine"}])[0]
    assert labelled.cell.cell_id == plain.cell.cell_id
    assert labelled.title == "toy · mine · simcnn · digits · seed 0"


def test_equal_cells_collapse(write_suite: WriteSuite) -> None:
    assert len(cells_of(write_suite, splitters=["toy", {"name": "toy", "settings": {"loss": 0.02}}])) == 1


def test_overrides_hold_where_they_match_and_the_later_one_wins(write_suite: WriteSuite) -> None:
    entry = {
        "name": "toy",
        "settings": {"loss": 0.1},
        "overrides": [
            {"model": "rescnn", "settings": {"loss": 0.2}},
            {"model": "rescnn", "dataset": "mnist", "settings": {"loss": 0.3}},
        ],
    }
    cells = cells_of(write_suite, splitters=[entry], models=["simcnn", "rescnn"], datasets=["digits", "mnist"])
    losses = {(item.cell.model.name, item.cell.dataset.name): item.cell.splitter.settings["loss"] for item in cells}
    assert losses == {
        ("simcnn", "digits"): 0.1,
        ("simcnn", "mnist"): 0.1,
        ("rescnn", "digits"): 0.2,
        ("rescnn", "mnist"): 0.3,
    }


@pytest.mark.parametrize("change", ["splitters.toy.loss=0.4", "splitters.toy.settings={loss: 0.4}"])
def test_a_setting_from_the_command_line_wins_over_overrides(write_suite: WriteSuite, change: str) -> None:
    overrides = [{"model": "rescnn", "settings": {"loss": 0.2, "folder": "r"}}]
    path = write_suite(splitters=[{"name": "toy", "overrides": overrides}], models=["simcnn", "rescnn"])
    settings = [item.cell.splitter.settings for item in expand(load_suite(path, changes=[change]))]
    assert [values["loss"] for values in settings] == [0.4, 0.4]
    assert [values["folder"] for values in settings] == ["", "" if "settings" in change else "r"]


def test_a_preset_from_the_command_line_replaces_what_the_suite_writes_out() -> None:
    def settings(*changes: str) -> dict[str, Any]:
        items = expand(load_suite("quick", changes=[f"splitters.gradsplitter.{change}" for change in changes]))
        return next(item.cell.splitter.settings for item in items if item.splitter == "gradsplitter")

    paper = completed_splitter("gradsplitter", {"preset": "paper"}).settings
    assert settings("alpha=0.7")["alpha"] == 0.7 != paper["alpha"]
    assert settings("preset=paper") == paper
    assert settings("alpha=0.7", "preset=paper") == settings("preset=paper", "alpha=0.7") == {**paper, "alpha": 0.7}


def test_like_takes_the_other_splitters_settings_with_overrides_and_changes(write_suite: WriteSuite) -> None:
    path = write_suite(
        splitters=[
            {"name": "toy", "label": "mine", "overrides": [{"model": "rescnn", "settings": {"folder": "r"}}]},
            {"name": "other", "settings": {"like": "mine"}},
        ],
        models=["simcnn", "rescnn"],
    )
    cells = expand(load_suite(path, changes=["splitters.mine.loss=0.5"]))
    likes = [dict(item.cell.splitter.settings["like"]) for item in cells if item.cell.splitter.name == "other"]
    assert len({like.pop("code") for like in likes}) == 1
    full = {"behaviour": "ok", "loss": 0.5, "like": None}
    assert likes == [
        {"name": "toy", "settings": {**full, "folder": ""}, "version": 3},
        {"name": "toy", "settings": {**full, "folder": "r"}, "version": 3},
    ]


@pytest.mark.parametrize(
    ("like", "message"), [("toi", "unknown splitter of this suite 'toi'. Did you mean 'toy'"), ("other", "leads back")]
)
def test_a_like_that_leads_nowhere_is_refused(write_suite: WriteSuite, like: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        cells_of(write_suite, splitters=["toy", {"name": "other", "settings": {"like": like}}])


def test_a_plug_ins_own_setting_may_be_called_like(write_suite: WriteSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    cells_of(write_suite)  # loads the plug-in
    similarity = create_model("Similarity", __base__=ToySettings, like=(str, "cosine"))
    monkeypatch.setattr(SPLITTERS.get("other"), "Settings", similarity)
    (cell,) = cells_of(write_suite, splitters=[{"name": "other", "settings": {"like": "dot"}}])
    assert cell.cell.splitter.settings["like"] == "dot"


def test_only_and_exclude_of_the_suite_filter(write_suite: WriteSuite) -> None:
    cells = cells_of(
        write_suite,
        seeds=3,
        only=[{"splitter": "toy"}, {"seed": [0, 1]}],
        exclude=[{"splitter": "toy", "seed": 1}],
    )
    assert [(item.splitter, item.cell.seed) for item in cells] == [
        ("toy", 0), ("other", 0), ("other", 1), ("toy", 2),
    ]  # fmt: skip


def test_every_seed_has_an_identity_of_its_own_and_one_seed_is_checked_for_all(
    write_suite: WriteSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_plugin import ToyScenario

    checked: list[str] = []
    monkeypatch.setattr(ToyScenario, "check", lambda self, cell: checked.append(cell.splitter.name))
    cells = cells_of(write_suite, seeds=5)
    assert len({item.cell.cell_id for item in cells}) == 10
    assert checked == ["toy", "other"]


def test_a_cell_of_ones_own_network_gets_another_identity_when_its_code_changes(
    write_suite: WriteSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "net_that_changes.py"
    source.write_text("def make(n_classes):\n    return None\n")

    def identity() -> str:
        return cells_of(write_suite, models=["python:net_that_changes:make"], splitters=["toy"])[0].cell.cell_id

    first = identity()
    assert identity() == first
    source.write_text("def make(n_classes):\n    raise NotImplementedError\n")
    assert identity() == first, "what runs is what was imported"
    sys.modules.pop("net_that_changes")
    assert identity() != first


def test_a_scenario_may_keep_to_some_splitters_models_and_seeds(write_suite: WriteSuite) -> None:
    some = {"name": "toy", "splitters": ["other"], "models": ["rescnn"], "datasets": ["digits"], "first_seeds": 2}
    suite = load_suite(write_suite(scenario=[some], seeds=[5, 3, 4], models=["simcnn", "rescnn"]))
    cells = [item.cell for item in expand(suite)]
    assert [(cell.splitter.name, cell.model.name, cell.seed) for cell in cells] == [
        ("other", "rescnn", 5), ("other", "rescnn", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["splitters", "models", "datasets"])
def test_a_scenario_that_keeps_to_what_is_not_there_is_refused(write_suite: WriteSuite, key: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"scenario.toy: {key}: unknown entry of {key} 'none'"):
        expand(load_suite(write_suite(scenario=[{"name": "toy", key: "none"}])))


def test_a_scenario_of_a_plug_in_whose_check_fails_is_named_with_the_line(
    write_suite: WriteSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(scenario: ToyScenario, cell: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(ToyScenario, "check", check)
    message = r"toys\.yaml: .*: scenario 'toy' fails: .*test_expand\.py, line \d+: ZeroDivisionError: by zero"
    with pytest.raises(ConfigurationError, match=message):
        cells_of(write_suite)


@pytest.mark.parametrize("other", ["splitters.toy.loss=0.4", "splitters.toy.settings={loss: 0.4}"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_setting_that_the_command_line_gives_for_all_models_and_for_some_is_refused(
    write_suite: WriteSuite, other: str, is_first: bool
) -> None:
    changes = ["splitters.toy.overrides=[{model: rescnn, settings: {loss: 0.2}}]", other]
    with pytest.raises(ConfigurationError, match=r"another --set gives 'loss' too"):
        load_suite(write_suite(), changes=changes if is_first else changes[::-1])
    for setting in ("splitters.toy.folder=a", "splitters.toy.settings={folder: a}"):
        apart = [changes[0], setting] if is_first else [setting, changes[0]]
        items = expand(load_suite(write_suite(models=["simcnn", "rescnn"], splitters=["toy"]), changes=apart))
        assert [item.cell.splitter.settings["loss"] for item in items] == [0.02, 0.2]
        assert [item.cell.splitter.settings["folder"] for item in items] == ["a", "a"]


@pytest.mark.parametrize("value", ["object()", "b'\\xff'"])
def test_a_plug_ins_setting_that_json_cannot_hold_is_refused(
    write_suite: WriteSuite, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    class WrongSettings(Settings):
        kept: object = eval(value)

    monkeypatch.setattr(SPLITTERS.get("toy"), "Settings", WrongSettings)
    with pytest.raises(ConfigurationError, match=r"splitters.toy: a setting cannot be written as JSON: "):
        cells_of(write_suite, splitters=["toy"])


def test_a_plug_in_that_changes_the_folder_does_not_move_what_is_relative(
    write_suite: WriteSuite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wanderer.py").write_text("import os\nos.chdir('/')\n")
    cells_of(write_suite, plugins=["toy_plugin", "wanderer"])
    assert Path.cwd() == tmp_path
