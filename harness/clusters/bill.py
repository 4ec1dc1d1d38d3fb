"""What a plan costs on a cluster: GPU hours and money, from how long such cells took before."""

from __future__ import annotations

from dataclasses import dataclass

from harness.clusters.cluster_file import ClusterFile, NodeType
from harness.plan import Plan, PlannedCell, Status
from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class Bill:
    """What the cells to do would take, as far as earlier rows tell.

    Args:
        worker: The kind of machine that would run them.
        cells: How many cells are in the sum.
        without_history: How many are not, for no earlier row tells how long they take.
        gpu_hours: Hours of GPUs, shares counted as shares.
        worker_hours: Hours of machines, each filled with as many cells as fit.
        hours: Wall time with as many machines as the file allows, at best.
        money: Workers and head, without storage and traffic; None where the file has no price.
        currency: Of the money.
    """

    worker: NodeType
    cells: int
    without_history: int
    gpu_hours: float
    worker_hours: float
    hours: float
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
    worker = _worker(to_do, cluster, gpu_share)
    on_gpu = worker.gpus > 0
    gpu_seconds = sum(_seconds(cell) * gpu_share for cell in timed if on_gpu and _wants_gpu(cell))
    worker_seconds = sum(_seconds(cell) / _slots(worker, cell, gpu_share) for cell in timed)
    longest = max((_seconds(cell) for cell in timed), default=0.0)
    hours = max(longest, worker_seconds / max(1, worker.most)) / 3600
    worker_hours = worker_seconds / 3600
    money = None
    if worker.price is not None:
        money = worker_hours * worker.price + hours * (cluster.head.price or 0.0)
    return Bill(
        worker=worker,
        cells=len(timed),
        without_history=len(to_do) - len(timed),
        gpu_hours=gpu_seconds / 3600,
        worker_hours=worker_hours,
        hours=hours,
        money=money,
        currency=cluster.notes.currency,
    )


def _seconds(cell: PlannedCell) -> float:
    return cell.seconds or 0.0


def _wants_gpu(cell: PlannedCell) -> bool:
    return cell.item.cell.device != "cpu"


def _worker(cells: list[PlannedCell], cluster: ClusterFile, gpu_share: float) -> NodeType:
    """Returns the cheapest kind of worker that has room for every cell."""
    fitting = [worker for worker in cluster.workers if all(_slots(worker, cell, gpu_share) for cell in cells)]
    if not fitting:
        threads = max(cell.item.cell.threads for cell in cells)
        kinds = ", ".join(f"{worker.name}: {worker.cpus or '?'} CPUs, {worker.gpus} GPUs" for worker in cluster.workers)
        raise ConfigurationError(
            f"{cluster.path}: no kind of worker has room for a cell with {threads} CPU threads and {gpu_share:g} GPU "
            f"({kinds or 'there are none'}). Use --set threads=N or --set device=cpu, or change the file."
        )
    with_gpus = [worker for worker in fitting if worker.gpus] if any(map(_wants_gpu, cells)) else []
    return min(with_gpus or fitting, key=lambda worker: worker.price if worker.price is not None else float("inf"))


def _slots(worker: NodeType, cell: PlannedCell, gpu_share: float) -> int:
    """Returns how many such cells a machine runs at once; one, where the file says of no resource how much there is."""
    # A share such as 0.1 has no exact binary form.
    by_gpu = int(worker.gpus / gpu_share + 1e-9)
    needs_gpu = cell.item.cell.device == "cuda" or (cell.item.cell.device == "auto" and worker.gpus > 0)
    if worker.cpus is None:
        return by_gpu if needs_gpu else 1
    by_cpu = worker.cpus // cell.item.cell.threads
    return min(by_cpu, by_gpu) if needs_gpu else by_cpu
