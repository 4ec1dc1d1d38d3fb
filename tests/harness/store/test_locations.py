"""Locations of results: their parts, what is no location, and commands that name the location that was meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_row

from harness.store import ResultStore, beneath
from harness.store.locations import last_part, parent_of, without_secret
from splitters.errors import ConfigurationError

Call = Callable[..., Result]


@pytest.fixture
def at_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with rows in results/quick."""
    monkeypatch.chdir(tmp_path)
    ResultStore("results/quick").write(toy_row())
    return tmp_path


@pytest.mark.parametrize(
    "verb",
    [["leaderboard"], ["status"], ["front"], ["export-study", "--out", "x"], ["fetch"], ["show", "0", "--results"],
     ["rerun", "0", "--results"]],
    ids=lambda verb: verb[0],
)  # fmt: skip
@pytest.mark.parametrize(
    "location", ["results/quick/rows", "results/quick/rows/in_scenario=toy/in_dataset=digits", "results", "."]
)
def test_results_that_lie_above_or_below_are_named(
    call: Call, at_results: Path, verb: list[str], location: str
) -> None:
    result = call(*verb, location)
    assert result.exit_code == 2
    assert result.stderr == f"Error: there are no rows at {location}; did you mean results/quick?\n"


def test_results_above_are_named_by_uri(call: Call, at_results: Path) -> None:
    result = call("leaderboard", f"file://{at_results}/results/quick/rows")
    assert result.exit_code == 2
    assert f"did you mean file://{at_results}/results/quick?" in result.stderr


def test_results_without_rows_yet_are_no_mistake(call: Call, at_results: Path) -> None:
    ResultStore("results/new").prepare()
    assert call("leaderboard", "results/new").exit_code == 0


def test_a_folder_that_no_run_wrote_to_is_a_mistake(call: Call, at_results: Path) -> None:
    (at_results / "empty").mkdir()
    result = call("leaderboard", "empty")
    assert result.exit_code == 2
    assert "there are no rows at empty. Name the folder that 'splitbench run' wrote to" in result.stderr


def test_a_folder_that_merely_has_a_folder_of_that_name_is_not_suggested(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package" / "rows").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "did you mean" not in call("leaderboard", ".").stderr


def test_a_uri_with_options_is_fetched_into_a_folder_of_its_own_name(
    call: Call, at_results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(at_results)
    far = ResultStore(at_results / "far" / "thorough")
    far.write(toy_row())
    uri = "s3://b/thorough?endpoint_override=HOST&region=R"
    monkeypatch.setattr("harness.store.files.require_store_answers", lambda location: None)
    monkeypatch.setattr("harness.store.files.open_location", lambda location, *, purpose: (
        far.storage.fs, far.storage.root if location == uri else str(at_results / location)))  # fmt: skip
    result = call("fetch", uri)
    assert "1 new rows" in result.stdout
    assert result.stdout.endswith("Rows: results/thorough/rows\n")
    assert sorted(path.name for path in (at_results / "results").iterdir()) == ["quick", "thorough"]


def test_a_run_prints_where_its_rows_are_as_a_uri_that_can_be_used_again(
    call: Call, write_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ResultStore(tmp_path / "r").storage
    monkeypatch.setattr("harness.store.files.require_store_answers", lambda location: None)
    monkeypatch.setattr("harness.store.files.open_location", lambda location, *, purpose: (place.fs, place.root))
    result = call("run", write_suite(), "--results", "s3://b/quick?region=R", "--backend", "inline")
    assert "Rows: s3://b/quick/rows?region=R" in result.stdout


@pytest.mark.parametrize(
    ("location", "inner"),
    [
        ("results/quick", "results/quick/cache"),
        ("s3://bucket/quick/", "s3://bucket/quick/cache"),
        ("s3://bucket/quick?scheme=http", "s3://bucket/quick/cache?scheme=http"),
        ("file:///", "file:///cache"),
        ("a?b", "a?b/cache"),
    ],
)
def test_a_location_beneath_another_one(location: str, inner: str) -> None:
    assert beneath(location, "cache") == inner


@pytest.mark.parametrize(
    ("location", "last", "parent"),
    [
        ("s3://b/quick?endpoint_override=HOST&region=R", "quick", "s3://b?endpoint_override=HOST&region=R"),
        ("s3://b/a/quick/?x=/y", "quick", "s3://b/a?x=/y"),
        ("s3://b", "b", "s3://b"),
        ("s3://key:secret@b/", "b", "s3://key:secret@b"),
        ("s3://b/my%20quick", "my quick", "s3://b"),
        ("s3://b/..", "", "s3://b"),
        ("file:///tmp/", "tmp", "file:///"),
        ("file:///", "", "file:///"),
        ("far/quick/", "quick", "far"),
        ("far/a?b", "a?b", "far"),
        ("far/quick/..", "far", "."),
    ],
)
def test_names_come_from_the_path_of_a_location_alone(location: str, last: str, parent: str) -> None:
    assert last_part(location) == last
    assert parent_of(location) == parent


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nope://x: no such location for results"):
        ResultStore("nope://x")


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        ("s3:/b/x", "s3://b/x"),
        ("s3:b/x", "s3://b/x"),
        ("gs:/b?scheme=http", "gs://b?scheme=http"),
        ("file:/tmp/x", "file:///tmp/x"),
        ("other:/b", "other://b"),
    ],
)
def test_a_uri_that_lacks_slashes_is_refused(location: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"did you mean {meant}?")):
        ResultStore(location)


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("file:///tmp/run#2", "for a # in a name, write %23"),
        ("file:///tmp/a%00b", "no location for results"),
        ("", "'': no location for results. Give a folder"),
        ("/tmp/caf\udce9", r"'/tmp/caf\udce9': the name of this location for results is not UTF-8"),
    ],
)
def test_a_location_that_would_lead_elsewhere_is_refused(location: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        ResultStore(location)


@pytest.mark.parametrize("location", ["a:b", "c:/x", "s3", "s3/b", "results/s3:/b"])
def test_folders_with_colons_are_folders(location: str) -> None:
    assert ResultStore(location).storage.root == str(Path(location).absolute())


@pytest.mark.parametrize("location", ["s3://", "gs://anonymous@"])
def test_a_uri_without_a_bucket_is_refused(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.files.require_store_answers", lambda location: None)
    with pytest.raises(ConfigurationError, match=r"names no bucket|Missing bucket|no such location"):
        ResultStore(location)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("s3://key:secret%2F@b/x?region=r", "s3://b/x?region=r"),
        ("gs://anonymous@b/x", "gs://anonymous@b/x"),
        ("s3://b/a:b@c", "s3://b/a:b@c"),
        ("a:b@c", "a:b@c"),
    ],
)
def test_secrets_in_uris_are_left_out_of_what_others_read(location: str, shown: str) -> None:
    assert without_secret(location) == shown


@pytest.mark.parametrize("inner", ["rows", "rows/", "rows/in_scenario=toy", "rows/in_scenario=toy/new"])
def test_nothing_is_written_into_the_rows_of_other_results(
    call: Call, write_suite: Callable[..., Path], tmp_path: Path, inner: str
) -> None:
    results = tmp_path / "results" / "toys"
    ResultStore(results).write(toy_row())
    place = f"{results}/{inner}"
    for command in (("run", write_suite(), "--backend", "inline", "--results"), ("merge", results, "--into")):
        result = call(*command, place)
        assert result.exit_code == 2
        assert f"{place} is in the rows of {results}; name {results} instead." in result.stderr
    assert len(list(results.rglob("*.parquet"))) == 1
    ResultStore(results / "more").prepare()
    ResultStore(tmp_path / "rows").prepare()


def test_a_neighbour_that_cannot_be_read_is_passed_over(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **keys: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harness.store.result_store.results_near", refuse)
    result = call("leaderboard", tmp_path)
    assert result.exit_code == 2
    assert f"there are no rows at {tmp_path}. Name the folder" in result.stderr
