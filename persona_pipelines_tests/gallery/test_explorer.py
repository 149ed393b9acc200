"""The page of groups: sums over enough people alone, whatever is subtracted from what; one script, allowed by its digest."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.gallery.cube import cube, too_few
from persona_pipelines.gallery.explorer import explorer
from persona_pipelines.gallery.page import page
from persona_pipelines.gallery.texts import LANGUAGES
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.gallery.test_gallery import Reader, gallery

MINIMUM = 20


def people(seed: int, count: int, rare: float = 0.1) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user_id": [f"{number:032x}" for number in range(count)],
            "segment_id": generator.choice([1, 2], count, p=[1 - rare, rare]),
            "lifecycle_stage": generator.choice(np.array(["new", "loyal", None], dtype=object), count, p=[0.6, 0.3, 0.1]),
            "country": generator.choice(["DE", "FR", "<b>XX</b>"], count, p=[0.7, 0.28, 0.02]),
            "purchases": generator.poisson(1, count),
            "consent_marketing": generator.random(count) < 0.6,
            "monetary_value": generator.gamma(1, 50, count),
            "purchase_probability": generator.random(count),
            "churn_probability": np.where(generator.random(count) < 0.5, generator.random(count), np.nan),
        }
    )


@law(60)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 400), rare=st.floats(0, 1))
def test_neither_a_cell_nor_what_is_left_out_is_about_fewer_than_may_be_shown(seed: int, count: int, rare: float) -> None:
    users = people(seed, count, rare)
    found = cube(users, {1: "One", 2: "Two"}, MINIMUM)
    assert (found.cells["users"] >= MINIMUM).all()
    assert found.left_out is None or found.left_out >= MINIMUM or found.cells.empty
    assert found.cells["users"].sum() + (found.left_out or 0) == count


@law(200)
@given(counts=st.lists(st.integers(0, 60), max_size=12))
def test_what_is_hidden_is_together_enough_people_or_all_there_are(counts: list[int]) -> None:
    found = np.array(counts, dtype=int)
    hidden = too_few(found, 20)
    assert not hidden[found == 0].any(), "that there is nobody is told"
    assert (found[~hidden & (found > 0)] >= 20).all()
    together = found[hidden].sum()
    assert together == 0 or together >= 20 or together == found.sum()
    if together >= 20 and (found[found >= 20].size or 0):
        # No more than has to be: without the largest hidden one of enough people too few would be hidden.
        enough = found[hidden & (found >= 20)]
        assert enough.size <= 1


def test_of_few_people_fewer_things_are_told_apart_and_most_are_still_there() -> None:
    """Of 400 people hardly any combination of five things is common."""
    found = cube(people(3, 400), {1: "One", 2: "Two"}, MINIMUM)
    assert found.dimensions
    assert len(found.dimensions) < 5
    assert (found.left_out or 0) <= 100
    assert len(cube(people(3, 40_000), {1: "One", 2: "Two"}, MINIMUM).dimensions) == 5


def test_sums_are_those_of_the_people() -> None:
    users = people(3, 4000)
    found = cube(users, {1: "One", 2: "Two"}, MINIMUM)
    cell = found.cells.iloc[0]
    mine = users[
        (users["segment_id"] == {"One": 1, "Two": 2}[cell["segment"]])
        & (users["lifecycle_stage"].fillna("") == cell["stage"])
        & (users["country"] == cell["country"])
        & ((users["purchases"] > 0) == (cell["bought"] == "yes"))
        & (users["consent_marketing"] == (cell["reachable"] == "yes"))
    ]
    assert cell["users"] == len(mine)
    assert np.isclose(cell["spent"], mine["monetary_value"].sum())
    assert np.isclose(cell["leaving"], mine["churn_probability"].sum())


def test_the_page_holds_no_person_and_one_script_with_its_digest() -> None:
    users = people(5, 600)
    for language in LANGUAGES:
        text = explorer(gallery(people=users, minimum=MINIMUM), language)
        reader = Reader()
        reader.feed(text)
        assert reader.open == []
        assert reader.loaded == []
        assert not re.search(r"https?://|[0-9a-f]{32}", text)
        script = re.search(r"<script>(.*?)</script>", text, re.S)
        assert script is not None
        digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in text
        assert "default-src 'none'" in text
        held = re.search(r'id="data">(.*?)</script>', text, re.S)
        assert held is not None
        data = json.loads(held[1])
        assert all(cell[data["columns"].index("users")] >= MINIMUM for cell in data["cells"])
        assert text == explorer(gallery(people=users, minimum=MINIMUM), language)


def test_what_comes_from_the_data_is_never_markup() -> None:
    users = people(5, 3000).assign(country=lambda frame: frame["country"].where(frame["segment_id"] == 1, "</script><i>x"))
    text = explorer(gallery(people=users, minimum=MINIMUM), "en")
    assert "</script><i>" not in text
    assert text.count("</script>") == 2


def test_both_pages_have_one_head() -> None:
    both = explorer(gallery(people=people(5, 600)), "en"), page(gallery(), "en")
    heads = [
        re.sub(r"<title>.*?</title>|; script-src[^\"]*|select \{.*?label \{.*?\}\n", "", text.partition("<body>")[0], flags=re.S)
        for text in both
    ]
    assert heads[0] == heads[1]
    assert heads[0].startswith('<!doctype html>\n<html lang="en">\n<head>\n<meta charset')
