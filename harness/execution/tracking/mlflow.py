"""MLflow: an experiment per suite or sweep, a run in it per cell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.rows.row import State
from harness.execution.tracking.tracker import CellLog, Tracker
from harness.first_contact import require_server_answers
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError

_STATUS = {State.OK: "FINISHED", State.SKIPPED: "FINISHED", State.INTERRUPTED: "KILLED"}
"""MLflow's word for how a run ended; all others have failed."""

_LONGEST, _PARAMS_AT_ONCE = 500, 100
"""MLflow's limits: characters of a parameter's value, and parameters of one call."""


class MlflowTracker(Tracker):
    """Writes to an MLflow server, or to a database, through MLflow's client.

    Args:
        uri: MLflow's tracking URI.
        experiment: The experiment's name; it is created if there is none.

    Raises:
        ConfigurationError: If MLflow is not installed, or cannot write there.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        super().__init__("mlflow", "MLflow")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        # MLflow itself would try for a quarter of an hour.
        require_server_answers(uri, what="MLflow server")
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            self._experiment_id = known.experiment_id if known else self._client.create_experiment(experiment)
        except MlflowException as error:
            raise ConfigurationError(f"MLflow cannot write to {uri}: {error}") from error

    def open_log(self, item: SuiteCell) -> CellLog:
        """Begin a run, with the cell's settings as parameters and its id as a tag."""
        from mlflow.entities import Param

        cell = item.cell
        run = self._client.create_run(
            self._experiment_id,
            run_name=item.title,
            tags={"splitbench.cell_id": cell.cell_id, "splitbench.splitter": item.splitter},
        )
        parts = {
            "scenario": {"name": cell.scenario, **cell.scenario_settings},
            "splitter": {"name": cell.splitter.name, **cell.splitter.settings},
            "model": {"name": cell.model.name, **cell.model.settings},
            "dataset": cell.dataset.model_dump(mode="json", exclude_defaults=True),
            "training": cell.training.model_dump(mode="json", exclude_defaults=True),
        }
        params = [Param("seed", str(cell.seed)), *(Param(key, value[:_LONGEST]) for key, value in _flat(parts))]
        for first in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(run.info.run_id, params=params[first : first + _PARAMS_AT_ONCE])
        return _MlflowRun(self._client, run.info.run_id)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


class _MlflowRun:
    """The log of a cell."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self._run_id = run_id

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(
            self._run_id, metrics=[Metric(name, value, now, step) for name, value in metrics.items()]
        )

    def close(self, state: State, reason: str | None) -> None:
        self._client.set_tag(self._run_id, "splitbench.state", f"{state.value}: {reason}" if reason else state.value)
        self._client.set_terminated(self._run_id, status=_STATUS.get(state, "FAILED"))
