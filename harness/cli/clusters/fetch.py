"""``splitbench fetch``: copy results to this machine."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store


@click.command()
@click.argument("results", metavar="RESULTS")
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Target folder. [default: results/NAME, NAME being the last part of RESULTS]",
)
@click.option(
    "--cluster",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The cluster's file, if RESULTS is a folder on its head node rather than a URI.",
)
@json_option
@report_errors
def command(results: str, target: Path | None, cluster: Path | None, as_json: bool) -> None:
    """Copy rows, and what sweeps keep beside them, to this machine; files that are already here are left alone."""
    from harness.cli.output import show, show_json
    from harness.clusters.cluster_file import read_cluster_file
    from harness.clusters.remote import RemoteCluster
    from harness.store.locations import last_part
    from harness.store.maintenance.fetch import FURTHER_FOLDERS, fetch_rows
    from splitters.errors import ConfigurationError

    name = last_part(results)
    if target is None and not name:
        raise ConfigurationError(f"{results} does not end in a name for the local folder; pass --to DIR.")
    folder = target or Path("results") / name
    before = open_store(str(folder)).read().table.num_rows
    if cluster is not None:
        source = results if results.startswith(("/", "~")) else f"~/{results}"
        remote = RemoteCluster(read_cluster_file(cluster))
        remote.fetch(f"{source.rstrip('/')}/rows", folder / "rows")
        for further in FURTHER_FOLDERS:
            if remote.has_folder(f"{source.rstrip('/')}/{further}"):
                remote.fetch(f"{source.rstrip('/')}/{further}", folder / further)
    else:
        source_store = open_store(results)
        source_store.require()
        fetch_rows(source_store, open_store(str(folder)))
    contents = open_store(str(folder)).read(share=True)
    n_new = contents.table.num_rows - before
    if as_json:
        show_json({"results": str(folder), "new": n_new, "rows": contents.table.num_rows})
    else:
        show(f"{n_new} new rows, {contents.table.num_rows} in all.\nRows: {folder}/rows")
