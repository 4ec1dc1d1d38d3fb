"""Results that fill up, turn read-only, tear, fail now and then: each cell ends with one good row all the same."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from pyarrow import fs
from toys import toy_item

from benchmarks.rows.row import ROW_FORMAT, State
from harness.execution import Limits
from harness.execution.attempt import Surroundings
from harness.execution.inline import InlineBackend
from harness.execution.run_plan import RunReport, run_plan
from harness.planning.plan import make_plan
from harness.store import ResultStore
from harness.store import delivery as outbox
from harness.store import files as storage
from harness.store.row_files import encode_row

Call = Callable[..., Result]
SEEDS = range(6)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(outbox, "_PAUSE_SECONDS", 0.0)


def run(store: ResultStore, surroundings: Surroundings, **keys: Any) -> RunReport:
    items = [toy_item(seed=seed, **keys) for seed in SEEDS]
    return run_plan(make_plan(items, store.read().latest()), store, InlineBackend(surroundings, Limits()))


def assert_one_good_row_each(store: ResultStore) -> None:
    table = store.read().table
    good = [
        seed for seed, state in zip(table["seed"].to_pylist(), table["state"].to_pylist(), strict=True) if state == "ok"
    ]
    assert Counter(good) == dict.fromkeys(SEEDS, 1)


class Weather:
    """Stands in front of how rows are written to a local disk; fails as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        self.error: int | None = None
        self._place = str(place)
        self._write = storage._write_local
        monkeypatch.setattr(storage, "_write_local", self)

    def __call__(self, folder: Path, name: str, data: bytes, *, durable: bool) -> None:
        if self.error is not None and str(folder).startswith(self._place):
            raise OSError(self.error, os.strerror(self.error))
        self._write(folder, name, data, durable=durable)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_rows_that_a_folder_does_not_take_wait_and_are_delivered_later(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    weather = Weather(monkeypatch, tmp_path / "results")
    store = ResultStore(tmp_path / "results", cache=tmp_path / "cache")
    store.prepare()
    weather.error = error
    report = run(store, surroundings)
    assert report.all_well
    assert report.contents.unsent is not None
    assert report.contents.unsent.n_rows == len(SEEDS)
    assert os.strerror(error) in str(report.contents.unsent.reason)
    assert not list((tmp_path / "results" / "rows").rglob("*.parquet"))
    again = run(store, surroundings)
    assert again.rows == (), "what waits counts as done"
    weather.error = None
    contents = ResultStore(tmp_path / "results", cache=tmp_path / "cache").read()
    assert contents.unsent is None
    assert len(list((tmp_path / "results" / "rows").rglob("*.parquet"))) == len(SEEDS)
    assert_one_good_row_each(store)


def test_a_folder_that_fills_up_in_the_middle_keeps_what_it_has(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather = Weather(monkeypatch, tmp_path / "results")
    store = ResultStore(tmp_path / "results", cache=tmp_path / "cache")
    write, written = store.write, []

    def fill_up(row: Any) -> str:
        if len(written) == 3:
            weather.error = errno.ENOSPC
        written.append(row)
        return write(row)

    monkeypatch.setattr(store, "write", fill_up)
    report = run(store, surroundings)
    assert report.contents.unsent is not None
    assert report.contents.unsent.n_rows == 3
    weather.error = None
    assert_one_good_row_each(store)


def test_where_rows_can_be_kept_nowhere_the_run_ends_and_the_next_one_completes_it(
    call: Call, write_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather = Weather(monkeypatch, tmp_path)
    weather.error = errno.ENOSPC
    suite, results = write_suite(seeds=len(SEEDS), splitters=["toy"]), tmp_path / "results"
    (results / "rows").mkdir(parents=True)
    result = call("run", suite, "--results", results, "--backend", "inline")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    weather.error = None
    assert call("run", suite, "--results", results, "--backend", "inline").exit_code == 0
    assert_one_good_row_each(ResultStore(results))


def test_rows_that_wait_are_told_of_and_make_the_exit_code_one(
    call: Call, write_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather = Weather(monkeypatch, tmp_path / "results")
    (tmp_path / "results" / "rows").mkdir(parents=True)
    weather.error = errno.ENOSPC
    suite = write_suite(splitters=["toy"])
    result = call("run", suite, "--results", tmp_path / "results", "--backend", "inline")
    assert result.exit_code == 1
    assert "1 row kept in" in result.stdout
    assert "No space left" in result.stdout.replace("\n", " ")
    weather.error = None
    assert call("run", suite, "--results", tmp_path / "results", "--backend", "inline").exit_code == 0


def test_a_place_that_is_read_only_from_the_start_is_refused_before_any_work(
    call: Call, write_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.result_store.os.access", lambda path, mode: False)
    result = call("run", write_suite(), "--results", tmp_path / "results", "--backend", "inline")
    assert result.exit_code == 2
    assert "it is read-only" in result.stderr


class Unsteady(fs.FSSpecHandler):
    """A file system of which every third request of each kind fails."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.counts: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def _maybe_fail(self, request: str) -> None:
        self.counts[request] += 1
        if self.counts[request] % 3 == 0:
            self.failed[request] += 1
            raise OSError(f"503 Slow Down ({request})")

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._maybe_fail("put")
        return super().open_output_stream(path, metadata)

    def open_input_file(self, path: str) -> Any:
        self._maybe_fail("get")
        return super().open_input_file(path)

    def get_file_info_selector(self, selector: Any) -> Any:
        self._maybe_fail("list")
        return super().get_file_info_selector(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._maybe_fail("mkdir")
        super().create_dir(path, recursive)


def test_an_object_store_that_fails_one_request_in_three_loses_nothing(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    handler = Unsteady(fsspec.filesystem("memory"))
    store = ResultStore(f"/{tmp_path.name}", filesystem=fs.PyFileSystem(handler), cache=tmp_path / "cache")
    report = run(store, surroundings)
    assert report.all_well
    assert report.contents.unsent is None
    assert handler.failed["put"] >= 3
    assert run(store, surroundings).rows == ()
    assert_one_good_row_each(ResultStore(f"/{tmp_path.name}", filesystem=fs.PyFileSystem(handler)))
    assert handler.failed["get"] >= 1


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Counter[str]]]:
    """A bucket of moto's server, which fails one PUT in three, and what it was asked."""
    server = pytest.importorskip("moto.server", reason="moto[s3,server] is not installed")
    import threading

    import boto3
    from werkzeug.serving import make_server

    asked: Counter[str] = Counter()
    moto = server.DomainDispatcherApplication(server.create_backend_app)

    def unsteady(environ: Any, start_response: Any) -> Any:
        is_row = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith(".parquet")
        asked["rows"] += is_row
        if is_row and asked["rows"] % 3 == 0:
            asked["refused"] += 1
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"try again"]
        return moto(environ, start_response)

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    web = make_server("127.0.0.1", 0, unsteady, threaded=True)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    endpoint = f"127.0.0.1:{web.server_port}"
    boto3.client("s3", endpoint_url=f"http://{endpoint}").create_bucket(Bucket="bucket")
    yield f"s3://bucket/toys?scheme=http&endpoint_override={endpoint.replace(':', '%3A')}", asked
    web.shutdown()
    thread.join()


@pytest.mark.filterwarnings("ignore")
def test_a_bucket_that_fails_one_put_in_three_loses_nothing(
    s3: tuple[str, Counter[str]], surroundings: Surroundings, tmp_path: Path
) -> None:
    uri, asked = s3
    store = ResultStore(uri, cache=tmp_path / "cache")
    report = run(store, surroundings)
    assert report.all_well
    assert asked["refused"] >= 2
    assert run(store, surroundings).rows == ()
    assert_one_good_row_each(ResultStore(uri))


def _torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _nothing(data: bytes) -> bytes:
    return b""


def _foreign(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("spoil", [_torn, _nothing, _foreign])
def test_a_spoilt_row_is_computed_again_and_the_others_are_not(
    surroundings: Surroundings, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    store = ResultStore(tmp_path / "results", cache=tmp_path / "cache")
    run(store, surroundings)
    path = sorted((tmp_path / "results" / "rows").rglob("*.parquet"))[2]
    path.write_bytes(spoil(path.read_bytes()))
    os.utime(path, (0, 0))
    report = run(store, surroundings)
    assert len(report.rows) == 1
    assert [file.quarantined for file in report.contents.damaged] == [True]
    assert_one_good_row_each(store)


def test_a_row_of_a_newer_version_stops_everything_before_anything_is_run_or_moved(
    call: Call, write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite, results = write_suite(seeds=2), tmp_path / "results"
    call("run", suite, "--results", results, "--backend", "inline", "--only", "splitter=toy")
    path = sorted((results / "rows").rglob("*.parquet"))[0]
    table = pq.read_table(pa.BufferReader(encode_row(ResultStore(results).read().latest()[0])))
    pq.write_table(table.replace_schema_metadata({"splitbench_row_format": str(ROW_FORMAT + 1)}), path)
    before = path.read_bytes()
    result = call("run", suite, "--results", results, "--backend", "inline")
    assert result.exit_code == 2
    assert "is newer than" in result.stderr
    assert path.read_bytes() == before
    assert len(list((results / "rows").rglob("*.parquet"))) == 2


class BackwardClock(datetime):
    """A clock that goes back an hour every time somebody looks."""

    looks = 0

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        cls.looks += 1
        return datetime(2026, 1, 1, tzinfo=timezone.utc) - timedelta(hours=cls.looks)


def test_a_clock_that_goes_back_loses_no_row_and_makes_no_time_negative(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.execution.attempt.datetime", BackwardClock)
    monkeypatch.setattr("harness.runs.declaration.datetime", BackwardClock)
    store = ResultStore(tmp_path / "results", cache=tmp_path / "cache")
    run(store, surroundings, behaviour="die_first", folder=str(tmp_path))
    first = store.read()
    assert {row.state for row in first.latest()} == {State.FAILED}
    items = [toy_item(seed=seed, behaviour="die_first", folder=str(tmp_path)) for seed in SEEDS]
    plan = make_plan(items, first.latest(), retry=["failed"])
    report = run_plan(plan, store, InlineBackend(surroundings, Limits()))
    assert BackwardClock.looks >= 2 * len(SEEDS)
    assert report.all_well, "the good rows count, though the failures seem to be newer"
    assert min(store.read().table["seconds"].to_pylist()) >= 0
    assert_one_good_row_each(store)
    assert make_plan(items, store.read().latest()).queue() == []


def test_errors_of_a_client_that_are_no_os_errors_lose_no_row(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path / "results", cache=tmp_path / "cache")
    write_local = storage._write_local

    def write(folder: Path, name: str, data: bytes, *, durable: bool) -> None:
        if folder.is_relative_to(tmp_path / "results" / "rows"):
            raise pa.ArrowException("Unknown error: Failed to get token")
        write_local(folder, name, data, durable=durable)

    monkeypatch.setattr(storage, "_write_local", write)
    unsent = run(store, surroundings).contents.unsent
    assert unsent is not None
    assert (unsent.n_rows, unsent.reason) == (len(SEEDS), "Unknown error: Failed to get token")
