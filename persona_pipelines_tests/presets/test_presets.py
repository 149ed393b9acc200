"""Every preset is whole, and reads the documented shape of its maker; the records are made up here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.presets import presets
from persona_pipelines.vocabulary import EVENT_TYPES, LOG_FORMATS
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import ingested, write
from persona_pipelines_tests.conftest import rows as found
from persona_pipelines_tests.presets.reading import device, kept, mapped, person, problems, shown

pytestmark = pytest.mark.slow

Configure = Callable[..., Settings]
WEB_SERVERS = {
    "combined",
    "common",
    "vhost_combined",
    "host_combined",
    "host_common",
    "nginx_main",
    "icecast",
    "gandi",
    "ovh",
    "alb",
    "elb",
    "s3",
    "haproxy",
    "w3c",
    "iis",
    "cloudfront",
    "incapsula",
    "caddy",
    "traefik",
    "nginx_json",
}
PRODUCTS = {
    "ga4",
    "segment",
    "snowplow",
    "matomo",
    "shopify",
    "woocommerce",
    "sendgrid",
    "ses",
    "kaggle_ecommerce",
    "retailrocket",
    "retailrocket_categories",
    "movielens_ratings",
    "movielens_ratings_csv",
    "movielens_movies",
    "movielens_movies_csv",
    "yoochoose",
    "yoochoose_buys",
}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"


def json_lines(folder: Path, *records: dict[str, Any]) -> str:
    return write(folder, "records.jsonl", *(json.dumps(record) for record in records)).name


def lines(folder: Path, *texts: str) -> str:
    return write(folder, "records.txt", *texts).name


def test_there_is_a_preset_for_each_usual_log() -> None:
    assert set(presets()) >= WEB_SERVERS | PRODUCTS


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_needs_only_a_name_and_a_path_beside_it(name: str) -> None:
    source = Source.model_validate({"name": "web", "path": "access.log", "preset": name})
    assert source.description
    assert presets()[name]["document"].startswith("https://")


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_names_event_types_of_the_vocabulary_only(name: str) -> None:
    mapping = Source.model_validate({"name": "web", "path": "access.log", "preset": name}).fields.get("event_type")
    if mapping is not None:
        named = {*(mapping.map or {}).values(), *(case.value for case in mapping.cases or [])}
        named |= {str(mapping.value)} if mapping.value is not None else set()
        assert named <= set(EVENT_TYPES)


@pytest.mark.parametrize("name", sorted(WEB_SERVERS - {"incapsula", "common", "host_common", "haproxy", "nginx_json"}))
def test_a_visitor_of_a_web_server_is_an_address_with_a_user_agent(name: str) -> None:
    source = Source.model_validate({"name": "web", "path": "access.log", "preset": name})
    assert source.fields["anonymous_id"].from_ is not None
    assert len(source.fields["anonymous_id"].from_) == 2
    assert any(condition.at_least == 400 for condition in source.drop_when)


def test_every_named_format_of_access_logs_has_a_preset() -> None:
    assert set(LOG_FORMATS) <= set(presets())


# Web servers: one record of each layout that the shared files lack


def test_vhost_combined_reads_host_and_port_before_the_line(configure: Configure, tmp_path: Path) -> None:
    line = f'shop.example:443 192.0.2.7 - - [03/Mar/2024:10:00:00 +0100] "GET /a?b=1 HTTP/1.1" 200 512 "https://shop.example/" "{AGENT}"'
    (row,) = mapped(configure, lines(tmp_path, line), "vhost_combined")
    assert shown(row, "timestamp", "url", "referrer", "user_agent", "problem") == (
        "2024-03-03T09:00:00",
        "/a",
        "https://shop.example/",
        AGENT,
        None,
    )
    assert row["anonymous_id"] == device(f"192.0.2.7|{AGENT}")


def test_nginx_main_reads_the_forwarded_address_behind_the_line(configure: Configure, tmp_path: Path) -> None:
    line = f'192.0.2.7 - ann [03/Mar/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "{AGENT}" "198.51.100.1"'
    rows = mapped(configure, lines(tmp_path, line, line.replace(' "198.51.100.1"', "")), "nginx_main")
    assert shown(rows[0], "timestamp", "url", "referrer", "user_id") == ("2024-03-03T10:00:00", "/a", None, person("ann"))
    assert problems(rows) == ["malformed line: not in nginx_main format"]


def test_nginx_json_reads_variables_under_their_own_names(configure: Configure, tmp_path: Path) -> None:
    record = {
        "time_iso8601": "2024-03-03T10:00:00+01:00",
        "remote_addr": "192.0.2.7",
        "remote_user": "-",
        "request_uri": "/a?b=1",
        "status": 200,
        "http_referer": "-",
        "http_user_agent": AGENT,
    }
    rows = mapped(configure, json_lines(tmp_path, record, {**record, "status": "404"}), "nginx_json")
    assert [row["dropped"] is None for row in rows] == [True, False]
    assert shown(rows[0], "timestamp", "url", "referrer", "user_agent", "user_id", "anonymous_id") == (
        "2024-03-03T09:00:00",
        "/a",
        None,
        AGENT,
        None,
        device("192.0.2.7"),
    )


def test_caddy_filters_what_is_no_request(configure: Configure, tmp_path: Path) -> None:
    request = {"client_ip": "192.0.2.7", "uri": "/a?b", "headers": {"User-Agent": [AGENT]}}
    access = {"logger": "http.log.access.log0", "ts": 1709460000.25, "request": request, "status": 200, "user_id": "ann"}
    rows = mapped(
        configure, json_lines(tmp_path, access, {"level": "info", "logger": "admin", "ts": 1709460000.5, "msg": "started"}), "caddy"
    )
    assert problems(rows) == []
    assert [shown(row, "timestamp", "url", "user_id") for row in kept(rows)] == [("2024-03-03T10:00:00.250000", "/a", person("ann"))]


def test_s3_counts_downloads_and_filters_other_operations(configure: Configure, tmp_path: Path) -> None:
    line = (
        "79a5 bucket [06/Feb/2024:00:00:38 +0000] 192.0.2.3 - 3E57427F3EXAMPLE REST.GET.OBJECT photo.png "
        '"GET /bucket/photo.png?x=1 HTTP/1.1" 200 - 113 113 7 6 "-" "S3Console/0.4" - hostid SigV4 cipher AuthHeader endpoint TLSv1.2 - -'
    )
    rows = mapped(configure, lines(tmp_path, line, line.replace("GET.OBJECT", "GET.VERSIONING")), "s3")
    assert problems(rows) == []
    assert [shown(row, "timestamp", "url", "user_id") for row in kept(rows)] == [("2024-02-06T00:00:38", "/bucket/photo.png", None)]


def test_cloudfront_fields_are_decoded_as_often_as_they_were_encoded(configure: Configure, tmp_path: Path) -> None:
    header = "#Version: 1.0", "#Fields: date time c-ip cs-uri-stem sc-status cs(Referer) cs(User-Agent)"
    line = "2024-03-03\t10:00:00\t192.0.2.7\t/a%2520b.html\t{}\t-\tMozilla/5.0%20(X11)"
    rows = mapped(configure, lines(tmp_path, *header, line.format("200"), line.format("000"), line.format("403")), "cloudfront")
    assert [shown(row, "timestamp", "url", "user_agent") for row in kept(rows)] == [
        ("2024-03-03T10:00:00", "/a%20b.html", "Mozilla/5.0 (X11)")
    ]
    assert problems(rows) == []


def test_iis_writes_plus_for_blanks_and_so_means_one(configure: Configure, tmp_path: Path) -> None:
    header = "#Fields: date time cs-method cs-uri-stem cs-uri-query cs-username c-ip cs(User-Agent) cs(Referer) sc-status"
    line = "2024-03-03 10:00:00 GET /a+b.aspx q=1 - 192.0.2.7 Mozilla/5.0+(Windows) https://a.example/?q=c+d 200"
    (row,) = mapped(configure, lines(tmp_path, header, line), "iis")
    assert shown(row, "timestamp", "url", "referrer", "user_agent") == (
        "2024-03-03T10:00:00",
        "/a+b.aspx",
        "https://a.example/",
        "Mozilla/5.0 (Windows)",
    )
    assert row["anonymous_id"] == device("192.0.2.7|Mozilla/5.0 (Windows)")


@pytest.mark.parametrize(
    ("preset", "line"),
    [
        (
            "alb",
            'h2 2024-03-03T10:00:00.1Z app/a/1 192.0.2.7:28 - -1 -1 -1 {} - 34 366 "GET http://a.example:80/ HTTP/1.1" "curl/7" - - arn',
        ),
        ("elb", '2024-03-03T10:00:00.1Z a 192.0.2.7:2817 - -1 -1 -1 {} 0 0 0 "GET http://a.example:80/ HTTP/1.1" "curl/7" - -'),
        (
            "haproxy",
            "Mar  3 10:00:00 host haproxy[1]: 192.0.2.7:55 [03/Mar/2024:10:00:00.100] f b/a 0/0/0/7/7 {} 74 - - ---- 5/4/0/1/0 0/0 "
            '"GET http://a.example:80/ HTTP/1.1"',
        ),
    ],
)
def test_errors_behind_load_balancers_are_filtered(configure: Configure, tmp_path: Path, preset: str, line: str) -> None:
    rows = mapped(configure, lines(tmp_path, line.format(200), line.format(503)), preset)
    assert [shown(row, "timestamp", "url") for row in kept(rows)] == [("2024-03-03T10:00:00.100000", "http://a.example:80/")]
    assert rows[1]["dropped"] == "dropped: status at_least 400.0"


# Products


def ga4_event(name: str, *items: dict[str, Any], **parameters: str) -> dict[str, Any]:
    return {
        "event_date": "20240303",
        "event_timestamp": "1709460000123456",
        "event_name": name,
        "user_id": None,
        "user_pseudo_id": "11.22",
        "event_params": [{"key": key, "value": {"string_value": value}} for key, value in parameters.items()],
        "device": {"category": "mobile"},
        "geo": {"country": "France"},
        "items": list(items),
    }


def test_ga4_gives_an_event_for_each_item(configure: Configure, tmp_path: Path) -> None:
    items = [
        {"item_id": "A", "item_name": "Ant", "price": 5.5, "quantity": "2", "item_revenue": 11.0},
        {"item_id": "B", "price": 3.0, "quantity": "1", "item_revenue": 3.0},
    ]
    event = {**ga4_event("purchase", *items, currency="EUR", page_location="https://a.example/done?x=1"), "user_id": "u1"}
    rows = mapped(configure, json_lines(tmp_path, event), "ga4")
    assert [shown(row, "event_type", "item_id", "quantity", "value", "currency") for row in rows] == [
        ("purchase", "A", 2.0, 11.0, "EUR"),
        ("purchase", "B", 1.0, 3.0, "EUR"),
    ]
    assert shown(rows[0], "timestamp", "url", "user_id", "anonymous_id", "country", "device") == (
        "2024-03-03T10:00:00.123456",
        "https://a.example/done",
        person("u1"),
        device("11.22"),
        "France",
        "mobile",
    )
    assert len({row["event_id"] for row in rows}) == 2
    assert problems(rows) == []


def test_ga4_events_reach_the_warehouse_once_each(configure: Configure, warehouse: Warehouse, tmp_path: Path) -> None:
    events = [ga4_event("purchase", {"item_id": "A", "item_revenue": 5}, {"item_id": "B", "item_revenue": 3}), ga4_event("page_view")]
    sent = [*events, events[0], ga4_event("session_start")]
    write(tmp_path, "ga4/2024-03-03.jsonl", *(json.dumps(event) for event in sent))
    ingested(warehouse, configure({"name": "ga4", "path": "ga4/{date}.jsonl", "preset": "ga4"}, start_date="2024-01-01"))
    assert found(warehouse, "SELECT event_type, item_id, value FROM events.events ORDER BY ALL") == [
        ("page_view", None, None),
        ("purchase", "A", 5.0),
        ("purchase", "B", 3.0),
    ]


def test_ga4_names_are_mapped_and_those_without_a_counterpart_filtered(configure: Configure, tmp_path: Path) -> None:
    item = {"item_id": "A", "price": 5.5}
    events = [
        ga4_event("page_view", page_referrer="https://b.example/?q", medium="email", campaign="spring"),
        ga4_event("view_item", item),
        ga4_event("view_item_list", item),
        ga4_event("select_item", item),
        ga4_event("add_to_cart", item),
        ga4_event("view_search_results", search_term="red shoes"),
        ga4_event("refund", {**item, "item_refund": 5.5}),
        ga4_event("session_start"),
        ga4_event("click"),
        ga4_event("my_own"),
    ]
    rows = mapped(configure, json_lines(tmp_path, *events), "ga4")
    assert problems(rows) == []
    assert [shown(row, "event_type", "item_id", "value") for row in kept(rows)] == [
        ("page_view", None, None),
        ("item_view", "A", None),
        ("item_list_view", "A", None),
        ("click", "A", None),
        ("add_to_cart", "A", None),
        ("search", None, None),
        ("refund", "A", 5.5),
    ]
    assert shown(rows[0], "referrer", "channel", "campaign", "user_id") == ("https://b.example/", "email", "spring", None)
    assert rows[5]["search_terms"] == "red shoes"


def segment_call(kind: str, event: str | None = None, **properties: Any) -> dict[str, Any]:
    call = {
        "type": kind,
        "messageId": f"m-{kind}-{event}",
        "anonymousId": "a1",
        "userId": "u1",
        "timestamp": "2024-03-03T11:00:00.250+01:00",
        "properties": properties,
        "context": {"userAgent": AGENT, "page": {"url": "https://a.example/p?x", "referrer": "https://b.example/"}},
    }
    return {**call, **({"event": event} if event else {})}


def test_segment_gives_an_event_for_each_product(configure: Configure, tmp_path: Path) -> None:
    products = [{"product_id": "A", "sku": "s", "price": 19.5, "quantity": 2}, {"sku": "B", "price": 3, "quantity": 1}]
    call = segment_call("track", "Order Completed", order_id="o1", currency="USD", total=50, products=products)
    rows = mapped(configure, json_lines(tmp_path, call), "segment")
    assert [shown(row, "event_type", "item_id", "quantity", "value", "currency") for row in rows] == [
        ("purchase", "A", 2.0, 39.0, "USD"),
        ("purchase", "B", 1.0, 3.0, "USD"),
    ]
    assert shown(rows[0], "timestamp", "user_id", "anonymous_id", "url", "referrer", "user_agent") == (
        "2024-03-03T10:00:00.250000",
        person("u1"),
        device("a1"),
        "https://a.example/p",
        "https://b.example/",
        AGENT,
    )
    assert len({row["event_id"] for row in rows}) == 2


def test_segment_names_are_mapped_and_own_names_filtered(configure: Configure, tmp_path: Path) -> None:
    calls = [
        segment_call("page"),
        segment_call("screen"),
        segment_call("track", "Product Viewed", product_id="A", price=3),
        segment_call("track", "Product Clicked", product_id="A"),
        segment_call("track", "product added", product_id="A", quantity=2),
        segment_call("track", "Products Searched", query="red shoes"),
        segment_call("track", "Email Opened"),
        segment_call("track", "Signed Up"),
        segment_call("track", "Product Viewed Twice"),
        segment_call("track", "Lamp Rubbed"),
        segment_call("identify"),
        segment_call("group"),
    ]
    rows = mapped(configure, json_lines(tmp_path, *calls), "segment")
    assert problems(rows) == []
    assert [shown(row, "event_type", "item_id", "quantity") for row in kept(rows)] == [
        ("page_view", None, None),
        ("page_view", None, None),
        ("item_view", "A", None),
        ("click", "A", None),
        ("add_to_cart", "A", 2.0),
        ("search", None, None),
        ("email_open", None, None),
        ("sign_up", None, None),
    ]
    assert rows[5]["search_terms"] == "red shoes"


def snowplow_line(**values: str) -> str:
    columns = presets()["snowplow"]["format"]["columns"]
    filled = {
        "event_id": "e1",
        "collector_tstamp": "2024-03-03 10:00:05.000",
        "derived_tstamp": "2024-03-03 10:00:00.125",
        "domain_userid": "d1",
        "useragent": AGENT,
        "page_url": "https://a.example/p?x",
        "page_referrer": "https://b.example/",
        "geo_country": "FR",
        **values,
    }
    assert set(filled) <= set(columns)
    return "\t".join(filled.get(name, "") for name in columns)


def test_snowplow_has_the_131_columns_in_the_documented_places() -> None:
    columns = presets()["snowplow"]["format"]["columns"]
    places = {
        "app_id": 0,
        "collector_tstamp": 3,
        "event": 5,
        "event_id": 6,
        "user_id": 12,
        "domain_userid": 15,
        "network_userid": 17,
        "geo_country": 18,
        "page_url": 29,
        "page_referrer": 31,
        "refr_medium": 44,
        "mkt_medium": 47,
        "mkt_campaign": 51,
        "contexts": 52,
        "unstruct_event": 58,
        "ti_sku": 68,
        "ti_price": 71,
        "ti_quantity": 72,
        "useragent": 77,
        "ti_currency": 112,
        "derived_tstamp": 124,
        "event_name": 126,
        "true_tstamp": 130,
    }
    assert len(columns) == 131
    assert {name: columns.index(name) for name in places} == places


def test_snowplow_page_views_and_transaction_items(configure: Configure, tmp_path: Path) -> None:
    texts = [
        snowplow_line(event="page_view", event_name="page_view", user_id="u1"),
        snowplow_line(
            event="transaction_item",
            event_name="transaction_item",
            ti_sku="A",
            ti_price="19.5",
            ti_quantity="2",
            ti_currency="EUR",
        ),
        snowplow_line(event="transaction", event_name="transaction", tr_total="39"),
        snowplow_line(event="page_ping", event_name="page_ping"),
        snowplow_line(event="struct", event_name="event", se_category="a", se_action='say "hi'),
    ]
    rows = mapped(configure, lines(tmp_path, *texts), "snowplow")
    assert problems(rows) == []
    assert [shown(row, "event_type", "item_id", "quantity", "value", "currency") for row in kept(rows)] == [
        ("page_view", None, None, None, None),
        ("purchase", "A", 2.0, 39.0, "EUR"),
    ]
    assert shown(rows[0], "timestamp", "user_id", "anonymous_id", "url", "referrer", "user_agent", "country") == (
        "2024-03-03T10:00:00.125000",
        person("u1"),
        device("d1"),
        "https://a.example/p",
        "https://b.example/",
        AGENT,
        "FR",
    )


def test_snowplow_actions_on_one_product(configure: Configure, tmp_path: Path) -> None:
    vendor = "iglu:com.snowplowanalytics.snowplow.ecommerce"
    entities = [
        {"schema": "iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0", "data": {"id": "w"}},
        {"schema": f"{vendor}/product/jsonschema/1-0-0", "data": {"id": "A", "price": 5, "currency": "EUR"}},
    ]

    def action(kind: str) -> str:
        made = {"schema": f"{vendor}/snowplow_ecommerce_action/jsonschema/1-0-2", "data": {"type": kind}}
        return snowplow_line(
            event="unstruct",
            event_name="snowplow_ecommerce_action",
            unstruct_event=json.dumps({"schema": "iglu:u", "data": made}),
            contexts=json.dumps({"schema": "iglu:c", "data": entities}),
        )

    search = {"schema": "iglu:s", "data": {"terms": ["red", "shoes"]}}
    site_search = snowplow_line(event="unstruct", event_name="site_search", unstruct_event=json.dumps({"schema": "iglu:u", "data": search}))
    kinds = ["product_view", "add_to_cart", "remove_from_cart", "list_view", "transaction"]
    rows = mapped(configure, lines(tmp_path, *map(action, kinds), site_search), "snowplow")
    assert problems(rows) == []
    assert [shown(row, "event_type", "item_id", "search_terms") for row in kept(rows)] == [
        ("item_view", "A", None),
        ("add_to_cart", "A", None),
        ("remove_from_cart", "A", None),
        ("search", None, "red shoes"),
    ]


def test_matomo_gives_an_event_for_each_action_of_a_visit(configure: Configure, tmp_path: Path) -> None:
    actions = [
        {"type": "action", "url": "https://a.example/?x", "timestamp": 1709460000, "timeSpent": 12},
        {"type": "action", "url": "https://a.example/p", "timestamp": 1709460012, "productViewSku": "A", "productViewPrice": 5},
        {"type": "search", "siteSearchKeyword": "red shoes", "timestamp": 1709460020},
        {"type": "goal", "revenue": 9, "timestamp": 1709460021},
        {
            "type": "ecommerceOrder",
            "orderId": "o1",
            "revenue": "39.5",
            "items": 2,
            "timestamp": 1709460030,
            "itemDetails": [{"itemSKU": "A", "price": 10, "quantity": 2}],
        },
    ]
    visit = {
        "idSite": 1,
        "idVisit": 7,
        "visitorId": "0123456789abcdef",
        "userId": None,
        "country": "France",
        "deviceType": "Smartphone",
        "referrerType": "search",
        "siteCurrency": "EUR",
        "actionDetails": actions,
    }
    path = write(tmp_path, "visits.json", json.dumps([visit, {**visit, "idVisit": 8, "actionDetails": []}])).name
    rows = mapped(configure, path, "matomo")
    assert problems(rows) == []
    assert [shown(row, "timestamp", "event_type", "item_id", "value") for row in kept(rows)] == [
        ("2024-03-03T10:00:00", "page_view", None, None),
        ("2024-03-03T10:00:12", "item_view", "A", None),
        ("2024-03-03T10:00:20", "search", None, None),
        ("2024-03-03T10:00:30", "purchase", None, 39.5),
    ]
    assert shown(rows[0], "url", "dwell_ms", "device", "channel", "country", "currency", "user_id", "anonymous_id") == (
        "https://a.example/",
        12000,
        "mobile",
        "search",
        "France",
        "EUR",
        None,
        device("0123456789abcdef"),
    )
    assert len({row["event_id"] for row in kept(rows)}) == 4


def test_equal_lines_of_an_order_of_shopify_are_several(configure: Configure, tmp_path: Path) -> None:
    header = "Name,Email,Financial Status,Currency,Created at,Cancelled at,Billing Country,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku"
    first, more = (
        "#1001,a@x.com,paid,EUR,2026-03-01 09:59:00 +0100,,DE,1,Shirt,10.00,S",
        "#1001,a@x.com,,,2026-03-01 09:59:00 +0100,,,1,Shirt,10.00,S",
    )
    path = lines(tmp_path, header, first, more, more, first.replace("#1001", "#1002"))
    rows = kept(mapped(configure, path, "shopify"))
    assert (len({row["event_id"] for row in rows}), sum(row["value"] for row in rows)) == (4, 40)


def test_shopify_carries_an_order_down_to_its_lines(configure: Configure, tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        "Name,Email,Financial Status,Currency,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Country,"
        "Notes,Cancelled at",
        '#1001,Ann@Example.com,paid,EUR,42.00,2024-03-03 11:00:00 +0100,2,Red shoe,19.50,SHOE-R,FR,"leave it',
        'at the door",',
        "#1001,,,,,,1,Gift card,3.00,,,,",
        "#1002,bob@example.com,refunded,EUR,3.00,2024-03-03 12:00:00 +0100,1,Gift card,3.00,,FR,,",
        "#1003,,paid,EUR,3.00,2024-03-03 12:00:00 +0100,1,Gift card,3.00,,FR,,",
        "#1004,bob@example.com,paid,EUR,3.00,2024-03-03 12:00:00 +0100,1,Gift card,3.00,,FR,,2024-03-03 13:00:00 +0100",
    )
    rows = mapped(configure, path, "shopify")
    assert problems(rows) == []
    assert [shown(row, "timestamp", "user_id", "item_id", "quantity", "value", "currency", "country") for row in kept(rows)] == [
        ("2024-03-03T10:00:00", person("ann@example.com"), "SHOE-R", 2.0, 39.0, "EUR", "FR"),
        ("2024-03-03T10:00:00", person("ann@example.com"), "Gift card", 1.0, 3.0, "EUR", "FR"),
    ]
    assert {row["event_type"] for row in kept(rows)} == {"purchase"}


@pytest.mark.parametrize(
    "beside", [{"format": {"encoding": "windows-1252"}}, {"format": {"type": "csv", "missing_columns": "empty"}}, {"drop_when": []}]
)
def test_what_stands_beside_a_preset_changes_that_and_nothing_else(configure: Configure, tmp_path: Path, beside: dict[str, Any]) -> None:
    path = lines(
        tmp_path,
        "Name,Email,Financial Status,Currency,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Country,Cancelled at",
        "#1001,ann@example.com,paid,EUR,42.00,2024-03-03 11:00:00 +0100,2,Red shoe,19.50,SHOE-R,FR,",
        "#1001,,,,,,1,Gift card,3.00,,,",
    )
    rows = mapped(configure, path, "shopify", **beside)
    assert [shown(row, "user_id", "item_id", "country") for row in kept(rows)] == [
        (person("ann@example.com"), "SHOE-R", "FR"),
        (person("ann@example.com"), "Gift card", "FR"),
    ]


def test_woocommerce_gives_an_event_for_each_line_of_a_paid_order(configure: Configure, tmp_path: Path) -> None:
    order = {
        "id": 727,
        "status": "processing",
        "currency": "USD",
        "date_created": "2024-03-03T05:00:00",
        "date_created_gmt": "2024-03-03T10:00:00",
        "date_paid_gmt": "2024-03-03T10:00:08",
        "customer_id": 26,
        "billing": {"email": "ann@example.com", "country": "US"},
        "line_items": [
            {"id": 315, "product_id": 93, "variation_id": 0, "quantity": 2, "subtotal": "6.00", "total": "5.00", "price": 2.5},
            {"id": 316, "product_id": 22, "variation_id": 23, "quantity": 1, "subtotal": "12.00", "total": "12.00", "price": 12},
        ],
    }
    guest = {**order, "id": 728, "customer_id": 0, "billing": {"email": "Guest@Example.com"}, "line_items": order["line_items"][:1]}
    path = write(tmp_path, "orders.json", json.dumps([order, guest, {**order, "id": 729, "status": "cancelled"}])).name
    rows = mapped(configure, path, "woocommerce")
    assert problems(rows) == []
    assert [shown(row, "timestamp", "event_type", "user_id", "item_id", "quantity", "value", "currency") for row in kept(rows)] == [
        ("2024-03-03T10:00:08", "purchase", person("26"), "93", 2.0, 5.0, "USD"),
        ("2024-03-03T10:00:08", "purchase", person("26"), "22", 1.0, 12.0, "USD"),
        ("2024-03-03T10:00:08", "purchase", person("guest@example.com"), "93", 2.0, 5.0, "USD"),
    ]


def test_sendgrid_events_of_people_are_kept(configure: Configure, tmp_path: Path) -> None:
    names = ["processed", "delivered", "open", "click", "bounce", "spamreport", "unsubscribe", "group_unsubscribe"]
    events = [
        {"email": "Ann@example.com", "timestamp": 1709460000, "event": name, "sg_event_id": name, "category": ["spring"]} for name in names
    ]
    events[3] |= {"url": "https://a.example/p?x", "useragent": AGENT}
    events.append({**events[2], "sg_event_id": "machine", "sg_machine_open": True, "category": "spring"})
    events[1] |= {"category": "autumn"}
    path = write(tmp_path, "posts.json", json.dumps(events[:4]), json.dumps(events[4:])).name
    rows = mapped(configure, path, "sendgrid")
    assert problems(rows) == []
    assert [shown(row, "event_type", "campaign") for row in kept(rows)] == [
        ("impression", "autumn"),
        ("email_open", "spring"),
        ("click", "spring"),
        ("unsubscribe", "spring"),
        ("unsubscribe", "spring"),
    ]
    assert shown(rows[3], "timestamp", "user_id", "event_id", "url", "user_agent", "channel") == (
        "2024-03-03T10:00:00",
        person("ann@example.com"),
        "source:click",
        "https://a.example/p",
        AGENT,
        "email",
    )


def test_ses_events_of_mails_to_one_person_are_kept(configure: Configure, tmp_path: Path) -> None:
    def event(kind: str, key: str, to: tuple[str, ...] = ("Ann@example.com",), **values: Any) -> dict[str, Any]:
        mail = {
            "timestamp": "2024-03-03T09:00:00.000Z",
            "messageId": "m",
            "destination": list(to),
            "tags": {"ses:configuration-set": ["spring"]},
        }
        return {"eventType": kind, "mail": mail, key: {"timestamp": "2024-03-03T10:00:00.5Z", **values}}

    def preferences(everything: bool) -> dict[str, Any]:
        return {"newTopicPreferences": {"unsubscribeAll": everything, "topicSubscriptionStatus": []}}

    events = [
        event("Send", "send"),
        event("Delivery", "delivery", recipients=["ann@example.com"]),
        event("Open", "open", userAgent=AGENT),
        event("Click", "click", link="https://a.example/p?x", userAgent=AGENT),
        event("Bounce", "bounce"),
        event("Open", "open", ("ann@example.com", "bob@example.com")),
        event("Subscription", "subscription", **preferences(True)),
        event("Subscription", "subscription", **preferences(False)),
    ]
    rows = mapped(configure, json_lines(tmp_path, *events), "ses")
    assert problems(rows) == []
    assert [row["event_type"] for row in kept(rows)] == ["impression", "email_open", "click", "unsubscribe"]
    assert shown(rows[3], "timestamp", "user_id", "url", "user_agent", "channel", "campaign") == (
        "2024-03-03T10:00:00.500000",
        person("ann@example.com"),
        "https://a.example/p",
        AGENT,
        "email",
        "spring",
    )


def test_kaggle_ecommerce_times_are_utc(configure: Configure, tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
        "2020-03-03 10:00:00 UTC,view,1005,2053013555631882655,electronics.smartphone,acme,99.5,541,9d0-a",
        "2020-03-03 10:00:01 UTC,cart,1005,2053013555631882655,,acme,99.5,541,9d0-a",
        "2020-03-03 10:00:02 UTC,remove_from_cart,1005,2053013555631882655,,,99.5,541,9d0-a",
        "2020-03-03 10:00:03 UTC,purchase,1005,2053013555631882655,,,99.5,541,",
    )
    rows = mapped(configure, path, "kaggle_ecommerce")
    assert problems(rows) == []
    assert [row["event_type"] for row in rows] == ["item_view", "add_to_cart", "remove_from_cart", "purchase"]
    assert shown(rows[3], "timestamp", "user_id", "item_id", "value") == ("2020-03-03T10:00:03", person("541"), "1005", 99.5)


def test_retailrocket_visitors_are_devices(configure: Configure, tmp_path: Path) -> None:
    header = "timestamp,visitorid,event,itemid,transactionid"
    path = lines(
        tmp_path, header, "1433221332117,257,view,355,", "1433221333000,257,addtocart,355,", "1433221334000,257,transaction,355,4000"
    )
    rows = mapped(configure, path, "retailrocket")
    assert problems(rows) == []
    assert [row["event_type"] for row in rows] == ["item_view", "add_to_cart", "purchase"]
    assert shown(rows[0], "timestamp", "user_id", "anonymous_id", "item_id") == ("2015-06-02T05:02:12.117000", None, device("257"), "355")


def test_retailrocket_categories_are_taken_from_one_property(configure: Configure, tmp_path: Path) -> None:
    path = lines(tmp_path, "timestamp,itemid,property,value", "1435460400000,46,categoryid,1338", "1435460400000,46,790,n360.000 77")
    rows = mapped(configure, path, "retailrocket_categories")
    assert [shown(row, "item_id", "category") for row in kept(rows)] == [("46", "1338")]
    assert problems(rows) == []


@pytest.mark.parametrize(
    ("preset", "texts"),
    [
        ("movielens_ratings", ["7::1193::5::978300760"]),
        ("movielens_ratings_csv", ["userId,movieId,rating,timestamp", "7,1193,5.0,978300760"]),
    ],
)
def test_movielens_ratings_are_values(configure: Configure, tmp_path: Path, preset: str, texts: list[str]) -> None:
    (row,) = mapped(configure, lines(tmp_path, *texts), preset)
    assert shown(row, "timestamp", "event_type", "user_id", "item_id", "value", "problem") == (
        "2000-12-31T22:12:40",
        "rating",
        person("7"),
        "1193",
        5.0,
        None,
    )


def test_movielens_films_have_all_their_genres(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes("73::Café: A Film, or Two (1995)::Crime|Drama\n".encode("latin-1"))
    (row,) = mapped(configure, "movies.dat", "movielens_movies")
    assert shown(row, "item_id", "title", "category", "categories") == ("73", "Café: A Film, or Two (1995)", "Crime", "Crime|Drama")
    path = lines(tmp_path, "movieId,title,genres", '73,"Café, The (1995)",Crime|Drama', "74,Other (1996),(no genres listed)")
    rows = mapped(configure, path, "movielens_movies_csv")
    assert [shown(row, "item_id", "title", "category", "categories", "problem") for row in rows] == [
        ("73", "Café, The (1995)", "Crime", "Crime|Drama", None),
        ("74", "Other (1996)", None, None, None),
    ]


def test_yoochoose_sessions_are_devices(configure: Configure, tmp_path: Path) -> None:
    (row,) = mapped(configure, lines(tmp_path, "11,2014-04-03T10:44:35.672Z,214821275,S"), "yoochoose")
    assert shown(row, "timestamp", "event_type", "user_id", "anonymous_id", "item_id") == (
        "2014-04-03T10:44:35.672000",
        "item_view",
        None,
        device("11"),
        "214821275",
    )
    (row,) = mapped(configure, lines(tmp_path, "420374,2014-04-06T18:44:58.314Z,214537888,1246,3"), "yoochoose_buys")
    assert shown(row, "timestamp", "event_type", "item_id", "quantity", "value") == (
        "2014-04-06T18:44:58.314000",
        "purchase",
        "214537888",
        3.0,
        3738.0,
    )


# What documented shapes need and the reader does not give yet

W3C_FIELDS = {
    "timestamp": {"from": ["date", "time"], "join": " "},
    "anonymous_id": "c-ip",
    "event_type": {"value": "page_view"},
    "url": "cs-uri-stem",
}


def test_w3c_fields_that_a_file_lacks_are_missing_values(configure: Configure, tmp_path: Path) -> None:
    path = lines(
        tmp_path, "#Fields: date time c-ip cs-uri-stem c-status cs(User-Agent)", "2024-03-03 10:00:00 192.0.2.7 /a 200 Player/1.0+(b)"
    )
    (row,) = mapped(configure, path, "w3c")
    assert shown(row, "timestamp", "url", "user_agent", "referrer") == ("2024-03-03T10:00:00", "/a", "Player/1.0 (b)", None)


def test_w3c_fields_may_come_in_later(configure: Configure, tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        "#Fields: date time c-ip cs-uri-stem",
        "2024-03-03 10:00:00 192.0.2.7 /a",
        "#Fields: date time c-ip cs-uri-stem cs(Referer)",
        "2024-03-03 10:00:01 192.0.2.7 /b /a",
    )
    rows = mapped(configure, path, None, format="w3c", fields={**W3C_FIELDS, "referrer": "cs(Referer)"})
    assert [shown(row, "url", "referrer") for row in rows] == [("/a", None), ("/b", "/a")]


def test_w3c_lines_of_blanks_are_no_records(configure: Configure, tmp_path: Path) -> None:
    path = lines(tmp_path, "#Version: 1.0", "   ", "#Fields: date time c-ip cs-uri-stem", "2024-03-03 10:00:00 192.0.2.7 /a", "  ")
    assert [row["url"] for row in mapped(configure, path, None, format="w3c", fields=W3C_FIELDS)] == ["/a"]


def test_haproxy_connections_without_a_request_are_filtered(configure: Configure, tmp_path: Path) -> None:
    line = (
        "Mar  3 10:00:00 host haproxy[1]: 192.0.2.7:55 [03/Mar/2024:10:00:00.100] f f/<NOSRV> -1/-1/-1/-1/5 400 187 - - CR-- 5/4/0/0/0 0/0 "
        '"<BADREQ>"'
    )
    rows = mapped(configure, lines(tmp_path, line), "haproxy")
    assert problems(rows) == []


def test_elements_without_their_own_id_are_not_one_event(configure: Configure, tmp_path: Path) -> None:
    fields = {
        "event_id": "items.id",
        "timestamp": "at",
        "user_id": "who",
        "event_type": {"value": "purchase"},
        "item_id": "items.sku",
    }
    record = {"at": "2024-03-03T10:00:00Z", "who": "u1", "items": [{"sku": "A"}, {"sku": "B"}]}
    rows = mapped(configure, json_lines(tmp_path, record), None, format="json", each="items", fields=fields)
    assert len({row["event_id"] for row in rows}) == 2


def test_each_reaches_into_parsed_texts(configure: Configure, tmp_path: Path) -> None:
    fields = {"timestamp": "at", "user_id": "who", "event_type": {"value": "purchase"}, "item_id": "message.items.sku"}
    record = {"at": "2024-03-03T10:00:00Z", "who": "u1", "message": json.dumps({"items": [{"sku": "A"}, {"sku": "B"}]})}
    rows = mapped(
        configure,
        json_lines(tmp_path, record),
        None,
        format="json",
        parse={"message": "json"},
        each="message.items",
        fields=fields,
    )
    assert [row["item_id"] for row in rows] == ["A", "B"]


def test_a_field_that_is_set_to_null_stays_unmapped() -> None:
    source = Source.model_validate({"name": "web", "path": "access.log", "preset": "combined", "fields": {"user_id": None}})
    assert "user_id" not in source.fields


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Mar  3 10:00:00 host haproxy[1]: ",
        "<134>Mar  3 10:00:00 haproxy[1]: ",
        "<134>Mar 13 10:00:00 host haproxy[1]: ",
        "2024-03-03T10:00:00.123456+01:00 web-1 haproxy[1]: ",
        "<134>1 2024-03-03T10:00:00Z web-1 haproxy 1 - - ",
        '<134>1 2024-03-03T10:00:00Z web-1 haproxy 1 ID47 [a@1 b="c\\]"][d e="f"] ',
    ],
)
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_haproxy_may_stand_behind_any_header_of_syslog(configure: Configure, tmp_path: Path, header: str, address: str) -> None:
    line = f'{header}{address}:55 [03/Mar/2024:10:00:00.100] f b/a 0/0/0/7/7 200 74 - - ---- 5/4/0/1/0 0/0 "GET /a HTTP/1.1"'
    rows = mapped(configure, lines(tmp_path, line, f"something {line}"), "haproxy")
    assert [shown(row, "timestamp", "url") for row in kept(rows)] == [("2024-03-03T10:00:00.100000", "/a")]
    assert rows[1]["problem"] == "malformed line: not in haproxy format"


def test_haproxy_writes_counts_that_went_on_and_clients_that_were_gone(configure: Configure, tmp_path: Path) -> None:
    line = '192.0.2.7:55 [03/Mar/2024:10:00:00.100] f b/a 10/0/30/69/+109 {} - - CR-- 5/4/0/1/0 0/0 "GET /a HTTP/1.1"'
    rows = mapped(configure, lines(tmp_path, line.format("200 +2750"), line.format("-1 0")), "haproxy")
    assert problems(rows) == []
    assert [row["url"] for row in kept(rows)][:1] == ["/a"]
