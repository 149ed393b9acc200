"""Columns and keys that come up in a later file are said; what was always there, or comes and goes, is not."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from persona_pipelines.logs.loading import load_events
from persona_pipelines.logs.profile import profile_source
from persona_pipelines_tests.conftest import CLICKS, DAY, HEADER, write

LATER = DAY + dt.timedelta(days=1)


def loaded(warehouse, settings, first, last) -> list[str]:
    return load_events(warehouse, settings.sources[0], settings, first, last).warnings


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
def test_a_column_that_no_earlier_file_had_is_said(warehouse, configure, tmp_path, together) -> None:
    write(tmp_path, f"clicks/{DAY}.csv", HEADER, "1,2025-09-01T10:00:00Z,item_view,ann,,i1,,")
    write(tmp_path, f"clicks/{LATER}.csv", f"{HEADER},tenant,shop", "2,2025-09-02T10:00:00Z,item_view,bob,,i1,,,a,b")
    settings = configure(CLICKS)
    said = [f"clicks/{LATER}.csv: new columns 'tenant', 'shop': no file of clicks had it before; map it or leave it"]
    if together:
        assert loaded(warehouse, settings, DAY, LATER) == said
    else:
        assert loaded(warehouse, settings, DAY, DAY) == []
        assert loaded(warehouse, settings, LATER, LATER) == said
    assert loaded(warehouse, settings, DAY, DAY) == []


def test_a_key_of_many_records_is_said_one_that_comes_and_goes_is_not(warehouse, configure, tmp_path) -> None:
    source = {
        **CLICKS,
        "path": "clicks/{date}.json",
        "format": "json_lines",
        "fields": {"event_id": "id", "timestamp": "at", "event_type": {"value": "item_view"}, "user_id": "user.id", "item_id": "item"},
    }

    def line(number: int, day: dt.date, **more) -> str:
        user = {"id": f"u{number}", **more.pop("user", {})}
        return json.dumps({"id": number, "at": f"{day}T10:00:00Z", "user": user, "item": "i1", **more})

    write(tmp_path, f"clicks/{DAY}.json", *(line(number, DAY) for number in range(100)))
    later = [line(200 + number, LATER, user={"consent": True}, **({"odd": 1} if number == 5 else {})) for number in range(100)]
    write(tmp_path, f"clicks/{LATER}.json", *later, "no JSON at all", "[]")
    assert loaded(warehouse, configure(source), DAY, LATER) == [
        f"clicks/{LATER}.json: new column 'user.consent': no file of clicks had it before; map it or leave it"
    ]


def test_what_is_mapped_is_no_news(warehouse, configure, tmp_path) -> None:
    source = {
        **CLICKS,
        "path": "clicks/{date}.json",
        "format": "json_lines",
        "fields": {
            "timestamp": "at",
            "event_type": {"value": "search"},
            "user_id": "user.id",
            "search_terms": "search.terms",
            "campaign": 'tags[key="a.b"].value',
        },
    }
    record = {"at": f"{DAY}T10:00:00Z", "user": {"id": "ann"}}
    write(tmp_path, f"clicks/{DAY}.json", json.dumps(record))
    more = {"search": {"terms": "red", "results": 3}, "tags": [{"key": "a.b", "value": "x"}]}
    write(tmp_path, f"clicks/{LATER}.json", json.dumps({**record, "at": f"{LATER}T10:00:00Z", **more}))
    assert loaded(warehouse, configure(source), DAY, LATER) == [
        f"clicks/{LATER}.json: new column 'search.results': no file of clicks had it before; map it or leave it"
    ]


def test_a_name_that_stands_twice_is_said_and_the_first_is_read(warehouse, configure, tmp_path) -> None:
    source = {
        **CLICKS,
        "path": "clicks/{date}.json",
        "format": "json_lines",
        "fields": {"event_id": "id", "timestamp": "at", "event_type": {"value": "item_view"}, "user_id": "user.id", "item_id": "item"},
    }
    line = '{"id": 1, "at": "2025-09-01T10:00:00Z", "user": {"id": "ann", "id": "bob"}, "item": "i1", "item": "i2"}'
    write(tmp_path, f"clicks/{DAY}.json", line)
    assert loaded(warehouse, configure(source), DAY, DAY) == [
        f"clicks/{DAY}.json: {name!r} stands twice in one object: the first is read" for name in ("id", "item")
    ]
    assert warehouse.connection.execute("SELECT item_id FROM logs.clicks").fetchall() == [("i1",)]


@pytest.mark.slow
def test_a_column_that_stands_twice_is_said(warehouse, configure, tmp_path) -> None:
    write(tmp_path, f"clicks/{DAY}.csv", f"{HEADER},note,note", "1,2025-09-01T10:00:00Z,item_view,ann,,i1,,,x,y")
    settings, told = configure(CLICKS), f"clicks/{DAY}.csv: 'note' stands twice in the header: the first is read"
    assert loaded(warehouse, settings, DAY, DAY) == [told]
    assert told in profile_source(settings.sources[0], settings, 1).hints
