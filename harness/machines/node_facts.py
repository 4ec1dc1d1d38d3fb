"""Facts about one machine: versions, processors, GPUs, disk, and whether it reaches the results."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

from harness.machines.provenance import git_commit, package_version
from splitters.errors import SplitbenchError

_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
_NVIDIA_SECONDS = 30.0


@dataclass(frozen=True)
class Gpu:
    """A GPU."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class NodeFacts:
    """What a machine has; versions are None where nothing is installed.

    Args:
        hostname: The machine's name.
        address: Its address in the cluster.
        splitbench: Version of this package there.
        commit: Commit of this package there.
        python: Version of Python.
        ray: Version of Ray.
        torch: Version of torch.
        cuda: Version of CUDA that torch was built for.
        driver: Version of the GPU driver.
        gpus: The GPUs.
        cpus: Number of logical processors.
        memory_bytes: Main memory.
        disk_free_bytes: Free space on the disk of the cache.
        cache: The cache folder.
        cache_trouble: Why the cache folder cannot be written to, if it cannot.
        results_trouble: Why the results cannot be written and read back; empty if they can, None if it was not tried.
    """

    hostname: str
    address: str
    splitbench: str
    commit: str | None
    python: str
    ray: str | None
    torch: str | None
    cuda: str | None
    driver: str | None
    gpus: tuple[Gpu, ...]
    cpus: int
    memory_bytes: int
    disk_free_bytes: int
    cache: str
    cache_trouble: str | None
    results_trouble: str | None


def node_facts(cache: Path, *, address: str = "", results: str | None = None) -> NodeFacts:
    """Return the facts about this machine, without loading torch or Ray, which would take seconds.

    Args:
        cache: The cache folder; it is made.
        address: The machine's address in its cluster.
        results: Folder or URI of results to write to and read from.
    """
    gpus, driver = _gpus()
    cache_trouble = _cache_trouble(cache)
    return NodeFacts(
        hostname=platform.node() or "unknown",
        address=address,
        splitbench=package_version(),
        commit=git_commit(),
        python=platform.python_version(),
        ray=_version("ray"),
        torch=_torch_fact("__version__"),
        cuda=_torch_fact("cuda"),
        driver=driver,
        gpus=gpus,
        cpus=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        disk_free_bytes=shutil.disk_usage(_existing(cache)).free,
        cache=str(cache),
        cache_trouble=cache_trouble,
        results_trouble=_results_trouble(results) if results else None,
    )


def versions() -> dict[str, str | None]:
    """Return the versions that must be equal wherever a run's cells are computed, by name.

    Commits are left out: a commit in the checkout during a run would make its workers differ for no reason.
    """
    return {
        "Splitbench": package_version(),
        "Python": platform.python_version(),
        "Ray": _version("ray"),
        "torch": _torch_fact("__version__"),
        "CUDA": _torch_fact("cuda"),
    }


def differences(expected: Mapping[str, str | None]) -> list[str]:
    """Return a description of each version in which this machine differs."""
    here = versions()
    return [
        f"{name} {here.get(name)} and not {wanted}" for name, wanted in expected.items() if here.get(name) != wanted
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch_fact(name: str) -> str | None:
    """Return an entry of torch's version file, since loading torch takes seconds."""
    facts = _torch_version_file()
    return None if facts.get(name) is None else str(facts[name])


@cache
def _torch_version_file() -> dict[str, object]:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return {}
    spec = importlib.util.spec_from_file_location("_torch_version", Path(found.origin).parent / "version.py")
    if spec is None or spec.loader is None:
        return {}
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def _gpus() -> tuple[tuple[Gpu, ...], str | None]:
    try:
        done = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=_NVIDIA_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return (), None
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.count(",") == 2]
    gpus = tuple(Gpu(name, int(memory) << 20) for name, memory, _ in rows if memory.isdecimal())
    return gpus, rows[0][2] if rows else None


def _cache_trouble(cache: Path) -> str | None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Under a unique name, since machines may share the folder and probe it at the same time.
        with tempfile.NamedTemporaryFile(dir=cache, prefix=".doctor-") as probe:
            probe.write(b"written")
    except OSError as error:
        return str(error)
    return None


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _results_trouble(location: str) -> str:
    from harness.store import ResultStore

    try:
        ResultStore(location).probe()
    except (OSError, SplitbenchError) as error:
        return str(error)
    return ""
