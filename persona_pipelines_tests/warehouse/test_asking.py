"""What is said of a question in SQL that the parser does not take."""

from __future__ import annotations

import re

import pytest

from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.asking import QueryError, ask
from persona_pipelines.warehouse.connection import Warehouse


@pytest.fixture(scope="module")
def store():
    with Warehouse(None, b"\0" * 32) as store:
        store.ensure(contracts.MODEL_COMPARISON)
        store.ensure(contracts.LEAKAGE_AUDIT)
        yield store


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT case, count(*) FROM model_comparison GROUP BY ALL", ["case"]),
        ("SELECT model FROM model_comparison GROUP BY Case ORDER BY 1", ["case"]),
        ("SELECT '数据' AS é FROM model_comparison WHERE case = 'warm' AND window = 'test'", ["case", "window"]),
        ("SELECT check, passed FROM leakage_audit WHERE check = 'x' AND \"window\" = 'test'", ["check"]),
        ("SELECT CASE WHEN case = 'warm' THEN 1 END FROM model_comparison", ["case"]),
        ("SELECT CASE WHEN model = 'check' THEN 1 ENDE FROM model_comparison", []),
        ("SELECT count(*) OVER window_ FROM model_comparison WHERE", []),
        ("SELECT 1 WHERE /* case */ group", []),
        ("SELEC 1", []),
        ("SELECT 'case", []),
        ("SELECT case\x00", []),
        ("", []),
    ],
)
def test_a_column_called_like_a_word_of_sql_is_named_where_it_lacks_quotes(store, query: str, words: list[str]) -> None:
    with pytest.raises(QueryError) as refused:
        ask(store, query)
    assert re.findall(r'(\w+) is a word of SQL: as the name of a column write "\1"', str(refused.value)) == words
