"""Lines per second of every preset, from file to raw table, beside DuckDB's own reader on the same file.

    python benchmarks/presets.py [--lines 200000] [--runs 3] [PRESET ...]

Each file is made of one or two records of the documented shape, with another moment and other ids in every line. The project reads it,
rejects what breaks its contract, replaces ids by pseudonyms and writes a typed table; DuckDB reads it with `read_csv` or `read_json`, every
field a text, into a table. Both write into memory with the threads of the machine; the best of the runs counts. Lines of
products are records: one may give several events.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from persona_pipelines.logs.loading import load_events, load_listing
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse

BEGIN = dt.datetime(2024, 3, 3, 10)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
CSV = "read_csv('{file}', all_varchar = true, ignore_errors = true, strict_mode = false, {how})"
JSON = "read_json('{file}', format = 'newline_delimited', maximum_object_size = 33554432)"
SPACED = CSV.replace("{how}", "delim = ' ', quote = '\"', header = false, null_padding = true, comment = '#'")
COMMAS = CSV.replace("{how}", "delim = ',', quote = '\"', header = true")
NO_HEADER = CSV.replace("{how}", "delim = ',', quote = '\"', header = false")


@dataclass(frozen=True)
class Sample:
    """``line`` makes the line of a number; ``header`` stands before all; ``plain`` is the query of DuckDB's own reader."""

    line: Callable[[int], str]
    plain: str
    header: str = ""
    end: str = ""
    between: str = "\n"


def moment(number: int) -> dt.datetime:
    return BEGIN + dt.timedelta(seconds=number % 86_000)


def clf(number: int) -> str:
    return f"{moment(number):%d/%b/%Y:%H:%M:%S +0000}"


def iso(number: int) -> str:
    return f"{moment(number):%Y-%m-%dT%H:%M:%SZ}"


def address(number: int) -> str:
    return f"10.{number % 7}.{number // 250 % 250}.{number % 250}"


def request(number: int) -> str:
    return f'"GET /products/{number % 5000}?ref={number % 9} HTTP/1.1"'


def document(value: Callable[[int], dict[str, Any]]) -> Callable[[int], str]:
    return lambda number: json.dumps(value(number))


def tail(number: int) -> str:
    return f'{request(number)} 200 512 "https://shop.example/" "{AGENT}"'


def balancer(number: int) -> str:
    return (
        f'{iso(number)} app {address(number)}:2817 10.0.0.1:80 0.001 0.002 0.003 200 200 34 366 "GET http://shop.example:80/p/{number % 5000} '
        f'HTTP/1.1" "{AGENT}" ECDHE TLSv1.2'
    )


def ga4(number: int) -> dict[str, Any]:
    return {
        "event_date": "20240303",
        "event_timestamp": str(1709460000000000 + number * 1000),
        "event_name": "purchase",
        "user_id": f"u{number % 9000}",
        "user_pseudo_id": f"{number}.1",
        "device": {"category": "mobile"},
        "geo": {"country": "France"},
        "event_params": [
            {"key": "currency", "value": {"string_value": "EUR"}},
            {"key": "page_location", "value": {"string_value": "https://a.example/x"}},
        ],
        "items": [{"item_id": f"i{number % 5000}", "price": 5.5, "quantity": "2", "item_revenue": 11.0}],
    }


def segment(number: int) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"m{number}",
        "anonymousId": f"a{number}",
        "userId": f"u{number % 9000}",
        "timestamp": iso(number),
        "properties": {"product_id": f"i{number % 5000}", "price": 3},
        "context": {"userAgent": AGENT, "page": {"url": "https://a.example/p"}},
    }


def snowplow(number: int) -> str:
    from persona_pipelines.settings.presets import presets

    filled = {
        "event": "page_view",
        "event_name": "page_view",
        "event_id": f"e{number}",
        "collector_tstamp": f"{moment(number)}.000",
        "derived_tstamp": f"{moment(number)}.125",
        "user_id": f"u{number % 9000}",
        "domain_userid": f"d{number}",
        "useragent": AGENT,
        "page_url": "https://a.example/p",
        "geo_country": "FR",
    }
    return "\t".join(filled.get(name, "") for name in presets()["snowplow"]["format"]["columns"])


def matomo(number: int) -> dict[str, Any]:
    return {
        "idSite": 1,
        "idVisit": number,
        "visitorId": f"{number:016x}",
        "userId": None,
        "country": "France",
        "deviceType": "Smartphone",
        "actionDetails": [{"type": "action", "url": "https://a.example/p", "timestamp": 1709460000 + number, "timeSpent": 12}],
    }


def woocommerce(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "status": "processing",
        "currency": "USD",
        "date_created_gmt": f"{moment(number):%Y-%m-%dT%H:%M:%S}",
        "customer_id": 1 + number % 9000,
        "billing": {"email": "a@example.com", "country": "US"},
        "line_items": [{"id": number, "product_id": number % 5000, "quantity": 2, "total": "5.00", "price": 2.5}],
    }


def caddy(number: int) -> dict[str, Any]:
    asked = {"client_ip": address(number), "uri": f"/p/{number % 5000}?b", "headers": {"User-Agent": [AGENT]}}
    return {"logger": "http.log.access.log0", "ts": 1709460000.25 + number, "request": asked, "status": 200, "user_id": ""}


def ses(number: int) -> dict[str, Any]:
    mail = {
        "timestamp": iso(number),
        "messageId": f"m{number}",
        "destination": [f"a{number}@example.com"],
        "tags": {"ses:configuration-set": ["spring"]},
    }
    return {"eventType": "Open", "mail": mail, "open": {"timestamp": iso(number), "userAgent": AGENT}}


def nginx(number: int) -> dict[str, Any]:
    return {
        "time_iso8601": f"{moment(number):%Y-%m-%dT%H:%M:%S+01:00}",
        "remote_addr": address(number),
        "remote_user": "-",
        "request_uri": f"/p/{number % 5000}",
        "status": 200,
        "http_referer": "-",
        "http_user_agent": AGENT,
    }


def traefik(number: int) -> dict[str, Any]:
    return {
        "StartUTC": iso(number),
        "ClientHost": address(number),
        "ClientUsername": "-",
        "RequestPath": f"/p/{number % 5000}",
        "DownstreamStatus": 200,
        "request_User-Agent": AGENT,
        "request_Referer": "https://a.example/",
    }


def sendgrid(number: int) -> dict[str, Any]:
    return {
        "email": f"a{number % 9000}@example.com",
        "timestamp": 1709460000 + number,
        "event": "open",
        "sg_event_id": f"s{number}",
        "category": ["spring"],
    }


IIS = "#Fields: date time cs-method cs-uri-stem cs-uri-query cs-username c-ip cs(User-Agent) cs(Referer) sc-status\n"
CLOUDFRONT = "#Version: 1.0\n#Fields: date time c-ip cs-uri-stem sc-status cs(Referer) cs(User-Agent)\n"
PLAIN_AGENT = AGENT.replace(" ", "+")
SAMPLES: dict[str, Sample] = {
    "common": Sample(lambda n: f"{address(n)} - - [{clf(n)}] {request(n)} 200 512", SPACED),
    "combined": Sample(lambda n: f"{address(n)} - - [{clf(n)}] {tail(n)}", SPACED),
    "vhost_combined": Sample(lambda n: f"shop.example:443 {address(n)} - - [{clf(n)}] {tail(n)}", SPACED),
    "host_combined": Sample(lambda n: f"shop.example {address(n)} - - [{clf(n)}] {tail(n)}", SPACED),
    "host_common": Sample(lambda n: f"shop.example {address(n)} - - [{clf(n)}] {request(n)} 200 512", SPACED),
    "nginx_main": Sample(lambda n: f'{address(n)} - - [{clf(n)}] {tail(n)} "198.51.100.1"', SPACED),
    "icecast": Sample(lambda n: f"{address(n)} - - [{clf(n)}] {tail(n)} 30", SPACED),
    "gandi": Sample(lambda n: f"shop.example {address(n)} - - [{clf(n)}] (0 s) {tail(n)}", SPACED),
    "ovh": Sample(lambda n: f"{address(n)} shop.example - [{clf(n)}] {tail(n)}", SPACED),
    "alb": Sample(lambda n: f"h2 {balancer(n)} arn", SPACED),
    "elb": Sample(balancer, SPACED),
    "s3": Sample(
        lambda n: (
            f'79a5 bucket [{clf(n)}] {address(n)} - {n:x} REST.GET.OBJECT p{n % 5000}.png {request(n)} 200 - 113 113 7 6 "-" "{AGENT}" - host SigV4 c'
        ),
        SPACED,
    ),
    "haproxy": Sample(
        lambda n: (
            f"Mar  3 10:00:00 host haproxy[1]: {address(n)}:55 [{moment(n):%d/%b/%Y:%H:%M:%S}.100] f b/a 0/0/0/7/7 200 74 - - ---- 5/4/0/1/0 0/0 "
            f'"GET http://shop.example:80/p/{n % 5000} HTTP/1.1"'
        ),
        SPACED,
    ),
    "w3c": Sample(
        lambda n: f"{moment(n):%Y-%m-%d %H:%M:%S} {address(n)} /p/{n % 5000} 200 {PLAIN_AGENT}",
        SPACED,
        "#Fields: date time c-ip cs-uri-stem sc-status cs(User-Agent)\n",
    ),
    "iis": Sample(lambda n: f"{moment(n):%Y-%m-%d %H:%M:%S} GET /p/{n % 5000} q=1 - {address(n)} {PLAIN_AGENT} - 200", SPACED, IIS),
    "cloudfront": Sample(
        lambda n: f"{moment(n):%Y-%m-%d}\t{moment(n):%H:%M:%S}\t{address(n)}\t/p/{n % 5000}\t200\t-\tMozilla/5.0%20(X11)",
        SPACED.replace("delim = ' '", "delim = '\t'"),
        CLOUDFRONT,
    ),
    "incapsula": Sample(
        lambda n: f'{moment(n):%Y-%m-%d %H:%M:%S} "v{n}" {address(n)} "FR" "/p/{n % 5000}" "-" "{AGENT}" 200 "REQ_PASSED"',
        SPACED,
        "#Fields: date time cs-vid c-ip cs-countrycode cs-uri cs(Referrer) cs(User-Agent) sc-status sc-action\n",
    ),
    "caddy": Sample(document(caddy), JSON),
    "traefik": Sample(document(traefik), JSON),
    "nginx_json": Sample(document(nginx), JSON),
    "ga4": Sample(document(ga4), JSON),
    "segment": Sample(document(segment), JSON),
    "ses": Sample(document(ses), JSON),
    "snowplow": Sample(snowplow, CSV.replace("{how}", "delim = '\t', quote = '', header = false")),
    "matomo": Sample(document(matomo), JSON.replace("newline_delimited", "array"), "[", "]", ",\n"),
    "woocommerce": Sample(document(woocommerce), JSON.replace("newline_delimited", "array"), "[", "]", ",\n"),
    "sendgrid": Sample(document(sendgrid), JSON.replace("newline_delimited", "array"), "[", "]", ",\n"),
    "shopify": Sample(
        lambda n: f'#{n},a{n % 9000}@example.com,paid,EUR,42.00,{moment(n)} +0100,2,Red shoe,19.50,SHOE{n % 5000},FR,"a, note",',
        COMMAS,
        "Name,Email,Financial Status,Currency,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Country,Notes,Cancelled at\n",
    ),
    "kaggle_ecommerce": Sample(
        lambda n: f"{moment(n)} UTC,view,{n % 5000},2053013555631882655,electronics.smartphone,acme,99.5,{n % 9000},s{n}",
        COMMAS,
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n",
    ),
    "retailrocket": Sample(
        lambda n: f"{1433221332117 + n},{n % 9000},view,{n % 5000},", COMMAS, "timestamp,visitorid,event,itemid,transactionid\n"
    ),
    "retailrocket_categories": Sample(lambda n: f"1435460400000,{n},categoryid,{n % 1338}", COMMAS, "timestamp,itemid,property,value\n"),
    "movielens_ratings": Sample(
        lambda n: f"{n % 9000}::{n % 5000}::5::{978300760 + n}", CSV.replace("{how}", "delim = '::', quote = '', header = false")
    ),
    "movielens_ratings_csv": Sample(lambda n: f"{n % 9000},{n % 5000},5.0,{978300760 + n}", COMMAS, "userId,movieId,rating,timestamp\n"),
    "movielens_movies": Sample(
        lambda n: f"{n}::A Film, or Two (1995)::Crime|Drama", CSV.replace("{how}", "delim = '::', quote = '', header = false")
    ),
    "movielens_movies_csv": Sample(lambda n: f'{n},"A Film, The (1995)",Crime|Drama', COMMAS, "movieId,title,genres\n"),
    "yoochoose": Sample(lambda n: f"{n},{moment(n):%Y-%m-%dT%H:%M:%S}.672Z,{n % 5000},S", NO_HEADER),
    "yoochoose_buys": Sample(lambda n: f"{n},{moment(n):%Y-%m-%dT%H:%M:%S}.672Z,{n % 5000},1246,3", NO_HEADER),
}


def read_by_preset(folder: Path, name: str) -> tuple[float, int, int]:
    """Seconds, records and good records."""
    events = {
        "name": "other",
        "path": "none.csv",
        "format": "csv",
        "fields": {"timestamp": "t", "user_id": "u", "event_type": {"value": "login"}},
    }
    settings = Settings(
        name="benchmark",
        start_date="2000-01-01",
        sources=[{"name": "log", "path": "log.txt", "preset": name}, events],
        logs={"settle_seconds": 0},
        file=folder / "persona.yaml",
        home=folder / "home",
    )
    source = settings.sources[0]
    with Warehouse(None, b"k" * 32) as store:
        began = time.perf_counter()
        if source.kind == "events":
            load_events(store, source, settings, dt.date(2000, 1, 1), dt.date(2030, 1, 1))
        else:
            load_listing(store, source, settings)
        seconds = time.perf_counter() - began
        records, good = store.connection.execute(
            "SELECT count(*), count(*) FILTER (problem IS NULL AND dropped IS NULL) FROM logs.log"
        ).fetchall()[0]
    return seconds, records, good


def read_plainly(folder: Path, sample: Sample) -> float:
    with duckdb.connect() as connection:
        began = time.perf_counter()
        connection.execute("CREATE TABLE log AS SELECT * FROM " + sample.plain.format(file=folder / "log.txt"))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=sorted(SAMPLES))
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print("| preset | lines/s | DuckDB's reader, lines/s | ratio |\n| --- | --- | --- | --- |")
    ratios = []
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        for name in arguments.presets:
            sample = SAMPLES[name]
            content = sample.between.join(sample.line(number) for number in range(arguments.lines))
            (folder / "log.txt").write_text(f"{sample.header}{content}{sample.end}\n")
            runs = [read_by_preset(folder, name) for _ in range(arguments.runs)]
            _, records, good = runs[0]
            if good < 0.99 * arguments.lines:
                raise SystemExit(f"{name}: {good:,} of {records:,} records are good; the sample is not what the preset reads")
            own, plain = min(run[0] for run in runs), min(read_plainly(folder, sample) for _ in range(arguments.runs))
            ratios.append(own / plain)
            print(f"| `{name}` | {arguments.lines / own:,.0f} | {arguments.lines / plain:,.0f} | {own / plain:.1f} |", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()
