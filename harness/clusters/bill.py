"""The cost of a plan on a cluster, in GPU hours and money, estimated from the durations of earlier cells."""

from __future__ import annotations

from dataclasses import dataclass

from harness.clusters.cluster_file import ClusterFile, NodeType
from harness.planning.plan import Plan, PlannedCell, Status
from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class Bill:
    """The estimated cost of the cells to do; None where the cluster file does not state the sizes of its machines.

    Args:
        worker: The type of machine that would run them; None if there is nothing to do and no worker.
        cells: Number of cells in the estimate.
        without_history: Number of cells that are not in it, because no earlier row tells their duration.
        gpu_hours: Hours of GPUs; a share of a GPU counts as that share.
        worker_hours: Hours of machines, each filled with as many cells as fit.
        hours: Wall time, at best, with as many machines as the file allows.
        money: Price of workers and head, without storage and traffic; also None if the file states no price.
        currency: Currency of ``money``.
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
    """Return what the cells to do would cost on a cluster, were its machines as fast as those of the earlier rows.

    Args:
        plan: The plan.
        cluster: The cluster.
        gpu_share: The share of a GPU that each cell owns.

    Raises:
        ConfigurationError: If no machine has room for some cell.
    """
    to_do = plan.with_status(Status.TO_DO)
    timed = [cell for cell in to_do if cell.seconds is not None]
    worker = _worker(to_do, cluster, gpu_share) if to_do or cluster.workers else None
    gpu_hours: float | None = 0.0
    worker_hours: float | None = 0.0
    hours: float | None = 0.0
    if worker is not None:
        gpu_hours = _gpu_hours(worker, timed, gpu_share)
        worker_hours = _worker_hours(worker, timed, gpu_share)
        longest = max((_seconds(cell) for cell in timed), default=0.0) / 3600
        hours = None if worker_hours is None else max(longest, worker_hours / worker.most)
    return Bill(
        worker=worker,
        cells=len(timed),
        without_history=len(to_do) - len(timed),
        gpu_hours=gpu_hours,
        worker_hours=worker_hours,
        hours=hours,
        money=_money(cluster, worker, worker_hours, hours),
        currency=cluster.notes.currency,
    )


def _money(
    cluster: ClusterFile, worker: NodeType | None, worker_hours: float | None, hours: float | None
) -> float | None:
    if worker is None or worker.price is None or worker_hours is None or hours is None:
        return None
    if worker is cluster.head:
        return hours * worker.price
    return worker_hours * worker.price + hours * (cluster.head.price or 0.0)


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
    """Return the cheapest type of worker that has room for every cell, or else the head if that has."""

    def fits(node: NodeType) -> bool:
        return node.most > 0 and all(_slots(node, cell, gpu_share) != 0 for cell in cells)

    fitting = [worker for worker in cluster.workers if fits(worker)]
    if not fitting and fits(cluster.head):
        return cluster.head
    if not fitting:
        threads = max(cell.item.cell.threads for cell in cells)
        sizes = ", ".join(
            f"{node.name}: {_known(node.cpus)} CPUs, {_known(node.gpus)} GPUs"
            for node in {node.name: node for node in (cluster.head, *cluster.workers)}.values()
        )
        raise ConfigurationError(
            f"{cluster.path}: no machine has room for a cell with {threads} CPU threads and {gpu_share:g} GPU "
            f"({sizes}). Use --set threads=N or --set device=cpu, or change the file."
        )
    with_gpus = [worker for worker in fitting if worker.gpus != 0] if any(map(_wants_gpu, cells)) else []
    return min(with_gpus or fitting, key=lambda worker: worker.price if worker.price is not None else float("inf"))


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _slots(worker: NodeType, cell: PlannedCell, gpu_share: float) -> int | None:
    """Return how many such cells a machine runs at once; None if the file states too little.

    Where only the number of GPUs is known, GPUs are taken to be the bottleneck.
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
