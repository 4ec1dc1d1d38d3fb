"""The record of a run: one small file in the results folder, written by the run's driver alone."""

from __future__ import annotations

import contextlib
import os
import platform
from datetime import datetime
from functools import cache
from pathlib import Path

import psutil
from pydantic import AliasChoices, AwareDatetime, ConfigDict, Field, ValidationError

from harness.runs.activity import Activity
from harness.store.files import Storage

RECORD_FORMAT = 1
FOLDER = "runs"
"""The folder of records in a results folder."""


class RunRecord(Activity):
    """A run as its driver describes it, with what it does at the moment.

    Args:
        format: Version of this format.
        run_id: Unique.
        suite: Name of the suite or sweep.
        machine: The driver's machine since its last boot, and the process-id namespace that the driver sees.
        hostname: The driver's machine, as shown to users.
        pid: The driver's process.
        process_started: When that process started, on the scale of ``process_started()``.
        splitbench: Version of the package.
        commit: Commit of the package.
        cells: Number of cells of the suite or sweep.
        started_at: When the run started.
        heartbeat_at: When this was written.
        ended: ``done`` or ``interrupted``; None while the run lasts.
        cell_ids: The cells that this run means to run.
        study: The study that this run drives, if it is a sweep.
        is_settled: Whether the run has read the other records, so that ``cell_ids`` is final.
    """

    model_config = ConfigDict(extra="ignore")

    format: int = RECORD_FORMAT
    run_id: str
    suite: str
    machine: str
    hostname: str
    pid: int
    process_started: float
    splitbench: str
    commit: str | None = None
    cells: int
    started_at: AwareDatetime
    # Earlier versions called it "told_at".
    heartbeat_at: AwareDatetime = Field(validation_alias=AliasChoices("heartbeat_at", "told_at"))
    ended: str | None = None
    cell_ids: frozenset[str] = frozenset()
    study: str | None = None
    is_settled: bool = True

    @property
    def path(self) -> str:
        """The path of its file in the results folder."""
        return f"{FOLDER}/{self.run_id}.json"

    @property
    def declared(self) -> frozenset[str]:
        """The cells that other runs should leave to this one: those that it means to run, and those that it runs."""
        return self.cell_ids | self.running.keys()

    @property
    def order(self) -> tuple[datetime, str]:
        """Decides which of two runs started earlier."""
        return self.started_at, self.run_id

    @property
    def is_on_this_machine(self) -> bool:
        """Whether this process can see the driver's process."""
        return self.machine == this_machine()

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, or its driver was a process of this machine that no longer exists."""
        return self.ended is not None or (self.is_on_this_machine and process_started(self.pid) != self.process_started)


def parse_record(data: bytes) -> RunRecord | None:
    """Return the record in a file, or None if it is torn or has a format that this version does not know."""
    try:
        record = RunRecord.model_validate_json(data)
    except ValidationError:
        return None
    return record if record.format <= RECORD_FORMAT else None


def read_records(storage: Storage) -> list[tuple[RunRecord, float | None]]:
    """Return all readable records of a results folder, each with the time of its file by the store's own clock.

    Raises:
        OSError: If the folder cannot be listed, or a record cannot be read.
    """
    found: list[tuple[RunRecord, float | None]] = []
    for info in storage.files(FOLDER):
        if info.path.endswith(".json") and not info.base_name.startswith("."):
            # A refused run removes its record, perhaps after the folder was listed.
            with contextlib.suppress(FileNotFoundError):
                record = parse_record(storage.read(storage.relative(info)))
                if record is not None:
                    found.append((record, info.mtime_ns / 1e9 if info.mtime_ns else None))
    return found


def process_started(pid: int) -> float | None:
    """Return when a process of this machine started, on a scale that ignores clock changes; None if it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        try:
            state, *fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        # Field 22 of the line counts clock ticks since boot; three fields were cut off before ``fields``.
        return None if state == "Z" else float(fields[18])
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


@cache
def this_machine() -> str:
    """Return a name of this machine since its last boot, with the process-id namespace of this process."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    parts = [platform.node() or "unknown"]
    if boot.is_file():
        parts.append(boot.read_text(encoding="ascii").strip())
    try:
        parts.append(os.readlink(namespace))
    except OSError:
        parts.append("-")
    return "/".join(parts)


def age_seconds(record: RunRecord, now: datetime) -> float:
    """Return the seconds since a record's last heartbeat, by both machines' clocks."""
    return max(0.0, (now - record.heartbeat_at).total_seconds())
