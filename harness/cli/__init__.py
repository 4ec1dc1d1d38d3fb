"""The ``splitbench`` command: one file per verb, imported when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from harness.cli.errors import STANDALONE
from harness.text import printable

_ROOMS = {
    "run": "runs", "plan": "runs", "leaderboard": "results.boards", "compare": "results.boards",
    "report": "results.boards", "show": "results", "rows": "results", "ls": "results", "schema": "results",
    "sweep": "runs", "front": "results.boards", "rerun": "runs", "export-study": "results",
    "fusion": "results.boards",
    "merge": "results.stores", "compact": "results.stores", "forget": "results.stores",
    "train": "models", "split": "models", "module": "models", "compose": "models", "patch": "models",
    "evaluate": "models", "inspect": "models", "export": "models", "card": "models",
    "doctor": "clusters", "submit": "clusters", "status": "runs", "watch": "runs", "fetch": "clusters",
}  # fmt: skip
"""Every verb, in the order of the help, and the room of its file."""


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Escape what users typed in click's own messages."""
    try:
        yield
    except click.ClickException as error:
        # click declares the message final, and has no hook between raising and showing it.
        vars(error)["message"] = printable(error.message)
        raise
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise click.ClickException(f"{error}") from error  # of a help text, say, for which the disk has no room


def _open_closed_streams() -> None:
    """Open standard streams that were closed by the caller, in whose places files would be opened otherwise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115  (for as long as the process lives)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


class _Verbs(click.Group):
    """Finds a verb's command in the module of the same name."""

    def main(self, *args: Any, **extra: Any) -> Any:
        _open_closed_streams()
        if extra.get("standalone_mode", True):
            extra.setdefault("obj", STANDALONE)
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **keywords: Any) -> click.Context:
        with _printable_errors():
            return super().make_context(*args, **keywords)

    def invoke(self, ctx: click.Context) -> Any:
        with _printable_errors():
            return super().invoke(ctx)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_ROOMS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _ROOMS:
            return None
        module = importlib.import_module(f"harness.cli.{_ROOMS[name]}.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command


def _print_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib import metadata

    try:
        version = metadata.version("splitbench")
    except metadata.PackageNotFoundError:
        version = "0+checkout"
    click.echo(f"splitbench {version}")
    context.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def main() -> None:
    """Cut trained CNNs into modules, one per class, and compare the methods that do it.

    Begin with 'splitbench run quick'. To work with a single model: inspect, train, split, module, compose,
    patch, evaluate, export, card.

    Exit codes: 0 all well; 1 some cells failed, and their rows say why, or the work
    on a model failed; 2 the call or a file is wrong; 130 interrupted.
    """
