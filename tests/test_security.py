"""What SECURITY.md promises: data never runs, never leads out of its folder, and never reaches a shell."""

from __future__ import annotations

import ast
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks.cache.tensor_file import read_tensor_file
from harness.config.plugins import Plugins
from harness.config.suite import load_suite
from harness.config.trust import Consent, consent_of
from harness.store import ResultStore
from harness.store.row_files import DamagedFileError, decode_rows
from splitters import Module
from splitters.errors import ConfigurationError, ModuleFileError, SplitbenchError

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("splitters", "benchmarks", "harness")
FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))

FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
ALLOWED_IMPORTS = {
    # Names the error that torchvision's own reading of CIFAR may raise.
    "benchmarks/data/sources/torchvision_sets.py": {"pickle"},
    # Names the error with which torch refuses to unpickle more than tensors.
    "benchmarks/models/weights_reading.py": {"pickle"},
}
UNSAFE_YAML = {"load", "load_all", "unsafe_load", "full_load", "UnsafeLoader", "FullLoader", "Loader"}
SHELLS = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput")}
RUNNERS = {"eval", "exec", "compile", "__import__"}


def attribute_calls(tree: ast.AST) -> Iterator[tuple[str, str, ast.Call]]:
    """Yields the calls that are written ``name.attribute(...)``."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            yield node.func.value.id, node.func.attr, node


def keywords(call: ast.Call) -> dict[str | None, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords}


def findings(tree: ast.AST, allowed: set[str]) -> list[str]:
    """Returns what a module does that none of ours may do."""
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"imports {name}" for name in names if name.partition(".")[0] in FORBIDDEN_IMPORTS - allowed]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RUNNERS:
            found.append(f"calls {node.func.id}")
    for module, name, call in attribute_calls(tree):
        given = keywords(call)
        if (module, name) == ("torch", "load"):
            safe = given.get("weights_only")
            if not (isinstance(safe, ast.Constant) and safe.value is True):
                found.append("torch.load without weights_only=True")
        if module == "yaml" and name in UNSAFE_YAML:
            found.append(f"yaml.{name}")
        if module in ("np", "numpy") and name == "load" and "allow_pickle" in given:
            found.append("np.load with allow_pickle")
        if module == "pickle" and name in ("load", "loads", "Unpickler"):
            found.append(f"pickle.{name}")
        if (module, name) in SHELLS:
            found.append(f"{module}.{name}")
        if "shell" in given:
            found.append("a shell")
    return found


def test_no_module_unpickles_runs_strings_or_opens_a_shell() -> None:
    found = {}
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        told = findings(ast.parse(path.read_text()), ALLOWED_IMPORTS.get(name, set()))
        if told:
            found[name] = told
    assert found == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", ["imports pickle"]),
        ("from joblib import load", ["imports joblib"]),
        ("import torch\ntorch.load('x')", ["torch.load without weights_only=True"]),
        ("torch.load('x', weights_only=False)", ["torch.load without weights_only=True"]),
        ("torch.load('x', weights_only=True)", []),
        ("yaml.load(text, Loader=yaml.Loader)", ["yaml.load"]),
        ("yaml.safe_load(text)", []),
        ("subprocess.run('ls', shell=True)", ["a shell"]),
        ("os.system('ls')", ["os.system"]),
        ("eval('1')", ["calls eval"]),
        ("np.load('x', allow_pickle=True)", ["np.load with allow_pickle"]),
    ],
)
def test_the_search_finds_what_it_looks_for(code: str, found: list[str]) -> None:
    assert findings(ast.parse(code), set()) == found


class Mark:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self._path),)  # type: ignore[return-value]


def malicious_files(folder: Path, mark: Path) -> list[Path]:
    """Writes files that would leave a mark if anything unpickled them."""
    plain, checkpoint, nested = folder / "plain", folder / "checkpoint", folder / "nested"
    plain.write_bytes(pickle.dumps(Mark(mark)))
    torch.save({"weights": Mark(mark)}, checkpoint)
    # A safetensors file whose header is a pickle.
    data = pickle.dumps(Mark(mark))
    nested.write_bytes(struct.pack("<Q", len(data)) + data)
    return [plain, checkpoint, nested]


def test_the_malicious_files_are_malicious(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    plain, _, _ = malicious_files(tmp_path, mark)
    pickle.loads(plain.read_bytes())
    assert mark.is_dir()


def test_a_malicious_file_leaves_no_mark_wherever_it_is_given(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for path in malicious_files(tmp_path, mark):
        with pytest.raises(ModuleFileError):
            Module.load(path)
        assert read_tensor_file(path) is None
        with pytest.raises(DamagedFileError):
            decode_rows(path.read_bytes(), path=str(path))
        with pytest.raises(SplitbenchError):
            load_suite(path)
    assert not mark.exists()


def test_a_malicious_file_among_the_rows_or_in_the_cache_leaves_no_mark(tmp_path: Path) -> None:
    from benchmarks.cache.artifacts import ArtifactCache
    from benchmarks.cache.checkpoints import FileCheckpoint
    from splitters.methods.protocol import CheckpointState

    mark = tmp_path / "mark"
    files = malicious_files(tmp_path, mark)
    for number, path in enumerate(files):
        rows = tmp_path / "results" / "rows"
        rows.mkdir(parents=True, exist_ok=True)
        (rows / f"{number}.parquet").write_bytes(path.read_bytes())
        (tmp_path / "results" / "runs").mkdir(exist_ok=True)
        (tmp_path / "results" / "runs" / f"{number}.json").write_bytes(path.read_bytes())
        checkpoint = tmp_path / f"{number}.checkpoint.safetensors"
        checkpoint.write_bytes(path.read_bytes())
        assert FileCheckpoint(checkpoint).load() is None
    assert len(ResultStore(tmp_path / "results").read().being_written) == len(files)
    cache = ArtifactCache(tmp_path / "cache")
    made = cache.get_or_make("weights", {"a": 1}, lambda checkpoint: CheckpointState({}, {"step": 1}))
    (file,) = (tmp_path / "cache" / "weights").glob("*.safetensors")
    file.write_bytes(files[1].read_bytes())
    again = cache.get_or_make("weights", {"a": 1}, lambda checkpoint: CheckpointState({}, {"step": 1}))
    assert again.state.values == made.state.values
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{mark}']",
        "name: !!python/object/new:os.system ['mkdir {mark}']",
        "name: !!python/name:os.system",
        "- !!python/module:os",
    ],
)
def test_yaml_that_asks_for_python_is_refused(tmp_path: Path, text: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "suite.yaml"
    path.write_text(text.replace("{mark}", str(mark)))
    with pytest.raises(ConfigurationError):
        load_suite(path)
    assert not mark.exists()


def test_yaml_that_doubles_itself_is_refused_in_little_time_and_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_CPU, (30, 30))\n"
        "from harness.config.suite import load_suite\nfrom splitters.errors import SplitbenchError\n"
        "try:\n    load_suite(sys.argv[1])\nexcept SplitbenchError as error:\n    print(len(str(error)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert 0 < int(done.stdout) < 2000


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    for size in (2**40, 2**63, 65 << 20):
        path = tmp_path / "huge.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", size) + b"{")
            if size < 2**30:
                file.truncate(size + 100)
        with pytest.raises(ModuleFileError):
            Module.load(path)
        assert read_tensor_file(path) is None


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "..", ".", "a/../../b", "c\\..\\d", "nul\0l"])
def test_names_from_data_stay_in_the_results_folder(tmp_path: Path, name: str) -> None:
    from harness.execution.attempt import Outcome, make_row
    from harness.machines.provenance import provenance
    from harness.suite_cell import SuiteCell

    sys.path.insert(0, str(ROOT / "tests" / "harness"))
    from datetime import datetime, timezone

    from benchmarks.cells import Cell
    from benchmarks.rows.row import State

    cell = Cell.model_validate(
        {"scenario": name, "splitter": {"name": name}, "model": {"name": name}, "dataset": {"name": name}}
    )
    row = make_row(
        SuiteCell(cell),
        "s",
        Outcome(State.FAILED),
        source=provenance(),
        started_at=datetime.now(timezone.utc),
        seconds=1,
    )
    results = tmp_path / "a" / "b" / "results"
    store = ResultStore(results, cache=tmp_path / "a" / "cache")
    store.write(row)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(results / "rows") for path in written)
    assert store.read().attempts(row.cell_id) == [row]


def test_class_names_from_data_stay_in_the_folder_that_modules_are_written_to() -> None:
    from harness.cli.models.split import module_file_name

    for name in ("../../escaped", "/etc/passwd", "..", "", "a\0b", "x" * 500):
        made = module_file_name(3, name)
        assert made == Path(made).name
        assert made not in ("", ".", "..")
        assert "\0" not in made
        assert len(made.encode()) < 200


@pytest.fixture
def sly_results(tmp_path: Path) -> tuple[Path, list[str]]:
    """Results whose sweep names a plugin that lies among them, and how to look at them."""
    sweep = tmp_path / "theirs" / "sweep.yaml"
    sweep.parent.mkdir()
    (sweep.parent / "sly_plugin.py").write_text("import pathlib\npathlib.Path('mark').touch()\n")
    values = {
        "name": "sly", "plugins": ["sly_plugin"], "models": ["simcnn"], "datasets": ["digits"], "seeds": 1, "trials": 1,
        "splitters": [{"name": "gradsplitter", "space": {"alpha": {"float": [0.1, 1.0]}}}],
        "objectives": {"accuracy_loss": "min"},
    }  # fmt: skip
    sweep.write_text(yaml.safe_dump(values))
    results = tmp_path / "results"
    # In a process of its own, for a module is imported once.
    write = (
        "import sys; from harness.store import ResultStore; from harness.sweep.definition.load import load_sweep;"
        "from harness.sweep.study.record import continue_study, write_study;"
        "sweep = load_sweep(sys.argv[2]); write_study(ResultStore(sys.argv[1]), sweep, continue_study(sweep, []))"
    )
    subprocess.run(
        [sys.executable, "-c", write, results, sweep], cwd=sweep.parent, env=_environment(tmp_path), check=True
    )
    return results, [sys.executable, "-m", "harness", "front", str(results)]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SPLITBENCH_CACHE": str(folder / "cache")}


def test_code_that_results_name_is_run_only_by_those_who_trust_it(
    sly_results: tuple[Path, list[str]], tmp_path: Path
) -> None:
    results, front = sly_results
    (results / "rows").mkdir()

    def look(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*front, *options], cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, check=False
        )

    refused = look()
    assert refused.returncode == 2
    assert "names code that was never used on this machine: plugin sly_plugin in" in refused.stderr
    assert not (tmp_path / "mark").exists()
    assert look("--trust-code").returncode == 0
    assert (tmp_path / "mark").exists(), "the test would notice"
    (tmp_path / "mark").unlink()
    assert look().returncode == 0, "trust lasts"
    assert (tmp_path / "mark").exists()
    (tmp_path / "mark").unlink()
    moved = (tmp_path / "theirs").rename(tmp_path / "mine")
    assert look().returncode == 2, "the folder that the results name is gone, as that of a job on a cluster is"
    assert look("--plugins", str(tmp_path)).returncode == 2, "it does not lie there"
    assert look("--plugins", str(moved)).returncode == 0
    assert (tmp_path / "mark").exists()


def test_those_who_name_code_themselves_need_not_trust_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody_writes_here = tmp_path / "cache"
    nobody_writes_here.write_text("")
    monkeypatch.setenv("SPLITBENCH_CACHE", str(nobody_writes_here))
    values = {"models": [{"name": "python:mine:net"}], "plugins": ["mine"]}
    plugins, elsewhere = Plugins(("mine",), "here"), Plugins(("mine",), "a job's folder")
    assert consent_of(plugins, values).admit(elsewhere, values, where="x") == plugins
    assert Consent(everything=True).admit(elsewhere, values, where="x") == elsewhere
    with pytest.raises(
        ConfigurationError, match=r"x names code .*: plugin mine in a job's folder, model python:mine:net"
    ):
        Consent().admit(elsewhere, values, where="x")
    with pytest.raises(ConfigurationError, match=r"x names code .*: model python:mine:net\. It would"):
        consent_of(plugins, {}).admit(elsewhere, values, where="x")
