"""The progress of one piece of work, as a line that is written over on a terminal; elsewhere nothing."""

from __future__ import annotations

from harness.cli.output import progress_console
from splitters.base import Progress, ProgressCallback, ignore_progress


def show_progress() -> ProgressCallback:
    """Returns a progress callback that shows stage, step and figures on stderr."""
    console = progress_console()
    if not console.is_terminal:
        return ignore_progress

    def show(progress: Progress) -> None:
        of = f"/{progress.total}" if progress.total else ""
        figures = "  ".join(f"{name} {value:.4g}" for name, value in progress.metrics.items())
        text = f"{progress.stage} {progress.step}{of}  {figures}"[: console.width - 1]
        console.file.write(f"\r\x1b[2K{text}")
        console.file.flush()
        if progress.total == progress.step:
            console.file.write("\r\x1b[2K")

    return show
