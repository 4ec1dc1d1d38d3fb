"""The entry point of a job on a cluster: ``python -m harness.cli.clusters.job``, in the job's folder.

The arguments come in a file, so that nothing a user typed reaches a shell.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.clusters.shipment import CALL_FILE


def run() -> None:
    """Call ``splitbench`` with the arguments in ``CALL_FILE``, and exit as it does."""
    from harness.cli import main

    arguments = json.loads(Path(CALL_FILE).read_text(encoding="utf-8"))
    main(args=[str(argument) for argument in arguments], prog_name="splitbench")


if __name__ == "__main__":
    run()
