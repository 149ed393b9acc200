"""Configurations in ``data/configs`` run to the end: with ``PERSONA_TEST_EFFORT=1`` every one, on a thousandth of its data and on the whole of it."""

from __future__ import annotations

import gzip
import re
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from persona_pipelines_tests.conftest import EFFORT, public_data
from persona_pipelines_tests.integration.running import QUICK, Run

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

CONFIGS = Path(__file__).parents[2] / "data" / "configs"
NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
ALWAYS = ("ratings",)
"""A run takes half a minute: the others run by hand."""
BY_HAND = "minutes each: with PERSONA_TEST_EFFORT=1"
FEWEST_LINES = 100
LISTED = 9_000
"""A file with fewer lines is a list, which is of use as a whole alone."""


def part_of(data: Path, folder: Path, share: float) -> Path:
    """The begin of each file of the public data sets that the configurations read."""
    for name in ("apache-access-log", "pkdd99-berka-subset", "movielens-100k", "online-retail", "open-bandit"):
        (folder / name).mkdir(parents=True)
        for file in sorted((data / name).iterdir()):
            small = folder / name / file.name
            if file.suffix == ".parquet":
                table = pq.read_table(file)
                pq.write_table(table.slice(0, max(FEWEST_LINES, round(table.num_rows * share))), small)
            elif file.suffix == ".gz":
                small.write_bytes(gzip.compress(_begin(gzip.decompress(file.read_bytes()), share)))
            elif file.is_file():
                small.write_bytes(_begin(file.read_bytes(), share))
    return folder


def _begin(text: bytes, share: float) -> bytes:
    lines = text.splitlines(keepends=True)
    return text if len(lines) < LISTED else b"".join(islice(lines, max(FEWEST_LINES, round(len(lines) * share))))


def rating_csv(data: Path, file: Path, count: int) -> Path:
    """The plainest file of all: ``rating.csv`` of user, item and rating."""
    lines = gzip.decompress((data / "movielens-100k" / "ml-100k.inter.gz").read_bytes()).decode().splitlines()[1 : count + 1]
    file.write_text("user_id,item_id,rating\n" + "".join(",".join(line.split("\t")[:3]) + "\n" for line in lines))
    return file


@pytest.fixture(scope="module")
def thousandth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return part_of(public_data(), tmp_path_factory.mktemp("thousandth"), 0.001)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.skipif(EFFORT < 1, reason=BY_HAND)) for name in NAMES]
)
def test_a_thousandth_of_a_public_data_set_runs_to_the_end(name: str, thousandth: Path, tmp_path: Path) -> None:
    ratings = rating_csv(public_data(), tmp_path / "rating.csv", 1_200)
    others = re.sub(rf"(?m)^(?:{'|'.join(QUICK)}):.*\n(?:[ #].*\n|\n)*", "", (CONFIGS / f"{name}.yaml").read_text())
    configuration = tmp_path / "persona.yaml"
    configuration.write_text(others + yaml.safe_dump(QUICK))
    run = Run(tmp_path, configuration, PERSONA_SHARED_DATA=str(thousandth), RATING_CSV=str(ratings))
    run.adds_up()
    assert run.rows("events.events") > 0
    people = run.rows("segments.user_segments")
    assert run.pages() == (["persona-gallery-en.html", "persona-gallery-zh.html"] if people else [])
    assert run.false_claims() == []
    assert run.rows("recommendations.recommendations") > 0 or "no lists: " in run.warnings


@pytest.mark.skipif(EFFORT < 1, reason=BY_HAND)
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_public_data_set_runs_to_the_end(name: str, tmp_path: Path) -> None:
    data = public_data().absolute()
    ratings = rating_csv(data, tmp_path / "rating.csv", 100_000)
    run = Run(tmp_path, CONFIGS / f"{name}.yaml", PERSONA_SHARED_DATA=str(data), RATING_CSV=str(ratings))
    run.adds_up()
    assert run.pages() == ["persona-gallery-en.html", "persona-gallery-zh.html"]
    assert run.false_claims() == []
    assert run.rows("recommendations.recommendations") > 0
