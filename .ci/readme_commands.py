"""Runs the shell commands of a Markdown file, block by block, and stops at the first that fails.

A block that must not be run is preceded by a comment with the reason: ``<!-- not run: needs a GPU -->``.
Commands run in the folder of this checkout, with the project's environment first on the path.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?```(?:sh|bash|console)\n(?P<commands>.*?)```", re.DOTALL
)


def main() -> int:
    """Runs every block; returns the exit code of the first that fails, else 0."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    if not any(block["reason"] is None for block in blocks):
        print(f"{sys.argv[1]} holds no shell commands to run", file=sys.stderr)
        return 1
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in blocks:
        if block["reason"]:
            print(f"-- left out ({block['reason']}):\n{block['commands']}", flush=True)
            continue
        print(f"-- {block['commands']}", flush=True)
        start = time.monotonic()
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block["commands"]], env={**os.environ, "PATH": path})
        print(f"-- {time.monotonic() - start:.0f} s", flush=True)
        if done.returncode:
            print(f"failed with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
