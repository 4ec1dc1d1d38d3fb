"""``splitbench submit``: run a suite or a sweep on a cluster that 'ray up' has started."""

from __future__ import annotations

import re
import secrets
import shlex
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.errors import EXIT_FAILED, report_errors
from harness.cli.options import read_cells, refuse_for_sweeps, suite_options

if TYPE_CHECKING:
    from harness.clusters.cluster_file import ClusterFile
    from harness.clusters.shipment import Shipment


@click.command()
@suite_options
@click.option(
    "--cluster",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("cluster.yaml"),
    show_default=True,
    help="The cluster's file, as 'ray up' takes it.",
)
@click.option("--data-root", metavar="DIR", help="Folder of data sets on the cluster's machines.")
@click.option("--download", is_flag=True, help="Download missing data, on the cluster.")
@click.option("--timeout", metavar="TIME", help="How long a cell may take, e.g. 30m.")
@click.option("--no-follow", is_flag=True, help="Do not show the job's log; the job runs anyway.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent and run; reach for no cluster.")
@report_errors
def command(
    suite: str,
    changes: tuple[str, ...],
    only: tuple[str, ...],
    seeds: int | None,
    retry: str | None,
    results: str | None,
    cluster: Path,
    data_root: str | None,
    download: bool,
    timeout: str | None,
    no_follow: bool,
    dry_run: bool,
) -> None:
    """Run a suite or a sweep on a cluster that 'ray up FILE' has started.

    Uploads this checkout of Splitbench and the suite's file, starts the run as a job on the cluster, and shows its log.
    The job keeps running when this command ends or the connection breaks. Data are not uploaded.
    """  # fmt: skip
    from harness.cli.output import write_line
    from harness.clusters.cluster_file import read_cluster_file
    from harness.clusters.remote import RemoteCluster
    from harness.clusters.shipment import pack

    described = read_cluster_file(cluster)
    described.require_filled_in()
    work = _read(suite, changes, only, seeds)
    location = results or _results_in(described, work.name)
    given_name = work.path.name if work.path else suite
    arguments = [work.verb, given_name, "--address", "auto", "--results", _on_cluster(location)]
    arguments += [part for change in changes for part in ("--set", change)]
    arguments += [part for condition in only for part in ("--only", condition)]
    given = {"--seeds": seeds, "--retry": retry, "--data-root": data_root, "--timeout": timeout}
    if work.verb == "sweep":
        refuse_for_sweeps({"--only": only, **{name: given[name] for name in ("--seeds", "--retry", "--timeout")}})
    arguments += [part for option, value in given.items() if value is not None for part in (option, str(value))]
    arguments += ["--download"] if download else []
    job_id = f"{_plain(work.name)}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    remote = RemoteCluster(described)
    with tempfile.TemporaryDirectory(prefix="splitbench-") as folder:
        shipment = pack(Path(folder), arguments, suite=work.path, plugins=work.plugins)
        click.echo(_shipment_text(shipment, arguments, dry_run=dry_run), err=not dry_run)
        if dry_run:
            return
        remote.submit(Path(folder), job_id)
    write_line(f"Job {job_id} runs on the cluster, independent of this connection.")
    write_line(f"Log:    {remote.follow_hint(job_id)}")
    write_line(f"Stop:   {remote.stop_hint(job_id)}")
    write_line(f"Status: splitbench status {shlex.quote(location)}")
    from_cluster = "" if "://" in location else f" --cluster {shlex.quote(str(cluster))}"
    write_line(f"Rows:   splitbench fetch {shlex.quote(location)}{from_cluster}")
    if not no_follow:
        sys.exit(0 if remote.follow(job_id) else EXIT_FAILED)


@dataclass(frozen=True)
class _Work:
    """What to run on the cluster.

    Args:
        verb: ``run`` or ``sweep``.
        name: Name of the suite or sweep.
        path: Its file; None if it ships with the package.
        plugins: The plug-in modules that it names.
    """

    verb: str
    name: str
    path: Path | None
    plugins: tuple[str, ...]


def _read(suite: str, changes: tuple[str, ...], only: tuple[str, ...], seeds: int | None) -> _Work:
    """Read and check the suite or sweep, before anything is sent."""
    from harness.config.expand import plugins_of
    from harness.config.suite import names_sweep, suite_names, sweep_names
    from harness.config.trust import trust_named
    from harness.sweep import load_sweep

    is_packaged = suite in (*suite_names(), *sweep_names())
    path = Path(suite) if not is_packaged and Path(suite).is_file() else None
    if names_sweep(suite):
        sweep = load_sweep(suite, changes=changes)
        trust_named(sweep.plugin_modules, sweep.model_dump(mode="json"))
        return _Work("sweep", sweep.name, path, sweep.plugins)
    loaded, _ = read_cells(suite, changes, only, seeds)
    trust_named(plugins_of(loaded), loaded.model_dump(mode="json"))
    return _Work("run", loaded.name, path, loaded.plugins)


def _results_in(cluster: ClusterFile, name: str) -> str:
    from harness.store import beneath
    from splitters.errors import ConfigurationError

    if not cluster.notes.results:
        raise ConfigurationError(
            f"{cluster.path} does not say where results go. Write 'metadata: {{splitbench: {{results: s3://...}}}}', "
            "or pass --results URI."
        )
    return beneath(cluster.notes.results, name)


def _on_cluster(location: str) -> str:
    """Return a location as the job names it: relative to the home folder, the only one that outlives the job."""
    return location if "://" in location or location.startswith(("/", "~")) else f"~/{location}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "suite"


def _shipment_text(shipment: Shipment, arguments: list[str], *, dry_run: bool) -> str:
    lines = [
        f"{'Would upload' if dry_run else 'Uploading'} {shipment.n_bytes / (1 << 20):.1f} MB (code only):",
        f"  Splitbench, commit {shipment.commit or 'unknown'}",
        *(f"  {name}" for name in shipment.files),
        f"Command: splitbench {shlex.join(arguments)}",
    ]
    return "\n".join(lines)
