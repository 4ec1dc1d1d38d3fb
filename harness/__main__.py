"""``python -m harness`` is ``splitbench``."""

from harness.cli import main

main(prog_name="splitbench")
