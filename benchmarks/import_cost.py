"""What loading the definitions costs, as a ratio to ``import dagster``: Dagster loads them at every start of every process.

python benchmarks/import_cost.py [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    statements = "import dagster", "import persona_pipelines.definitions"
    for statement in statements:
        seconds(statement)
    pairs = [(seconds(statements[0]), seconds(statements[1])) for _ in range(runs)]
    dagster, definitions = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import dagster {dagster:.2f} s, import persona_pipelines.definitions {definitions:.2f} s")
    print(f"ratio {statistics.median(mine / theirs for theirs, mine in pairs):.2f} (median of {runs})")


if __name__ == "__main__":
    main()
