from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import HERE

from harness.config.plugins import Plugins
from harness.config.trust import Consent
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.study import record as study_record
from harness.sweep.study.record import Continuation, continue_study, find_study, read_studies, write_study
from splitters.errors import ConfigurationError, UnknownNameError

MakeSweep = Callable[..., Sweep]
BOWLS = Consent(own=Plugins(("bowl_plugin",), str(HERE)))


def bowl(settings: dict[str, Any] | None = None, **space: object) -> list[dict[str, Any]]:
    return [{"name": "bowl", "settings": settings or {}, "space": space or {"x": {"float": [0.2, 0.6]}}}]


def write(store: ResultStore, sweep: Sweep) -> Continuation:
    continuation = continue_study(sweep, read_studies(store, consent=BOWLS))
    write_study(store, sweep, continuation)
    return continuation


@pytest.mark.parametrize(
    ("keys", "grown"),
    [
        ({"trials": 9}, "trials: 4 before, 9 now"),
        ({"seeds": 3}, "seeds: [2] added"),
        ({"datasets": ["digits", {"name": "digits", "train_images": 50}]}, "datasets: "),
        ({"models": ["simcnn", "rescnn"]}, "models: "),
        ({"splitters": bowl(x={"float": [0.1, 0.9]})}, "splitters.bowl.space.x: wider"),
        ({"splitters": bowl(x={"float": [0.2, 0.6]}, n={"int": [1, 3]})}, "splitters.bowl.space.n added"),
        ({"splitters": [*bowl(), {"name": "dish"}]}, "splitters: dish added"),
    ],
)
def test_more_of_the_same_is_the_same_study(make_bowls: MakeSweep, tmp_path: Path, keys: Any, grown: str) -> None:
    store = ResultStore(tmp_path / "r")
    before = make_bowls(splitters=bowl())
    study = write(store, before).study
    found = continue_study(
        make_bowls(**{"splitters": bowl(), **keys}),
        read_studies(store, consent=BOWLS),
    )
    assert (found.study, found.changed) == (study, ())
    assert [line for line in found.grown if line.startswith(grown)]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"objectives": {"accuracy_loss": "min"}}, "objectives: "),
        ({"constraints": ["accuracy_loss <= 0.1"]}, 'constraints: [] before, ["accuracy_loss <= 0.1"] now'),
        ({"training": {"epochs": 3}}, "training: "),
        ({"threads": 2}, "threads: 1 before, 2 now"),
        ({"seeds": 1}, "seeds: [1] is gone, and means are over seeds"),
        ({"splitters": bowl({"steps": 9})}, "splitters.bowl.steps: 3 before, 9 now"),
        ({"splitters": bowl(x={"float": [0.3, 0.6]})}, "splitters.bowl.space.x: another range"),
        ({"splitters": bowl(y={"float": [0, 1]})}, "splitters.bowl.space.x is gone"),
        ({"splitters": [{"name": "dish"}]}, "splitters: bowl is gone"),
    ],
)
def test_another_meaning_is_a_new_study_with_the_reason(
    make_bowls: MakeSweep, tmp_path: Path, keys: Any, why: str
) -> None:
    store = ResultStore(tmp_path / "r")
    before = make_bowls(splitters=bowl())
    study = write(store, before).study
    found = continue_study(
        make_bowls(**{"splitters": bowl(), **keys}),
        read_studies(store, consent=BOWLS),
    )
    assert found.study != study
    assert [line for line in found.changed if line.startswith(why)], found.changed


def test_settings_that_identities_leave_out_at_their_defaults_are_compared_too(
    make_bowls: MakeSweep, tmp_path: Path
) -> None:
    def sweep(settings: dict[str, Any], **space: Any) -> Sweep:
        searched = {"alpha": {"float": [0.5, 4.0]}, **space}
        return make_bowls(splitters=[{"name": "gradsplitter", "settings": settings, "space": searched}])

    store = ResultStore(tmp_path / "r")
    write(store, sweep({}))
    studies = read_studies(store, consent=BOWLS)
    assert continue_study(sweep({"sparsity": "kernels"}), studies).changed == (
        'splitters.gradsplitter.sparsity: "channels" before, "kernels" now',
    )
    found = continue_study(sweep({}, sparsity=["channels", "kernels"]), studies)
    assert (found.changed, found.grown) == ((), ("splitters.gradsplitter.space.sparsity added",))


def test_another_version_of_a_splitter_is_a_new_study(
    make_bowls: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sweep = ResultStore(tmp_path / "r"), make_bowls()
    study = write(store, sweep).study
    monkeypatch.setattr(study_record, "SPLITTING_VERSION", 99)
    found = continue_study(sweep, read_studies(store, consent=BOWLS))
    assert found.changed == ("splitting: version 2 before, 99 now, with other results",)
    assert found.study != study


def test_a_definition_is_written_once_and_read_back_as_it_was(make_bowls: MakeSweep, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    sweep = make_bowls(race=True, seeds=4, early_stopping={"metric": "accuracy"}, budget={"trial": "5m"})
    for _ in range(2):
        write(store, sweep)
    (found,) = read_studies(store, consent=BOWLS)
    assert found.sweep.model_dump() == sweep.model_dump()
    assert found.sweep.plugin_modules.modules == sweep.plugin_modules.modules
    write(store, make_bowls(trials=9, race=True, seeds=4))
    assert [definition.sweep.trials for definition in read_studies(store, consent=BOWLS)] == [4, 9]


def test_a_record_of_a_version_with_protocols_is_still_read(make_bowls: MakeSweep, tmp_path: Path) -> None:
    store, sweep = ResultStore(tmp_path / "r"), make_bowls()
    study = write(store, sweep).study
    (path,) = (tmp_path / "r" / "sweeps").iterdir()
    content = json.loads(path.read_text())
    content["sweep"]["protocol"] = "splitbench"
    path.write_text(json.dumps(content))
    found = continue_study(sweep, read_studies(store, consent=BOWLS))
    assert (found.study, found.changed) == (study, ())


def test_a_store_without_a_sweep_and_a_wrong_study_are_refused(make_bowls: MakeSweep, tmp_path: Path) -> None:
    store, sweep = ResultStore(tmp_path / "r"), make_bowls()
    with pytest.raises(ConfigurationError, match="there is no sweep at here"):
        find_study([], None, where="here")
    study = write(store, sweep).study
    known = read_studies(store, consent=sweep.consent)
    assert find_study(known, study[:3], where="here").study == study
    with pytest.raises(UnknownNameError, match=rf"--study: unknown study 'abd'.*{study}"):
        find_study(known, "abd", where="here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is no definition of a sweep: .* Wait if it is being copied; otherwise, remove it\."),
        ("[" * 10_000, "is no definition of a sweep: RecursionError"),
        (json.dumps({"format": 99}), "format 99 is newer than 1"),
        ("{}", "'format'"),
    ],
)
def test_a_damaged_or_newer_definition_is_named(tmp_path: Path, text: str, message: str) -> None:
    store = ResultStore(tmp_path / "r")
    store.write_file("sweeps/a.json", text.encode())
    with pytest.raises(ConfigurationError, match=message):
        read_studies(store, consent=BOWLS)


def test_files_of_others_beside_definitions_are_left_alone(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    store.write_file("sweeps/notes.txt", b"mine")
    assert read_studies(store, consent=BOWLS) == []
