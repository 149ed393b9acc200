"""Questions in SQL read the published tables and nothing else."""

from __future__ import annotations

import json

import pytest

from persona_pipelines.files import digest_of
from persona_pipelines_tests.cli.conftest import Told

pytestmark = pytest.mark.slow


def test_an_answer_in_each_form(told: Told) -> None:
    query = "SELECT segment_name, count(*) AS users, max(as_of_date) AS day FROM user_profiles GROUP BY ALL ORDER BY ALL"
    expected = told.rows("SELECT segment_name, count(*), max(as_of_date)::text FROM profiles.user_profiles GROUP BY ALL ORDER BY ALL")
    found = json.loads(told.asked("sql", query, "--json").stdout)
    assert [tuple(row.values()) for row in found] == expected
    text = told.asked("sql", query, "--format", "csv").stdout.splitlines()
    assert text[0] == "segment_name,users,day"
    assert len(text) == 1 + len(expected)
    assert "segment_name" in told.asked("sql", query).stdout
    # The same with the schema before the table, and where nothing is found.
    assert json.loads(told.asked("sql", "SELECT 1 AS one FROM profiles.user_profiles LIMIT 0", "--json").stdout) == []
    assert told.asked("sql", "SELECT 1 AS one FROM profiles.user_profiles LIMIT 0").stdout == "no rows\n\n"
    assert "column_name" in told.asked("sql", "DESCRIBE user_profiles").stdout


@pytest.mark.parametrize(
    ("query", "told_of"),
    [
        ("DELETE FROM events.events", "found DELETE; expected one query that reads (SELECT, "),
        ("DROP TABLE events.events", "found DROP; "),
        ("CREATE TEMP TABLE x AS SELECT 1", "found CREATE; "),
        ("INSERT INTO events.events SELECT * FROM events.events", "found INSERT; "),
        ("ATTACH '{folder}/x.duckdb'", "found ATTACH; "),
        ("COPY events.events TO '{folder}/x.csv'", "found COPY; "),
        ("EXPORT DATABASE '{folder}/x'", "found EXPORT; "),
        ("INSTALL httpfs", "found INSTALL or LOAD; "),
        ("SET enable_external_access = true", "found SET or USE; "),
        ("PRAGMA database_list", "found PRAGMA; "),
        ("SELECT 1; DROP TABLE events.events", "found 2 statements; expected one query"),
        ("", "found no statements; expected one query"),
        ("SELECT * FROM read_text('{folder}/persona.yaml')", "a query reads the published tables alone, no files and no other database"),
        ("SELECT * FROM read_csv('{folder}/raw/customers.csv')", "a query reads the published tables alone"),
        ("SELECT * FROM glob('{folder}/*')", "a query reads the published tables alone"),
        ("SELECT * FROM '{folder}/raw/customers.csv'", "Error: "),
        ("SELECT * FROM query('ATTACH ''{folder}/x.duckdb''')", "Error: "),
        ("SELECT 1 AS a, 2 AS a", "found a as the name of 2 columns; expected a name for each"),
        ("SELECT * FROM user_profile", 'Did you mean "user_profiles"?'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT \x00", "Error: "),
    ],
)
def test_what_does_anything_but_read_is_refused(told: Told, query: str, told_of: str) -> None:
    before = digest_of(told.home / "published.duckdb")
    done = told.asked("sql", query.format(folder=told.folder))
    assert done.exit_code == 1, done.output
    assert told_of in done.stderr
    assert done.stdout == ""
    assert digest_of(told.home / "published.duckdb") == before
    assert sorted(told.folder.glob("x*")) == []
