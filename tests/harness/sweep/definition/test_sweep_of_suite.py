"""A sweep made of a suite and ranges on the command line is the one that a file with them describes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from harness.config.suite import load_suite
from harness.sweep.definition.from_suite import sweep_of_suite
from harness.sweep.definition.load import load_sweep
from splitters.errors import ConfigurationError, UnknownNameError

_CELLS = {
    "seeds": [3, 4],
    "datasets": ["digits"],
    "models": [{"name": "simcnn", "settings": {"width": 0.1}}],
    "training": {"recipe": "one_cycle", "epochs": 2},
}
_SPLITTERS = [
    {"name": "gradsplitter", "settings": {"rounds": 2}},
    {"name": "gradsplitter", "label": "long", "settings": {"rounds": 8}},
    "full",
]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "timeout": "1h", **_CELLS, "splitters": _SPLITTERS}))
    return path


def test_ranges_mean_what_a_file_says(suite: Path, tmp_path: Path) -> None:
    spaces = ["long.alpha=0.1:2.0:log", "batch_size=[16, 32]", "long.mask_phase=30:120 steps"]
    found = sweep_of_suite(suite, spaces, changes=["trials=7", "splitters.long.settings.rescue=false"])
    space = {"alpha": {"float": [0.1, 2.0], "log": True}, "batch_size": [16, 32],
             "mask_phase": {"int": [30, 120], "unit": "steps"}}  # fmt: skip
    file = {
        "name": "mine-sweep",
        "trials": 7,
        "objectives": {"accuracy_loss": "min", "kernel_retention": "min"},
        **_CELLS,
        "splitters": [
            {**_SPLITTERS[0], "space": {"batch_size": [16, 32]}},  # type: ignore[dict-item]
            {"name": "gradsplitter", "label": "long", "settings": {"rounds": 8, "rescue": False}, "space": space},
        ],
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(file))
    assert found.model_dump() == load_sweep(path).model_dump()
    assert [item.cell.cell_id for item in found.cells] == [item.cell.cell_id for item in load_sweep(path).cells]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("alpha", "--space alpha: expected KEY=VALUE, for example --space gradsplitter.alpha=0.1:2.0"),
        ("alpha=0.1", "--space alpha=0.1: expected a range such as 0.1:2.0"),
        ("alpha=2.0:0.1", "gradsplitter.space.alpha"),
        ("short.alpha=0.1:1.0", "unknown splitter of the suite 'short'"),
        ("alhpa=0.1:1.0", "unknown setting 'alhpa'.*'alpha'"),
        ("full.alpha=0.1:1.0", "unknown setting 'alpha'"),
    ],
)
def test_what_cannot_be_searched_is_named(space: str, message: str, suite: Path) -> None:
    with pytest.raises((ConfigurationError, UnknownNameError), match=message):
        sweep_of_suite(suite, [space])


def test_a_suite_without_ranges_is_no_sweep(suite: Path) -> None:
    with pytest.raises(ConfigurationError, match="say what is searched"):
        sweep_of_suite(suite, [])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("exclude", [{"model": "rescnn"}], "leaves out gradsplitter on rescnn and digits with seed 3"),
        ("exclude", [{"splitter": "long", "seed": 4}], "leaves out long on simcnn and digits with seed 4"),
        ("only", [{"model": "simcnn"}], "leaves out gradsplitter on rescnn and digits with seed 3"),
        ("scenario", [{"name": "modularization", "splitters": ["full"]}], "leaves out gradsplitter on simcnn"),
        ("scenario", ["patching", "sub_task"], "its scenarios are patching, sub_task"),
    ],
)
def test_cells_that_a_suite_leaves_out_are_not_swept(key: str, value: object, message: str, suite: Path) -> None:
    _change(suite, models=[{"name": "simcnn"}, {"name": "rescnn"}], **{key: value})
    with pytest.raises(ConfigurationError, match=message):
        sweep_of_suite(suite, ["alpha=0.1:1.0"])


def test_cells_that_a_suite_leaves_out_do_not_matter_where_the_sweep_has_none_of_them(suite: Path) -> None:
    _change(suite, models=[{"name": "simcnn"}, {"name": "rescnn"}], exclude=[{"splitter": "long", "model": "rescnn"}])
    assert [entry.title for entry in sweep_of_suite(suite, ["gradsplitter.alpha=0.1:1.0"]).splitters] == [
        "gradsplitter"
    ]
    with pytest.raises(ConfigurationError, match="leaves out long on rescnn"):
        sweep_of_suite(suite, ["alpha=0.1:1.0"])
    found = sweep_of_suite(suite, ["alpha=0.1:1.0"], changes=["models=[simcnn]"])
    assert [entry.title for entry in found.splitters] == ["gradsplitter", "long"]


def test_the_way_out_keeps_the_settings_of_the_suites_models() -> None:
    spaces = ["scalesplitter.alpha=0.1:2.0:log"]
    with pytest.raises(ConfigurationError, match="leaves out scalesplitter on rescnn") as refused:
        sweep_of_suite("quick", spaces)
    advised = re.search("with --set (.+), or write a sweep file", str(refused.value))
    assert advised
    assert sweep_of_suite("quick", spaces, changes=shlex.split(advised[1])).models == load_suite("quick").models[:1]


def test_where_every_model_has_gaps_a_file_is_the_way_out(suite: Path) -> None:
    _change(suite, exclude=[{"splitter": "long", "seed": 4}])
    with pytest.raises(ConfigurationError, match=r"on every model\. Write a sweep file\.$"):
        sweep_of_suite(suite, ["alpha=0.1:1.0"])


def test_the_suite_quick_can_be_swept_on_both_of_its_nets() -> None:
    assert [model.name for model in sweep_of_suite("quick", ["gradsplitter.alpha=0.1:2.0:log"]).models] == [
        "simcnn",
        "rescnn",
    ]


def _change(suite: Path, **values: object) -> None:
    suite.write_text(yaml.safe_dump({**yaml.safe_load(suite.read_text()), **values}))


def test_a_splitter_without_a_label_is_addressed_alone(suite: Path) -> None:
    assert [entry.title for entry in sweep_of_suite(suite, ["gradsplitter.alpha=0.1:1.0"]).splitters] == [
        "gradsplitter"
    ]


def test_a_preset_from_the_command_line_replaces_what_the_suite_writes_out(suite: Path) -> None:
    found = sweep_of_suite(suite, ["long.alpha=0.1:1.0"], changes=["splitters.long.preset=fast"])
    assert found.splitters[0].settings == found.spaces[0].settings == {"preset": "fast"}


def test_presets_are_searched_where_the_suite_does_not_override_them(suite: Path) -> None:
    spaces = ["long.preset=[fast, small]"]
    with pytest.raises(ConfigurationError, match=r"mine itself sets rounds of long, .*'splitters.long.settings=\{\}'"):
        sweep_of_suite(suite, spaces)
    for settings in ({}, {"rounds": 3}):
        found = sweep_of_suite(suite, spaces, changes=[f"splitters.long.settings={settings}"])
        assert found.splitters[0].settings == settings


def test_overrides_need_a_file(suite: Path) -> None:
    values = yaml.safe_load(suite.read_text())
    values["splitters"][0]["overrides"] = [{"model": "simcnn", "settings": {"rounds": 3}}]
    suite.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigurationError, match="splitter 'gradsplitter' has 'overrides'"):
        sweep_of_suite(suite, ["gradsplitter.alpha=0.1:1.0"])
    assert [entry.title for entry in sweep_of_suite(suite, ["long.alpha=0.1:1.0"]).splitters] == ["long"]


def test_the_command_takes_a_suite_in_place_of_a_sweep(call: Callable[..., Result], suite: Path) -> None:
    shown = call("sweep", "--suite", str(suite), "--space", "alpha=0.1:1.0", "--trials", "3", "--dry-run")
    assert shown.exit_code == 0
    assert "3 of 3 trials are to be run." in shown.output
    for wrong in ([], ["sweep-quick", "--suite", "quick"], ["--space", "alpha=0.1:1.0"]):
        refused = call("sweep", *wrong)
        assert refused.exit_code == 2
        assert "name a sweep, or a suite by --suite" in refused.output


def test_a_setting_that_is_searched_twice_and_a_preset_that_is_unknown_are_refused(suite: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--space long.alpha=1:3: another --space gives long.alpha too"):
        sweep_of_suite(suite, ["alpha=0.1:1.0", "long.alpha=1:2", "long.alpha=1:3"])
    with pytest.raises(ConfigurationError, match=r"space.preset: .*unknown preset 'nope'. Known: fast"):
        sweep_of_suite(suite, ["long.preset=[fast, nope]"], changes=["splitters.long.settings={}"])
