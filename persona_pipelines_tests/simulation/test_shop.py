import csv
import gzip
from pathlib import Path

from persona_pipelines.simulation.shop import ShopPlan, write_shop

PLAN = ShopPlan(users=40, days=6, seed=5, dirt=0.05)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    def contents(folder: str, plan: ShopPlan) -> dict[str, bytes]:
        write_shop(plan, tmp_path / folder, tmp_path / f"{folder}-truth")
        return {str(file.relative_to(tmp_path / folder)): file.read_bytes() for file in sorted((tmp_path / folder).rglob("*.*"))}

    first = contents("a", PLAN)
    assert contents("b", PLAN) == first
    assert contents("c", ShopPlan(users=40, days=6, seed=6, dirt=0.05)) != first


def test_the_truth_names_every_line_and_stands_in_a_folder_of_its_own(tmp_path: Path) -> None:
    written = write_shop(PLAN, tmp_path / "logs", tmp_path / "truth")
    with gzip.open(tmp_path / "truth" / "records.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == written.records
    assert {row["label"] for row in rows} == {"good", "duplicate", "broken", "bot", "static"}
    assert len({(row["source_file"], row["source_line"]) for row in rows}) == len(rows)
    dirty = sum(row["label"] == "broken" for row in rows) / sum(row["label"] in ("good", "broken") for row in rows)
    assert 0.02 < dirty < 0.09
