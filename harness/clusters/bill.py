"""What a plan costs on a cluster: GPU hours and money, from how long such cells took before."""

from __future__ import annotations

from dataclasses import dataclass

from harness.clusters.cluster_file import ClusterFile, NodeType
from harness.planning.plan import Plan, PlannedCell, Status
from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class Bill:
    """What the cells to do would take, as far as earlier rows tell.

    Args:
        worker: The kind of machine that would run them; None where there is nothing to do and no worker.
        cells: How many cells are in the sum.
        without_history: How many are not, for no earlier row tells how long they take.
        gpu_hours: Hours of GPUs, shares counted as shares; None where the file does not say whether there are any.
        worker_hours: Hours of machines, each filled with as many cells as fit; None where the file does not say how
            many do.
        hours: Wall time with as many machines as the file allows, at best; None likewise.
        money: Workers and head, without storage and traffic; None likewise, and where the file has no price.
        currency: Of the money.
    """

    worker: NodeType | None
    cells: int
    without_history: int
    gpu_hours: float | None
    worker_hours: float | None
    hours: float | None
    money: float | None
    currency: str


def bill_of(plan: Plan, cluster: ClusterFile, *, gpu_share: float = 1.0) -> Bill:
    """Returns what a plan's cells to do would cost on a cluster.

    Earlier rows say how long a cell took on the machine that it ran on then; another kind of machine takes another
    time.

    Args:
        plan: The plan.
        cluster: The cluster.
        gpu_share: The share of a GPU that each cell owns.

    Raises:
        ConfigurationError: If no worker has room for some cell.
    """
    to_do = plan.with_status(Status.TO_DO)
    timed = [cell for cell in to_do if cell.seconds is not None]
    worker = _worker(to_do, cluster, gpu_share) if to_do or cluster.workers else None
    gpu_hours: float | None = 0.0
    worker_hours: float | None = 0.0
    hours: float | None = 0.0
    money: float | None = None
    if worker is not None:
        gpu_hours = _gpu_hours(worker, timed, gpu_share)
        worker_hours = _worker_hours(worker, timed, gpu_share)
        longest = max((_seconds(cell) for cell in timed), default=0.0) / 3600
        hours = None if worker_hours is None else max(longest, worker_hours / max(1, worker.most))
        if worker_hours is not None and hours is not None and worker.price is not None:
            money = worker_hours * worker.price + hours * (cluster.head.price or 0.0)
    return Bill(
        worker=worker,
        cells=len(timed),
        without_history=len(to_do) - len(timed),
        gpu_hours=gpu_hours,
        worker_hours=worker_hours,
        hours=hours,
        money=money,
        currency=cluster.notes.currency,
    )


def _gpu_hours(worker: NodeType, cells: list[PlannedCell], gpu_share: float) -> float | None:
    wanting = [cell for cell in cells if _wants_gpu(cell)]
    if worker.gpus is None and any(cell.item.cell.device == "auto" for cell in wanting):
        return None
    return 0.0 if worker.gpus == 0 else sum(_seconds(cell) * gpu_share for cell in wanting) / 3600


def _worker_hours(worker: NodeType, cells: list[PlannedCell], gpu_share: float) -> float | None:
    seconds = 0.0
    for cell in cells:
        slots = _slots(worker, cell, gpu_share)
        if slots is None:
            return None
        seconds += _seconds(cell) / slots
    return seconds / 3600


def _seconds(cell: PlannedCell) -> float:
    return cell.seconds or 0.0


def _wants_gpu(cell: PlannedCell) -> bool:
    return cell.item.cell.device != "cpu"


def _worker(cells: list[PlannedCell], cluster: ClusterFile, gpu_share: float) -> NodeType:
    """Returns the cheapest kind of worker that has room for every cell."""
    fitting = [worker for worker in cluster.workers if all(_slots(worker, cell, gpu_share) != 0 for cell in cells)]
    if not fitting:
        threads = max(cell.item.cell.threads for cell in cells)
        kinds = ", ".join(
            f"{worker.name}: {_known(worker.cpus)} CPUs, {_known(worker.gpus)} GPUs" for worker in cluster.workers
        )
        raise ConfigurationError(
            f"{cluster.path}: no kind of worker has room for a cell with {threads} CPU threads and {gpu_share:g} GPU "
            f"({kinds or 'there are none'}). Use --set threads=N or --set device=cpu, or change the file."
        )
    with_gpus = [worker for worker in fitting if worker.gpus != 0] if any(map(_wants_gpu, cells)) else []
    return min(with_gpus or fitting, key=lambda worker: worker.price if worker.price is not None else float("inf"))


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _slots(worker: NodeType, cell: PlannedCell, gpu_share: float) -> int | None:
    """Returns how many such cells a machine runs at once; None where the file does not say enough to tell.

    On machines with a known number of GPUs and an unknown one of CPUs, GPUs are what is scarce.
    """
    by_cpu = None if worker.cpus is None else worker.cpus // cell.item.cell.threads
    device = cell.item.cell.device
    if by_cpu == 0 or device == "cpu" or (device == "auto" and worker.gpus == 0):
        return by_cpu
    if worker.gpus is None:
        return None
    # A share such as 0.1 has no exact binary form.
    by_gpu = int(worker.gpus / gpu_share + 1e-9)
    return by_gpu if by_cpu is None else min(by_cpu, by_gpu)
