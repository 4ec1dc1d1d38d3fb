"""Asks pip-audit's database about every installed package; skipped, with the reason, where it does not answer.

A known weakness that a newer version mends fails the check. One that nothing mends yet is told, and fails nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    """Audits the environment whose site-packages folder is given; returns 1 if something is to be upgraded."""
    try:
        found = audited(sys.argv[1])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        told = str(getattr(error, "stderr", "") or error).strip().splitlines()
        print(f"audit skipped: pip-audit gave no answer: {told[-1] if told else type(error).__name__}")
        return 0
    answered = [package for package in found if "skip_reason" not in package]
    if not answered:
        print(f"audit skipped: the database knows none of {len(found)} packages; is it out of reach here?")
        return 0
    to_upgrade = 0
    for package in answered:
        for weakness in package["vulns"]:
            mended = ", ".join(weakness["fix_versions"])
            to_upgrade += bool(mended)
            outlook = f"mended in {mended}" if mended else "open"
            print(f"{package['name']} {package['version']}: {weakness['id']}, {outlook}")
    print(f"{len(answered)} of {len(found)} packages audited, {to_upgrade} weaknesses to be mended by upgrades")
    return 1 if to_upgrade else 0


def audited(packages: str) -> list[dict[str, Any]]:
    """Returns what pip-audit, in an environment of its own, says about each package."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        run(sys.executable, "-m", "venv", folder)
        run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit")
        command = [str(python), "-m", "pip_audit", "--progress-spinner", "off", "--format", "json", "--path", packages]
        # Exit code 1 says that weaknesses were found.
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if not done.stdout.strip():
        raise subprocess.SubprocessError(done.stderr.strip() or f"exit code {done.returncode}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return found


def run(*command: str) -> None:
    """Runs a command, or fails with what it said."""
    subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


if __name__ == "__main__":
    sys.exit(main())
