"""Options that several verbs share, and what they amount to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from benchmarks.pipeline.workspace import Workspace
    from benchmarks.rows.row import Row
    from harness.config.suite import Suite
    from harness.planning.outdated_rows import OutdatedRows
    from harness.store import ResultStore
    from harness.suite_cell import SuiteCell

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")

results_option: Decorator = click.option(
    "--results", metavar="URI", help="Folder or pyarrow.fs URI of the rows. [default: results/SUITE]"
)


def consent_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what code may be imported that results name; the function gets it as ``consent``."""

    @functools.wraps(function)
    def with_consent(*args: Any, trust_code: bool, plugins: Path | None, **keys: Any) -> Any:
        from harness.config.trust import Consent

        folder = str(plugins.absolute()) if plugins else None
        return function(*args, consent=Consent(folder=folder, everything=trust_code), **keys)

    decorators = (
        click.option(
            "--plugins", type=click.Path(file_okay=False, exists=True, path_type=Path), metavar="DIR",
            help="Where the plugins lie that RESULTS name.",
        ),
        click.option(
            "--trust-code", is_flag=True,
            help="Trust the plugins and 'python:' models that RESULTS name, now and later.",
        ),
    )  # fmt: skip
    wrapped: Callable[..., Any] = with_consent
    for decorate in reversed(decorators):
        wrapped = decorate(wrapped)
    return wrapped


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds where data sets lie, and whether they may be fetched."""
    decorators = (
        click.option(
            "--data-root", type=click.Path(file_okay=False, exists=True, path_type=Path), metavar="DIR",
            help="Folder of data sets.",
        ),
        click.option("--download", is_flag=True, help="Fetch data that is not there."),
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


shared_cache_option: Decorator = click.option(
    "--shared-cache",
    metavar="URI",
    help="Where machines share trained weights and checkpoints. [default: in the results, if they are a URI and Ray's "
    "address is given]",
)


def shared_cache_of(given: str | None, *, results: str, address: str | None) -> str | None:
    """Returns where machines share trained weights and checkpoints; None if nowhere.

    Args:
        given: What ``--shared-cache`` says.
        results: Where rows go.
        address: A Ray cluster's address, if one was given.
    """
    from harness.store import beneath

    return given or (beneath(results, "cache") if "://" in results and address else None)


def make_workspace(data_root: Path | None, download: bool) -> Workspace:
    """Returns where work on a single model is done: on the GPU if there is one, with its progress on stderr."""
    import torch

    from benchmarks.pipeline.workspace import Workspace
    from harness.cli.progress import show_progress
    from harness.config.cache_folder import cache_folder

    return Workspace(
        cache=cache_folder().absolute(),
        data_root=data_root.absolute() if data_root else None,
        download=download,
        device="cuda" if torch.cuda.is_available() else "cpu",
        progress=show_progress(),
    )


out_option: Decorator = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", required=True, help="The file to write."
)


def suite_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the suite and the options that say which of its cells are meant."""
    decorators = (
        click.argument("suite", metavar="SUITE|FILE"),
        click.option(
            "--set", "changes", multiple=True, metavar="KEY=VALUE",
            help="Change the suite, e.g. --set training.epochs=3 --set splitters.gradsplitter.alpha=0.3. Repeatable.",
        ),
        click.option(
            "--only", multiple=True, metavar="KEY=VALUE",
            help="Keep matching cells: splitter, model, dataset, seed or scenario. Repeatable.",
        ),
        click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Use the seeds 0 to N-1."),
        click.option("--retry", metavar="KIND,...", help="Run failed cells again: 'failed', or failure kinds."),
        results_option,
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


shard_option: Decorator = click.option(
    "--shard", metavar="K/N", help="Keep the K-th of N disjoint parts of the cells, for job arrays."
)


def read_cells(
    suite: str,
    changes: Sequence[str],
    only: Sequence[str],
    seeds: int | None,
    timeout: str | None = None,
    shard: str | None = None,
) -> tuple[Suite, list[SuiteCell]]:
    """Returns a suite as the options change it, and those of its cells that they keep."""
    from harness.config.expand import expand
    from harness.config.suite import load_suite, parse_only
    from harness.runs.shard import Shard

    all_changes = list(changes)
    if seeds is not None:
        all_changes.append(f"seeds={seeds}")
    if timeout is not None:
        all_changes.append(f"timeout={timeout}")
    loaded = load_suite(suite, changes=all_changes)
    part = Shard.parse(shard) if shard is not None else None
    cells = expand(loaded, only=parse_only(only) if only else None)
    return loaded, [item for item in cells if part is None or part.holds(item.cell.cell_id)]


def changed_data(cells: Sequence[SuiteCell], latest: Sequence[Row], data_root: Path | None) -> OutdatedRows:
    """Returns which rows were measured on images that have changed, and says so on stderr."""
    from harness.cli.progress import show_progress
    from harness.config.cache_folder import cache_folder
    from harness.planning.outdated_rows import find_outdated_rows

    root = data_root.absolute() if data_root else None
    changed = find_outdated_rows(
        cells, latest, data_root=root, cache=cache_folder().absolute(), progress=show_progress()
    )
    for note in changed.notes:
        click.echo(note, err=True)
    return changed


def names_sweep(name: str) -> bool:
    """Says whether a name of the package's, or a file, is a sweep and no suite: it has objectives."""
    from harness.config.suite import suite_names, sweep_names
    from harness.config.yaml_source import read_yaml

    path = Path(name)
    if name in (*suite_names(), *sweep_names()) or not path.is_file():
        return name in sweep_names()
    values, _ = read_yaml(path.read_text(encoding="utf-8", errors="replace"), name=name)
    return isinstance(values, dict) and "objectives" in values


def refuse_for_sweeps(options: Mapping[str, object]) -> None:
    """Checks that no option is given that only suites have.

    Args:
        options: Their values, by name.

    Raises:
        ConfigurationError: If one is.
    """
    from splitters.errors import ConfigurationError

    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigurationError(
            f"{', '.join(given)}: for suites only. A sweep is changed by --set KEY=VALUE, e.g. --set seeds=3."
        )


def open_store(location: str) -> ResultStore:
    """Returns the results at a folder or URI."""
    from harness.config.cache_folder import cache_folder
    from harness.store import ResultStore

    return ResultStore(location, cache=cache_folder())


def default_results(suite: Suite) -> str:
    """Returns where a suite's rows go if nobody says otherwise."""
    return f"results/{suite.name}"


def split_kinds(retry: str | None) -> tuple[str, ...]:
    """Returns the entries of ``KIND,KIND``."""
    return tuple(kind.strip() for kind in (retry or "").split(",") if kind.strip())
