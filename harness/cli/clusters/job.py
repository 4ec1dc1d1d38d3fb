"""The entry point of a job on a cluster: ``python -m harness.cli.clusters.job``, in the job's folder.

The call comes in a file, so that no word of a user's ever stands in a command line that a shell reads.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.clusters.shipment import CALL_FILE


def run() -> None:
    """Calls ``splitbench`` with the words of ``CALL_FILE``, and exits as it does."""
    from harness.cli import main

    words = json.loads(Path(CALL_FILE).read_text(encoding="utf-8"))
    main(args=[str(word) for word in words], prog_name="splitbench")


if __name__ == "__main__":
    run()
