"""``splitbench doctor``: check this machine or a cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import EXIT_FAILED, report_errors
from harness.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.machines.doctor import Diagnosis
    from harness.machines.node_facts import NodeFacts


@click.command()
@click.option(
    "--address", metavar="ADDR", help="A Ray cluster: look at all its machines. [default: this machine alone]"
)
@click.option("--results", metavar="URI", help="Folder or pyarrow.fs URI of rows to write to and read back.")
@json_option
@report_errors
def command(address: str | None, results: str | None, as_json: bool) -> None:
    """Check the installation, or all machines of a cluster: what is missing, what differs, how to fix it.

    Exit codes: 0 all well, 1 something must be fixed first.
    """
    from harness.cli.output import show, show_json
    from harness.config.cache_folder import cache_folder
    from harness.machines.doctor import diagnose_installation

    cache = cache_folder().absolute()
    if address is None:
        diagnosis = diagnose_installation(cache, results=results)
    else:
        from harness.execution.ray.cluster import connection
        from harness.execution.ray.inspection import inspect_cluster

        with connection(address):
            diagnosis = inspect_cluster(cache, results=results)
    show_json(diagnosis_object(diagnosis)) if as_json else show(_view(diagnosis))
    sys.exit(0 if diagnosis.is_healthy else EXIT_FAILED)


def diagnosis_object(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as plain values, for JSON."""
    import dataclasses

    return {"healthy": diagnosis.is_healthy, **dataclasses.asdict(diagnosis)}


def _view(diagnosis: Diagnosis) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    for _ in diagnosis.nodes:
        table.add_column(overflow="fold")
    columns = [_facts(node) for node in diagnosis.nodes]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    parts: list[RenderableType] = [table, Text()]
    for finding in diagnosis.findings:
        mark, style = ("✗", "red") if finding.serious else ("!", "yellow")
        parts.append(Text(f"{mark} ", style=style).append(finding.text, style="default"))
        parts.append(Text(f"  {finding.remedy}", style="dim"))
    if not diagnosis.findings:
        parts.append(Text("✓ All well.", style="green"))
    return Group(*parts)


def _facts(facts: NodeFacts) -> dict[str, str]:
    gpus = ", ".join(f"{gpu.name} ({gpu.memory_bytes / (1 << 30):.0f} GB)" for gpu in facts.gpus)
    results = {None: "not tried", "": "written and read back"}.get(facts.results_trouble, "✗")
    return {
        "machine": f"{facts.hostname} ({facts.address})",
        "Splitbench": facts.splitbench,
        "commit": facts.commit or "unknown",
        "Python": facts.python,
        "Ray": facts.ray or "–",
        "torch": facts.torch or "–",
        "CUDA": facts.cuda or "–",
        "driver": facts.driver or "–",
        "GPUs": f"{len(facts.gpus)}: {gpus}" if facts.gpus else "none",
        "CPUs": str(facts.cpus),
        "memory": f"{facts.memory_bytes / (1 << 30):.0f} GB",
        "cache": f"{facts.cache}, {facts.disk_free_bytes / (1 << 30):.0f} GB free",
        "results": results,
    }
