"""What Ray and its Tune do, where the harness relies on it or works around it.

A canary that fails after an upgrade says that a workaround can go, or that something no longer holds.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Repeater
from ray.tune.search.optuna import OptunaSearch


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """Ray with two CPUs and two GPUs that only Ray believes in; another test's, if there is one."""
    import ray

    if ray.is_initialized():
        yield
        return
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 << 20,
    )
    yield
    ray.shutdown()
    patch.undo()


def suggest_x(trial: Any) -> dict[str, float]:
    return {"x": trial.suggest_float("x", 0, 1)}


@pytest.fixture
def search() -> OptunaSearch:
    return OptunaSearch(suggest_x, metric=["a", "b"], mode=["min", "min"])


def test_optuna_search_leaves_a_trial_without_a_number_running_for_ever(search: OptunaSearch) -> None:
    for number, result in enumerate(({"a": math.nan, "b": 1.0}, {"a": 1.0})):
        search.suggest(str(number))
        search.on_trial_complete(str(number), result)
    assert {trial.state for trial in search._ot_study.get_trials()} == {TrialState.RUNNING}


def test_optuna_search_tells_optuna_nothing_of_constraints() -> None:
    assert not [name for name in inspect.signature(OptunaSearch).parameters if "constraint" in name]
    search = OptunaSearch(suggest_x, metric="a", mode="min")
    search.suggest("1")
    search.on_trial_complete("1", {"a": 0.0, "accuracy_loss": 1.0, "constraints": {"accuracy_loss <= 0.02": 0.98}})
    (trial,) = search._ot_study.get_trials()
    assert trial.value == 0.0
    assert not getattr(trial, "constraints", None)
    assert "constraints" not in {**trial.system_attrs, **trial.user_attrs}


def test_the_asha_scheduler_accepts_several_metrics_and_cannot_use_them() -> None:
    scheduler = AsyncHyperBandScheduler(metric=["a", "b"], mode="min")
    trial = type("Trial", (), {"trial_id": "1"})()
    scheduler.on_trial_add(None, trial)
    with pytest.raises(TypeError):
        scheduler.on_trial_result(None, trial, {"training_iteration": 1, "a": 1.0, "b": 2.0})


def test_the_repeater_cannot_average_several_objectives(search: OptunaSearch) -> None:
    repeater = Repeater(search, repeat=2, set_index=False)
    repeater.suggest("1")
    with pytest.raises(TypeError):
        repeater.on_trial_complete("1", {"a": 1.0, "b": 2.0})


class Recorder(tune.Callback):
    """Notes reports, and gives a trial that failed another configuration."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
        if not result.get("done"):  # The last result, which Tune makes up, repeats the one before.
            self.reports.append(result["report"])

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        trial.set_config({"items": [frozenset({"second"})]})

    def __reduce__(self) -> Any:
        return type(None), ()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_configurations_and_reports_may_hold_objects_and_a_trial_restarts_with_the_configuration_it_is_given(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")

    def report_and_fail_at_first(config: dict[str, Any]) -> None:
        (item,) = config["items"]
        tune.report({"report": item})
        if item == frozenset({"first"}):
            raise RuntimeError("the machine failed")

    recorder = Recorder()
    tune.Tuner(
        report_and_fail_at_first,
        param_space={"items": [frozenset({"first"})]},
        tune_config=tune.TuneConfig(scheduler=FIFOScheduler()),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            callbacks=[recorder],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert recorder.reports == [frozenset({"first"}), frozenset({"second"})]


class StopAtFirst(FIFOScheduler):
    """Stops trials at their first report."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(FIFOScheduler.STOP)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_callbacks_see_the_report_at_which_a_scheduler_stops_a_trial_marked_as_done(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    seen: list[tuple[object, object]] = []

    class Watch(Recorder):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            seen.append((result.get("report"), result.get("done")))

    def report_twice(config: dict[str, Any]) -> None:
        for number in (1, 2):
            tune.report({"report": number})

    tune.Tuner(
        report_twice,
        tune_config=tune.TuneConfig(scheduler=StopAtFirst()),
        run_config=tune.RunConfig(storage_path=str(tmp_path), callbacks=[Watch()], verbose=0),
    ).fit()
    assert seen == [(1, True)]


@pytest.mark.ray
def test_ray_hides_no_gpus_from_workers_that_own_none(local_ray: None) -> None:
    import ray

    def visible() -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    without: Any = ray.remote(num_gpus=0)(visible)
    owner: Any = ray.remote(num_gpus=1)(visible)
    assert ray.get(without.remote()) != ""
    assert ray.get(owner.remote()) in ("0", "1")


@pytest.mark.ray
def test_ray_has_no_local_mode_to_fall_back_to(local_ray: None) -> None:
    import ray

    with pytest.raises((RuntimeError, TypeError, ValueError, DeprecationWarning), match="local_mode"):
        ray.init(local_mode=True)
