import pytest

from persona_pipelines.events.checks import list_that_misses_the_events, records_that_differ
from persona_pipelines.events.listings import refresh_items, refresh_users
from persona_pipelines.logs.loading import load_listing
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.settings import load_settings
from persona_pipelines.settings.whole import received_items_file
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS, KEY, at, events_table, rows, write

SHOP = {
    "name": "shop",
    "kind": "items",
    "path": "shop.csv",
    "format": "csv",
    "fields": {"item_id": "id", "price": "price", "category": "kind"},
}
PEOPLE = {
    "name": "people",
    "kind": "users",
    "path": "people.csv",
    "format": "csv",
    "fields": {"user_id": "id", "consent_personalisation": "ok"},
}


def written_events(warehouse, *events) -> None:
    warehouse.ensure(contracts.EVENTS)
    warehouse.append(contracts.EVENTS, events_table(warehouse, *events))


def test_the_catalogue_is_completed_by_what_was_bought(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "shop.csv", "id,price,kind", "a,10,tools", "a,11,tools", "b,cheap,tools", "c,3,toys")
    settings = configure(CLICKS, SHOP)
    load_listing(warehouse, settings.sources[1], settings)
    bought = {"event_type": "purchase", "user_id": "u", "item_id": "z", "timestamp": at(1)}
    seen = {**bought, "event_type": "item_view"}
    paid = {**bought, "item_id": "a", "value": 7.0}
    written_events(
        warehouse, {**bought, "value": 4.0, "quantity": 2.0}, {**bought, "value": 3.0, "quantity": 1.0}, {**seen, "item_id": "c"}, paid
    )
    for _ in range(2):  # a second time gives the same
        refresh_items(warehouse, settings)
        assert rows(warehouse, "SELECT item_id, price, listed_price, category, categories, in_catalogue FROM events.items ORDER BY 1") == [
            ("a", 10, 10, "tools", "tools", True),
            ("c", 3, 3, "toys", "toys", True),
            ("z", 2.5, None, None, None, False),
        ]
        assert rows(warehouse, "SELECT source_line, reason FROM events.rejects") == [(4, "price: not a number")]
        assert rows(warehouse, "SELECT source_line FROM events.duplicates") == [(3,)]


def test_consent_is_what_the_list_says_and_otherwise_the_default(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "people.csv", "id,ok", "ann,yes", "bob,no", "cid,")
    names = {pseudonym(name, KEY): name for name in ("ann", "bob", "cid", "dan")}
    written_events(warehouse, {"event_type": "page_view", "user_id": pseudonym("dan", KEY), "timestamp": at(1)})
    for default in (False, True):
        settings = configure(CLICKS, PEOPLE, privacy={"consent_when_unknown": default})
        load_listing(warehouse, settings.sources[1], settings)
        refresh_users(warehouse, settings)
        found = {names[user]: consent for user, consent in rows(warehouse, "SELECT user_id, consent_personalisation FROM events.users")}
        assert found == {"ann": True, "bob": False, "cid": default, "dan": default}


def test_a_country_is_that_of_the_list_and_else_that_of_the_events(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "people.csv", "id,land", "ann,NZ", "bob,")
    people = {**PEOPLE, "fields": {"user_id": "id", "country": "land"}}
    names = {pseudonym(name, KEY): name for name in ("ann", "bob", "dan")}
    written_events(
        warehouse,
        *({"event_type": "page_view", "user_id": user, "timestamp": at(1), "country": "CL"} for user in names),
        {"event_type": "page_view", "user_id": None, "anonymous_id": "x", "timestamp": at(1)},
    )
    settings = configure(CLICKS, people)
    load_listing(warehouse, settings.sources[1], settings)
    refresh_users(warehouse, settings)
    found = rows(warehouse, "SELECT user_id, country, listed_country, in_customer_list FROM events.users")
    assert {names[user]: tuple(said) for user, *said in found} == {
        "ann": ("NZ", "NZ", True),
        "bob": ("CL", None, True),
        "dan": ("CL", None, False),
    }
    assert len(found) == 3


def test_records_of_a_list_that_say_different_things_are_said(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "shop.csv", "id,price,kind", "a,10,tools", "b,3,toys", "b,3,toys", "a,10,toys", "c,1,toys", "a,10,tools")
    settings = configure(CLICKS, SHOP)
    load_listing(warehouse, settings.sources[1], settings)
    written_events(warehouse)
    refresh_items(warehouse, settings)
    assert rows(warehouse, "SELECT event_id, source_line, differs FROM events.duplicates ORDER BY source_line") == [
        ("b", 4, False),
        ("a", 5, True),
        ("a", 7, False),
    ]
    told = "1 items stand in records that say different things of them, such as that of shop.csv, line 5: the first record of each counts"
    assert records_that_differ(warehouse, ["shop"], "items") == told
    assert records_that_differ(warehouse, ["other"], "items") is None


@pytest.mark.parametrize("with_catalogue", [True, False])
def test_rows_that_the_live_service_has_received_complete_a_list_and_are_none(warehouse, configure, tmp_path, with_catalogue: bool) -> None:
    """A row that says what is out of stock now differs from the catalogue's, and a single one is no catalogue that most items are missing from."""
    write(tmp_path, "shop.csv", "id,price,kind", "a,10,tools", "b,3,toys", "c,1,toys")
    home = configure(CLICKS, *([SHOP] if with_catalogue else [])).home
    received_items_file(home).parent.mkdir(parents=True)
    received_items_file(home).write_text('{"item_id": "a", "in_stock": false}\n')
    settings = load_settings(tmp_path / "persona.yaml")
    for source in settings.sources_of("items"):
        load_listing(warehouse, source, settings)
    written_events(warehouse, *({"event_type": "item_view", "user_id": "u", "item_id": item, "timestamp": at(1)} for item in "abc"))
    refresh_items(warehouse, settings)
    lists = settings.lists_of("items")
    assert ([source.name for source in settings.sources_of("items")], lists) == (
        [*lists, "live_items"],
        ["shop"] if with_catalogue else [],
    )
    assert records_that_differ(warehouse, lists, "items") is None
    assert list_that_misses_the_events(warehouse, contracts.ITEMS, lists) is None
    assert rows(warehouse, "SELECT count(*) FROM events.items WHERE in_catalogue") == [(3 if with_catalogue else 1,)]


def test_a_dropped_record_of_a_list_need_not_have_an_id(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "shop.csv", "id,price,kind", "a,10,tools", ",3,toys")
    settings = configure(CLICKS, {**SHOP, "drop_when": [{"field": "kind", "equals": "toys"}]})
    load_listing(warehouse, settings.sources[1], settings)
    refresh_items(warehouse, settings)
    assert rows(warehouse, "SELECT event_id, reason FROM events.filtered") == [("shop.csv:3", "dropped: kind equals toys")]
