"""What is shown of records before anything is loaded tells nobody's id."""

from __future__ import annotations

import json
import re

import ibis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.logs.profile import LITERALS, _shape, profile_source
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import law, write


@pytest.fixture(scope="module")
def engine():
    with Warehouse(None, b"\0" * 32) as engine:
        yield engine


def shaped(engine: Warehouse, *texts: str) -> list[str]:
    table = ibis.memtable(pa.table({"number": range(len(texts)), "text": pa.array(texts, pa.string())}))
    return [text for _, text in engine.tuples(table.select("number", text=_shape(table.text)).order_by("number"))]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("null", "null"),
        ("", ""),
        ("u17", "a99"),
        ("null and void", "aaaa aaa aaaa"),
        ("Null", "aaaa"),
        ('{"id": null, "member":true,"n":7}', '{"aa": null, "aaaaaa":true,"a":9}'),
        ('{"id": "null", "name": "is null, true \\" false"}', '{"aa": "aaaa", "aaaa": "aa aaaa, aaaa \\" aaaaa"}'),
        ("[null, nullius, xtrue]", "[null, aaaaaaa, aaaaa]"),
        ('{"id": "null', '{"aa": "aaaa'),
        ('{"id":\nfalse}', '{"aa":\nfalse}'),
    ],
)
def test_of_ids_the_shape_is_shown_and_the_literals_of_json(engine, text: str, shown: str) -> None:
    assert shaped(engine, text) == [shown]


TEXTS = st.text(st.sampled_from('nulltruefasebz019 ,:"\\[]{}é\n'), max_size=30) | st.sampled_from(["null", "anna null", "true17"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**6) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@law(100)
@given(document=st.lists(DOCUMENTS, max_size=3) | st.dictionaries(TEXTS, DOCUMENTS, max_size=3))
def test_of_a_document_every_string_and_number_is_a_shape_and_every_literal_stays(engine, document: object) -> None:
    written = json.dumps(document, ensure_ascii=False)
    (shown,) = shaped(engine, written)
    assert len(shown) == len(written)
    for string in STRING.findall(shown):
        assert set(re.findall("[A-Za-z0-9]", string)) <= {"a", "9"}
    outside = STRING.sub("", shown)
    assert re.findall("[a-z]+", outside) == re.findall("[a-z]+", STRING.sub("", written))
    assert set(re.findall("[0-9]", outside)) <= {"9"}


@law(200)
@given(text=TEXTS)
def test_of_any_text_what_is_shown_beside_shapes_is_a_literal(engine, text: str) -> None:
    (shown,) = shaped(engine, text)
    assert len(shown) == len(text)
    left = re.sub(r"\b(?:null|true|false)\b", "", shown)
    assert set(re.findall("[A-Za-z0-9]", left)) <= {"a", "9"}
    assert shown == text or text not in LITERALS


def test_the_word_null_is_shown_where_a_record_is_rejected_for_it(configure, tmp_path) -> None:
    write(tmp_path, "log.csv", "at,user", "2025-09-01,null", "2025-09-01,anna17")
    fields = {"timestamp": "at", "event_type": {"value": "login"}, "user_id": "user"}
    settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
    seen = profile_source(settings.sources[0], settings, 2)
    assert list(seen.places.values()) == ["line 2: user 'null'"]
    assert "anna17" not in str(seen)
