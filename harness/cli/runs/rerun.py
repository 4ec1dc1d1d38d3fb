"""``splitbench rerun``: repeat cells that have rows, and compare."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import EXIT_FAILED, report_errors
from harness.cli.options import consent_options, data_options, json_option, make_location, open_store

if TYPE_CHECKING:
    from harness.config.trust import Consent
    from harness.execution.rerun import Rerun


_PUBLISHED = "published-weights"
"""The folder of the cache with what was downloaded and not made here."""


@click.command()
@click.argument("cell_ids", metavar="CELL_ID...", nargs=-1, required=True)
@click.option("--results", metavar="URI", help="Folder or URI of their rows. [default: every folder in ./results]")
@click.option("--fresh", is_flag=True, help="Train and split again instead of using the cache.")
@data_options
@json_option
@consent_options
@report_errors
def command(
    cell_ids: tuple[str, ...],
    results: str | None,
    fresh: bool,
    data_root: Path | None,
    download: bool,
    consent: Consent,
    as_json: bool,
) -> None:
    """Run cells again with the configuration of their rows, and compare the numbers.

    Exit codes: 0 if every cell is done now and no number has changed; 1 if not; 2 if a cell cannot run here, in which
    case none is run.

    CELL_ID is an id or an unambiguous prefix of one. The new row is stored beside the earlier ones.
    """  # fmt: skip
    from harness.cli.output import show_json, write_line
    from harness.cli.progress import show_progress
    from harness.execution.attempt import Surroundings
    from harness.execution.rerun import (
        find_row,
        locate_data,
        plugins_of_row,
        require_published,
        require_runnable,
        require_trusted_models,
        rerun_cell,
    )

    meant, runs = [], []
    found = [find_row(cell_id.lower(), results) for cell_id in cell_ids]
    for location, row in {row.cell_id: (location, row) for location, row in found}.values():
        store = open_store(location)
        require_trusted_models(row, consent)
        plugins = plugins_of_row(row, consent)
        require_runnable(row, plugins)
        meant.append((store, row, plugins, locate_data(row, make_location(data_root, download, plugins))))
    with _cache(fresh) as cache:
        for _, row, _, _ in meant:
            require_published(row, cache, download=download)
        for store, row, plugins, data in meant:
            surroundings = Surroundings(
                suite=row.suite,
                cache=cache,
                data_root=data.data_root,
                download=download,
                plugins=plugins,
            )
            runs.append(rerun_cell(row, store, surroundings, progress=show_progress()))
            if not as_json:
                write_line(_text(runs[-1]))
    if as_json:
        show_json([_object(run) for run in runs])
    sys.exit(0 if all(run.is_well for run in runs) else EXIT_FAILED)


@contextmanager
def _cache(fresh: bool) -> Iterator[Path]:
    """Yield the cache folder, or a temporary one for this call."""
    from harness.config.cache_folder import cache_folder, require_cache_folder

    require_cache_folder()
    if not fresh:
        yield cache_folder().absolute()
        return
    with TemporaryDirectory(prefix="splitbench-") as folder:
        published = cache_folder().absolute() / _PUBLISHED
        published.mkdir(parents=True, exist_ok=True)
        (Path(folder) / _PUBLISHED).symlink_to(published)
        yield Path(folder)


def _text(run: Rerun) -> str:
    from harness.suite_cell import ID_LENGTH, row_title

    head = f"{run.row.cell_id[:ID_LENGTH]}  {row_title(run.row)}  {run.row.state.value}"
    if run.row.reason:
        head += f": {run.row.reason}"
    if run.changed_code:
        head += f"\n  the code of {' and '.join(run.changed_code)} has changed since, so this counts as a new cell"
    if run.changed_images:
        head += f"\n  the images of {' and '.join(run.changed_images)} have changed since"
    if not run.is_comparable:
        return f"{head}\n  {run.before.state.value} before: no numbers to compare"
    if not run.differing:
        return f"{head}\n  the same numbers as before"
    return "\n".join(
        [head, *(f"  {name}: {before} before, {now} now" for name, (before, now) in run.differing.items())]
    )


def _object(run: Rerun) -> dict[str, Any]:
    return {
        "cell_id": run.row.cell_id,
        "attempt_id": run.row.attempt_id,
        "state": run.row.state.value,
        "reason": run.row.reason,
        "state_before": run.before.state.value,
        "same": not run.differing if run.is_comparable else None,
        "changed_code": list(run.changed_code),
        "changed_images": list(run.changed_images),
        "differing": {name: {"before": before, "now": now} for name, (before, now) in run.differing.items()},
        **{name: getattr(run.row, name) for name in run.numbers},
    }
