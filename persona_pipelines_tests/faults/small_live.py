"""The command line with a live service that ends its files, compacts its journal and swaps its snapshots all the time: ``python -m ... serve ...``.

What prepares a snapshot is a process of its own; it is this one too.
"""

from __future__ import annotations

import sys

from persona_pipelines.cli import main
from persona_pipelines.serving import intake, journal, keeping

PREPARE = "prepare"


def small() -> None:
    """Some hundred events are a file, two files are compacted."""
    journal.LARGEST_FILE, journal.OLDEST_FILE_SECONDS, intake.FINISH_SECONDS = 2**14, 1.0, 0.3
    keeping.COMPACTED_BYTES, keeping.LOOK_SECONDS = 2**15, 0.3
    keeping.PROCESS = ("-m", "persona_pipelines_tests.faults.small_live", PREPARE)  # type: ignore[assignment]


if __name__ == "__main__":
    small()
    if sys.argv[1] == PREPARE:
        del sys.argv[1]
        keeping.main()
    else:
        main()
