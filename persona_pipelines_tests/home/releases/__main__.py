"""Keep a small home as this version writes it: ``python -m persona_pipelines_tests.home.releases``, once for each release.

The next versions have to take it over; ``test_releases`` sees to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import yaml

from persona_pipelines import __version__
from persona_pipelines.simulation.shop import ShopPlan, write_shop

ROOT = Path(__file__).parents[3]
SOURCES = ("clickstream", "customers", "catalogue")
PERSONA = str(Path(sys.executable).parent / "persona")


def main() -> None:
    target = Path(__file__).with_name(f"{__version__}.tar.xz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(ShopPlan(users=40, days=8, seed=3, dirt=0.02, items=30), folder / "raw", folder / "truth")
        sources = yaml.safe_load((ROOT / "data" / "persona.yaml").read_text())["sources"]
        content = {
            "name": "shop",
            "start_date": "2025-09-01",
            "logs": {"max_reject_share": 0.6, "settle_seconds": 0},
            "recommendations": {"minimum_interactions": 20, "methods": [{"method": "most_popular"}, {"method": "ease"}]},
            "segments": {"algorithms": ["k_means"], "stability_refits": 2, "maximum_k": 3},
            "predictions": {"minimum_users": 10_000},
            "sources": [source for source in sources if source["name"] in SOURCES],
        }
        (folder / "persona.yaml").write_text(yaml.safe_dump(content))
        environment = {**os.environ, "PERSONA_HOME": str(folder / "home")}
        subprocess.run([PERSONA, "run", "--config", "persona.yaml"], cwd=folder, env=environment, check=True)
        with tarfile.open(target, "w:xz") as archive:
            for part in ("home", "raw", "persona.yaml"):
                archive.add(folder / part, part)
    print(target)


if __name__ == "__main__":
    main()
