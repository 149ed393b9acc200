"""The checker of claims asks a warrant for what names say: of their traits, and of what tells them from their namesakes."""

from pathlib import Path

import duckdb
import pytest

from persona_pipelines.gallery.texts import Language
from persona_pipelines_tests.gallery.warrants import Warrants

SPEND, OWLS = "Average customers who spend more", "Small spenders"


def tables(folder: Path, spent: tuple[float, float], garden: tuple[float, float], names: tuple[str, str], description: str = "") -> Path:
    """Published tables of two segments of twenty people, by what each of these spent and the share of their interest in Garden."""
    file = folder / "published.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA segments; CREATE SCHEMA features")
        connection.execute("CREATE TABLE segments.segment_profiles (segment_id INT, segment_name TEXT, description TEXT)")
        connection.executemany("INSERT INTO segments.segment_profiles VALUES (?, ?, ?)", [[n, names[n - 1], description] for n in (1, 2)])
        connection.execute("CREATE TABLE segments.user_segments AS SELECT i AS user_id, 1 + i % 2 AS segment_id FROM range(40) t(i)")
        connection.execute(
            f"CREATE TABLE features.user_features AS SELECT i AS user_id, [{spent[0]}, {spent[1]}][1 + i % 2] + i / 100 AS monetary_value FROM range(40) t(i)"
        )
        connection.execute("CREATE TABLE features.feature_support AS SELECT 'monetary_value' AS feature, 'measured' AS support")
        connection.execute(
            f"CREATE TABLE features.category_shares AS SELECT i AS user_id, 'Garden' AS category, [{garden[0]}, {garden[1]}][1 + i % 2] AS interest_share FROM range(40) t(i)"
        )
    return file


def findings(file: Path, heading: str, language: Language = "en") -> list[str]:
    return Warrants(f'<article id="segment-1"><h3>{heading}</h3></article>', file, language).check()


@pytest.mark.parametrize(
    ("heading", "language"),
    [(SPEND, "en"), ("普通顾客（其中消费较高）", "zh")],
)
def test_what_tells_a_name_from_its_namesake_has_to_be_true_of_it(tmp_path, heading: str, language: Language) -> None:
    names = (SPEND, "Average customers")
    (tmp_path / "true").mkdir()
    assert findings(tables(tmp_path / "true", (90.0, 10.0), (0.5, 0.5), names), heading, language) == []
    (found,) = findings(tables(tmp_path, (10.0, 90.0), (0.5, 0.5), names), heading, language)
    assert "is not true against segment 2: monetary_value is 10" in found


@pytest.mark.parametrize(
    ("heading", "language"),
    [("Average customers who lean more to Garden", "en"), ("普通顾客（其中更偏向Garden）", "zh")],
)
def test_people_who_lean_to_a_category_have_more_of_it_than_their_namesakes(tmp_path, heading: str, language: Language) -> None:
    names = ("Average customers who lean more to Garden", "Average customers 2")
    (tmp_path / "true").mkdir()
    assert findings(tables(tmp_path / "true", (1.0, 1.0), (0.6, 0.5), names), heading, language) == []
    (found,) = findings(tables(tmp_path, (1.0, 1.0), (0.52, 0.5), names), heading, language)
    assert "Garden has 0.520 of them and 0.500 of the others" in found


def test_a_namesake_that_people_have_renamed_is_still_compared_with(tmp_path) -> None:
    file = tables(tmp_path, (10.0, 90.0), (0.5, 0.5), (SPEND, "Ann's"))
    assert len(findings(file, SPEND)) == 1


@pytest.mark.parametrize("heading", ["Small spenders", "消费较低"])
def test_a_trait_of_a_name_has_to_be_true(tmp_path, heading: str) -> None:
    (tmp_path / "true").mkdir()
    language: Language = "en" if heading == OWLS else "zh"
    assert findings(tables(tmp_path / "true", (10.0, 90.0), (0.5, 0.5), (OWLS, "Ann's")), heading, language) == []
    assert len(findings(tables(tmp_path, (90.0, 10.0), (0.5, 0.5), (OWLS, "Ann's")), heading, language)) == 1


def test_of_a_name_that_its_card_takes_back_nothing_is_asked(tmp_path) -> None:
    stale = "The name is that of the training; its people of today do not differ from the others in that way."
    assert findings(tables(tmp_path, (90.0, 10.0), (0.5, 0.5), (OWLS, "Ann's"), stale), OWLS) == []
