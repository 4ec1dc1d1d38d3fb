"""What a run tells others while it goes on: one small file in the results folder, written by its driver alone."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path

import psutil
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

RECORD_FORMAT = 1
FOLDER = "runs"
"""Where records lie in a results folder."""


class Hold(str, Enum):
    """What a run has of a cell."""

    WANTED = "wanted"
    HELD = "held"


class RunningCell(BaseModel):
    """A cell that runs.

    Args:
        title: Its name for people.
        since: When it began.
        stage: What it does.
        step: How far it is.
        total: How far it has to go, if that is known.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    since: AwareDatetime
    stage: str = ""
    step: int = 0
    total: int | None = None


class RunRecord(BaseModel):
    """A run as its driver describes it.

    Args:
        format: Counts the changes of this format.
        run_id: Names the run; unique.
        suite: The suite.
        machine: Names the driver's machine, since its last start, and the process's view of it.
        hostname: The driver's machine for people.
        pid: The driver's process.
        process_started: When that process began, by the machine's own count.
        splitbench: Version of the package.
        commit: Commit of the package.
        cells: How many cells the suite has.
        to_do: How many of them had no row when the run began.
        finished: How many attempts are over.
        failed: How many of them did not end ``ok`` or ``skipped``.
        started_at: When the run began.
        told_at: When this was written.
        beat: Counts the writings; a driver that lives goes on counting.
        ended: How the run ended: ``done`` or ``interrupted``; None while it goes on.
        running: The cells that run, by id.
        claims: What the run has of which cell.
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
    to_do: int
    finished: int = 0
    failed: int = 0
    started_at: AwareDatetime
    told_at: AwareDatetime
    beat: int = 0
    ended: str | None = None
    running: dict[str, RunningCell] = Field(default_factory=dict)
    claims: dict[str, Hold] = Field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its file's path in the results folder."""
        return f"{FOLDER}/{self.run_id}.json"

    @property
    def is_surely_over(self) -> bool:
        """Whether the run has ended, or its driver was a process of this machine and is no more."""
        if self.ended is not None:
            return True
        return self.machine == this_machine() and process_started(self.pid) != self.process_started


def parse_record(data: bytes) -> RunRecord | None:
    """Returns the record that a file holds, or None if it is torn, or of a format that this version does not know."""
    try:
        record = RunRecord.model_validate_json(data)
    except ValidationError:
        return None
    return record if record.format <= RECORD_FORMAT else None


def process_started(pid: int) -> float | None:
    """Returns when a process of this machine began, by a count that no change of the clock alters.

    None if there is no such process.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        try:
            state, *fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        # Field 22 of the line counts ticks since the machine's start; three come before what is left of it here.
        return None if state == "Z" else float(fields[18])
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


@cache
def this_machine() -> str:
    """Names this machine since its last start, and the space of process ids that this process sees."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    parts = [platform.node() or "unknown"]
    if boot.is_file():
        parts.append(boot.read_text(encoding="ascii").strip())
    try:
        parts.append(os.readlink(space))
    except OSError:
        parts.append("-")
    return "/".join(parts)


def age_seconds(record: RunRecord, now: datetime) -> float:
    """Returns how long ago a record was written, by both machines' clocks."""
    return max(0.0, (now - record.told_at).total_seconds())
