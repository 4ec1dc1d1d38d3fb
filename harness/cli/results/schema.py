"""``splitbench schema``: print the JSON schema of suites or sweeps, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from harness.cli.errors import ends_process, report_errors

if TYPE_CHECKING:
    from harness.reference.schema import FileKind


@click.command()
@click.argument("kind", type=click.Choice(["suite", "sweep"]))
@report_errors
def command(kind: str) -> None:
    """Print the JSON schema of suite or sweep files, with which editors complete and check them.

    Save it, and begin the file with '# yaml-language-server: $schema=suite.schema.json'. Installed plug-ins are
    part of it. docs/suites.md says the same for people.
    """
    from harness.cli.output import reserved_stdout, show_json
    from harness.reference.schema import file_schema

    with reserved_stdout(for_good=ends_process()):
        show_json(file_schema(cast("FileKind", kind)))
