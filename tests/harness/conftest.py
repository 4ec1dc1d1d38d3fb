"""What the harness's tests are given: toy suites and sweeps, the command line, Ray, a workshop with real modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bowl_plugin  # noqa: F401  (registers the bowl)
import pytest
import toy_plugin  # noqa: F401  (registers the toy)
import yaml
from click.testing import CliRunner, Result
from toys import HERE, ROOT

from harness.cli import main
from harness.config.plugins import Plugins
from harness.execution.attempt import Surroundings
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.load import load_sweep


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SPLITBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings("toys", tmp_path / "cache", plugins=Plugins(("toy_plugin",), str(HERE)))


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a suite of toys to a file; keys replace the usual ones."""

    def write(**keys: Any) -> Path:
        (tmp_path / "toy_plugin.py").write_text((HERE / "toy_plugin.py").read_text())
        suite = {
            "name": "toys",
            "plugins": ["toy_plugin"],
            "scenario": "toy",
            "models": ["simcnn"],
            "datasets": ["digits"],
            "splitters": ["toy", "other"],
            **keys,
        }
        path = tmp_path / "toys.yaml"
        path.write_text(yaml.safe_dump(suite, sort_keys=False))
        return path

    return write


@pytest.fixture
def write_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep of bowls to a file; keys replace the usual ones, None leaves one out."""

    def write(**keys: Any) -> Path:
        (tmp_path / "bowl_plugin.py").write_text((HERE / "bowl_plugin.py").read_text())
        usual = {
            "name": "bowls",
            "plugins": ["bowl_plugin"],
            "scenario": "bowl",
            "device": "cpu",
            "seeds": 2,
            "models": ["simcnn"],
            "datasets": ["digits"],
            "splitters": [{"name": "bowl", "space": {"x": {"float": [0, 1]}, "y": {"float": [0, 0.5]}}}],
            "objectives": {"accuracy_loss": "min", "kernel_retention": "min"},
            "sampler": "random",
            "trials": 4,
        }
        values = {key: value for key, value in {**usual, **keys}.items() if value is not None}
        path = tmp_path / "bowls.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


@pytest.fixture
def make_bowls(write_sweep: Callable[..., Path]) -> Callable[..., Sweep]:
    """Make a sweep of bowls by way of a file."""
    return lambda **keys: load_sweep(write_sweep(**keys))


@pytest.fixture
def call() -> Callable[..., Result]:
    """Call ``splitbench`` in this process."""

    def invoke(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    """The environment of a real ``splitbench`` process."""
    path = os.pathsep.join([str(ROOT), str(HERE)])
    # A process that aborts says where it was.
    own = {"PYTHONPATH": path, "SPLITBENCH_CACHE": str(cache), "RAY_AUTH_MODE": "disabled", "PYTHONFAULTHANDLER": "1"}
    return {**os.environ, **own}


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One Ray on this machine for all tests, with two GPUs that only Ray believes in."""
    ray = pytest.importorskip("ray")
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    ray.init(
        address="local",
        num_cpus=3,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 << 20,
    )
    yield
    ray.shutdown()
    patch.undo()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small trained network, ``weights``, and its modules, ``modules``, made by the command line."""
    folder = tmp_path_factory.mktemp("workshop")
    suite = {
        "name": "small",
        "seeds": [3],
        "models": [{"name": "rescnn", "settings": {"width": 0.03}}],
        "datasets": [{"name": "digits", "train_images": 200, "select_images": 100}],
        "training": {"recipe": "one_cycle", "epochs": 2, "learning_rate": 0.05, "batch_size": 32},
        "splitters": [{"name": "importance", "settings": {"retention": 0.8, "score": "logit"}}],
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(suite))
    common = ["--suite", "small.yaml", "--model", "rescnn", "--data", "digits"]
    patch = pytest.MonkeyPatch()
    patch.setenv("SPLITBENCH_CACHE", str(folder / "cache"))
    patch.chdir(folder)
    for arguments in (
        ["train", *common, "--seed", "3", "--out", "weights"],
        ["split", *common, "--seed", "3", "--splitter", "importance", "--out", "modules"],
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    patch.undo()
    return folder


@pytest.fixture
def at_work(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a test into the workshop; what it writes has its own names."""
    monkeypatch.setenv("SPLITBENCH_CACHE", str(workshop / "cache"))
    monkeypatch.chdir(workshop)
    return workshop
