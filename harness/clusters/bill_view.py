"""What a plan costs on a cluster, in one line for people and as plain values for programs."""

from __future__ import annotations

from typing import Any

from harness.clusters.bill import Bill
from harness.views.quantities import duration_text


def bill_object(bill: Bill) -> dict[str, Any]:
    """Return an estimate as plain values, for JSON."""
    return {**vars(bill), "worker": bill.worker.name if bill.worker else None}


def bill_line(bill: Bill) -> str:
    """Return an estimate in one line: hours, money, or why there is none."""
    if not bill.cells or bill.worker is None:
        reason = "no earlier row shows how long they take" if bill.without_history else "there is nothing to do"
        return f"On the cluster: no estimate: {reason}."
    if bill.worker_hours is None or bill.hours is None:
        return (
            f"On the cluster: no estimate: the file does not say how many CPUs and GPUs a {bill.worker.name} has; "
            "write it under 'resources', e.g. {CPU: 8, GPU: 1}, or for the provider local under 'metadata.splitbench'."
        )
    parts = [f"{bill.gpu_hours:.2f} GPU hours"] if bill.gpu_hours else []
    parts.append(f"{bill.worker_hours:.2f} hours of {bill.worker.name}")
    parts.append(f"{duration_text(bill.hours * 3600)} with all {bill.worker.most}")
    price = "the file names no price" if bill.money is None else f"{bill.money:.2f} {bill.currency}"
    left = f" {bill.without_history} cells without history are not in it." if bill.without_history else ""
    return (
        f"On the cluster, if its machines are as fast as those of the earlier rows: {', '.join(parts)}; {price}.{left}"
    )
