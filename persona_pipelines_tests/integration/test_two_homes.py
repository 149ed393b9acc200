"""The same logs in two homes with two keys: the same tables but for the ids, the same metrics and pages to the last digit."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pytest
import yaml

from persona_pipelines.simulation.shop import ShopPlan, write_shop
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import KEY, needs_lightfm
from persona_pipelines_tests.integration.running import asked, with_key

pytestmark = [pytest.mark.slow, needs_lightfm]

ROOT = Path(__file__).parents[2]
PLAN = ShopPlan(users=150, days=12, seed=11, dirt=0.02, items=120)
# A few that draw by place, and a blend that learns its weights on halves of the users.
METHODS = [
    {"method": "most_popular"},
    {"method": "segment_popular"},
    {"method": "lightfm", "epochs": 3},
    {"method": "als"},
    {"method": "biased_factors"},
    {"method": "hybrid"},
]
SETTINGS: dict[str, Any] = {
    "logs": {"max_reject_share": 0.6, "settle_seconds": 0},
    "recommendations": {"minimum_interactions": 20, "methods": METHODS, "gate": {"minimum_users": 10}},
    "segments": {"algorithms": ["gaussian_mixture"], "stability_refits": 2, "maximum_k": 3, "sample_users": 100},
    "predictions": {"horizon_days": 2, "lifetime_days": 6, "minimum_users": 20, "windows": 1},
}
OTHER_KEY = b"o" * 32
IDS = ("user_id", "anonymous_id", "target_user_id")
PSEUDONYM = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
OF_THE_RUN = {"home.champions": ["since"], "home.instance": ["value"], "recommendations.model_comparison": ["mlflow_run_id"]}
"""Columns that tell when, by which run or under which key a table was made."""


class Home:
    """The state of a run: what it printed into files, its tables and its metrics."""

    def __init__(self, folder: Path, name: str, key: bytes) -> None:
        self.folder, self.home = folder, folder / name
        environment = with_key(self.home, key)
        for arguments in (["run"], ["audience", "lookalike", "seeds.csv", "--size", "20", "--output", f"{name}.csv"]):
            done = asked(folder, environment, *arguments, "--config", "persona.yaml")
            assert done.exit_code == 0, done.output

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home / "published.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def tables(self) -> dict[str, list[str]]:
        """The columns of every table that say the same in every home."""
        found: dict[str, list[str]] = {}
        for table, column in self.query(
            "SELECT table_schema || '.' || table_name, column_name FROM information_schema.columns ORDER BY 1, ordinal_position"
        ):
            if column not in OF_THE_RUN.get(table, []):
                found.setdefault(table, []).append(column)
        return found

    def metrics(self, kind: str = "metrics") -> Counter[tuple[Any, ...]]:
        """Experiment, run, name and value of every metric, or of every parameter."""
        with closing(sqlite3.connect(self.home / "mlflow.db")) as store:
            return Counter(
                store.execute(
                    f"SELECT experiments.name, runs.name, key, {kind}.value FROM {kind} JOIN runs USING (run_uuid) "
                    "JOIN experiments USING (experiment_id)"
                ).fetchall()
            )


def in_any_order(patch: pytest.MonkeyPatch) -> None:
    """Whatever is read without an order comes in another one every time, as an engine of many threads may give it."""
    generator, frame, tuples = np.random.default_rng(7), Warehouse.frame, Warehouse.tuples

    def has_order(expression: ir.Expr) -> bool:
        found = expression.op()
        while isinstance(found, (ops.Limit, ops.Project, ops.Filter, ops.DropColumns)):
            found = found.parent
        return isinstance(found, ops.Sort)

    def shuffled_frame(self: Warehouse, expression: ir.Expr) -> pd.DataFrame:
        found = frame(self, expression)
        return found if has_order(expression) else found.iloc[generator.permutation(len(found))].reset_index(drop=True)

    def shuffled_tuples(self: Warehouse, expression: ir.Table) -> list[tuple[Any, ...]]:
        found = tuples(self, expression)
        return found if has_order(expression) else [found[number] for number in generator.permutation(len(found))]

    patch.setattr(Warehouse, "frame", shuffled_frame)
    patch.setattr(Warehouse, "tuples", shuffled_tuples)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home]:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(PLAN, folder / "raw", folder / "truth")
    (folder / "seeds.csv").write_text("user\n" + "".join(f"u{number:06d}\n" for number in range(1, 40)))
    content = yaml.safe_load((ROOT / "data" / "persona.yaml").read_text())
    (folder / "persona.yaml").write_text(yaml.safe_dump({**content, **SETTINGS}))
    first = Home(folder, "first", KEY)
    with pytest.MonkeyPatch.context() as patch:
        in_any_order(patch)
        second = Home(folder, "second", OTHER_KEY)
    return first, second


@pytest.fixture(scope="module")
def same_person(homes: tuple[Home, Home]) -> dict[str, str]:
    """The pseudonyms of the first home, each with that of the second: of the same record, as told by its place."""
    first, second = homes
    pairs: dict[str, str] = {}
    for table, columns in first.tables().items():
        for column in set(IDS) & set(columns) if table.startswith("logs.") else ():
            query = f"SELECT source_file, source_line, source_part, {column} FROM {table} WHERE {column} IS NOT NULL"
            theirs = {tuple(place): found for *place, found in second.query(query)}
            pairs |= {found: theirs[tuple(place)] for *place, found in first.query(query)}
    return pairs


def renamed(value: Any, pairs: dict[str, str]) -> Any:
    return PSEUDONYM.sub(lambda found: pairs.get(found[0], found[0]), value) if isinstance(value, str) else value


def test_the_keys_give_other_pseudonyms_in_another_order(same_person: dict[str, str]) -> None:
    assert len(same_person) > 300
    assert not set(same_person) & set(same_person.values())
    assert [same_person[name] for name in sorted(same_person)] != sorted(same_person.values())


def test_every_table_is_the_same_but_for_the_ids(homes: tuple[Home, Home], same_person: dict[str, str]) -> None:
    first, second = homes
    assert first.tables() == second.tables()
    for filled in (
        "segments.user_segments",
        "profiles.user_predictions",
        "recommendations.recommendations",
        "recommendations.similar_items",
    ):
        assert first.query(f"SELECT count(*) > 10 FROM {filled}") == [(True,)], filled
    differing = {}
    for table, columns in first.tables().items():
        query = f"""SELECT {", ".join(f'"{column}"' for column in columns)} FROM {table}"""
        ours = Counter(repr([renamed(value, same_person) for value in row]) for row in first.query(query))
        theirs = Counter(repr(list(row)) for row in second.query(query))
        if ours != theirs:
            differing[table] = (min((ours - theirs).elements(), default=""), min((theirs - ours).elements(), default=""))
    assert differing == {}


def test_every_metric_is_the_same_to_the_last_digit(homes: tuple[Home, Home]) -> None:
    first, second = homes
    assert sum(first.metrics().values()) > 500
    assert {name for _, _, name, _ in first.metrics()} >= {"silhouette", "auc", "spearman", "ndcg_at_10", "rmse"}
    for kind in ("metrics", "params"):
        assert first.metrics(kind) == second.metrics(kind)


def test_pages_and_audiences_are_the_same(homes: tuple[Home, Home], same_person: dict[str, str]) -> None:
    first, second = homes
    pages = sorted(file.name for file in (first.home / "reports").glob("*.html"))
    assert pages
    for page in pages:
        assert (first.home / "reports" / page).read_bytes() == (second.home / "reports" / page).read_bytes()
    assert renamed((first.folder / "first.csv").read_text(), same_person) == (second.folder / "second.csv").read_text()
