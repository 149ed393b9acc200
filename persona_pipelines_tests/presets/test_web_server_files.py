"""The files of web servers that the shared data has (layouts that Matomo's tests collected): each is read right, or refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import LOG_FORMATS
from persona_pipelines_tests.presets.reading import device, kept, mapped, person, problems, shown

pytestmark = pytest.mark.slow

Configure = Callable[..., Settings]
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/535.11 (KHTML, like Gecko) Chrome/17.0.963.56 Safari/535.11"
CHROME_24 = "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.17 (KHTML, like Gecko) Chrome/24.0.1312.57 Safari/537.17"
CHROME_58 = "Mozilla/5.0 (Windows NT 6.1; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/58.0.3029.110 Safari/537.36"
FIREFOX_121 = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0"
FIREFOX_90 = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.13; rv:90.0) Gecko/20100101 Firefox/90.0"
PLAYER = "NSPlayer/10.0.0.3702 WMFSDK/10.0"
GALAXY = (
    "Mozilla/5.0 (Linux; Android 4.4.4; SM-G900V Build/KTU84P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/39.0.2171.59 "
    "Mobile Safari/537.36"
)
EXPLORER = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1; Trident/4.0; .NET CLR 1.1.4322; .NET CLR 2.0.50727; .NET CLR 3.0.04506.648; "
    ".NET CLR 3.5.21022)"
)
CHROME_10 = "Mozilla/5.0 (Windows; U; Windows NT 6.1; de-DE) AppleWebKit/534.17 (KHTML, like Gecko) Chrome/10.0.649.0 Safari/534.17"
FIREFOX_3 = "Mozilla/5.0 (X11; U; Linux i686; en-US; rv:1.9.2.7) Gecko/20100722 Firefox/3.6.7"
PROMETHEUS = "Prometheus/2.40.5"
BALANCED = "https://www.example.com:443/path/index.html"
EVENING = "2012-02-10T21:42:07"
RTMP = {
    "format": "w3c",
    "fields": {
        "timestamp": {"from": ["date", "time"], "join": " "},
        "anonymous_id": {"from": ["c-ip", "c-user-agent"], "decode": "url"},
        "event_type": {"from": "x-event"},
        "item_id": "x-sname",
        "url": "x-page-url",
        "referrer": "c-referrer",
        "user_agent": {"from": "c-user-agent", "decode": "url"},
    },
    "drop_when": [{"not": {"field": "x-event", "equals": "play"}}],
}
CUSTOM = {
    "format": {
        "type": "access_log",
        "pattern": r'(?P<address>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "[A-Z]+ (?P<url>\S+) HTTP/[0-9.]+" (?P<status>\d+) \S+',
    },
    "fields": {
        "timestamp": {"from": "time", "format": "%B - %d, %Y:%H:%M:%S"},
        "anonymous_id": "address",
        "user_id": "user",
        "event_type": {"value": "page_view"},
        "url": "url",
    },
}
LOCAL_TIMES = {"fields": {"timestamp": {"from": ["date-local", "time-local"], "join": " ", "timezone": "America/New_York"}}}


def visitor(address: str, agent: str = "") -> str:
    return device(f"{address}|{agent}")


# File, preset, settings beside it, the events (time, url, user agent, visitor), how many lines are filtered, the rejects.
READ = [
    ("alb.log", "alb", {}, [("2020-01-01T00:55:04.127531", BALANCED, CHROME, visitor("1.2.3.4", CHROME))], 0, []),
    (
        "amazon_cloudfront_rtmp.log",
        None,
        RTMP,
        [
            (
                "2010-03-12T23:51:21",
                "http://www.longtailvideo.com/support/jw-player-setup-wizard",
                "LNX 10,0,32,18",
                visitor("192.0.2.222", "LNX 10,0,32,18"),
            )
        ],
        1,
        [],
    ),
    (
        "amazon_cloudfront_web.log",
        "cloudfront",
        {},
        [("2014-05-23T01:13:11", "/view/my/file.html", CHROME_10, visitor("192.0.2.10", CHROME_10))],
        0,
        [],
    ),
    (
        "caddy_json.log",
        "caddy",
        {},
        [
            ("2023-12-23T23:17:54.815561", "/beta/", FIREFOX_121, visitor("1.2.3.4", FIREFOX_121)),
            ("2023-12-23T23:17:54.901120", "/beta/assets/index-mMaLXldj.css", FIREFOX_121, visitor("1.2.3.4", FIREFOX_121)),
            ("2023-12-23T23:17:55.141868", "/beta/assets/index-HIcRLzdf.js", FIREFOX_121, visitor("1.2.3.4", FIREFOX_121)),
        ],
        0,
        [],
    ),
    ("common.log", "common", {}, [(EVENING, "/", None, device("1.2.3.4"))], 0, []),
    ("common_complete.log", "host_combined", {}, [(EVENING, "/", CHROME, visitor("1.2.3.4", CHROME))], 0, []),
    (
        "common_encoding_big5.log",
        "host_combined",
        {"format": {"type": "host_combined", "encoding": "big5"}},
        [(EVENING, "/為其兼行惡道", CHROME, visitor("1.2.3.4", CHROME))],
        0,
        [],
    ),
    ("common_encoding_big5.log", "host_combined", {}, [], 0, ["invalid UTF-8"]),
    ("common_vhost.log", "host_common", {}, [(EVENING, "/", None, device("1.2.3.4"))], 0, []),
    ("custom_regex_custom_date.log", None, CUSTOM, [("2012-02-10T16:42:07", "/", None, device("1.2.3.4"))], 0, []),
    ("custom_regex_custom_date.log", "common", {}, [], 0, ["timestamp: not readable as a time"]),
    (
        "elb.log",
        "elb",
        {"format": {"type": "elb", "comment": "#"}},
        [("2015-05-13T23:39:43.945958", BALANCED, CHROME, visitor("1.2.3.4", CHROME))],
        1,
        [],
    ),
    (
        "elb.log",
        "elb",
        {},
        [("2015-05-13T23:39:43.945958", BALANCED, CHROME, visitor("1.2.3.4", CHROME))],
        1,
        ["malformed line: not in elb format"],
    ),
    (
        "gandi.log",
        "gandi",
        {},
        [(EVENING, "/", CHROME, visitor("1.2.3.4", CHROME)), (EVENING, "/", FIREFOX_90, visitor("125.125.125.125", FIREFOX_90))],
        0,
        [],
    ),
    ("haproxy.log", "haproxy", {}, [("2018-09-25T06:05:27.584000", "/user/", None, device("4.3.2.1"))], 0, []),
    ("icecast2.log", "icecast", {}, [(EVENING, "/", CHROME, visitor("1.2.3.4", CHROME))], 0, []),
    (
        "iis.log",
        "iis",
        {},
        [("2012-04-01T00:00:13", "/foo/bar", FIREFOX_3, visitor("1.2.3.4", FIREFOX_3))],
        0,
        [],
    ),
    pytest.param(
        # The second line has no client's address, the third is a page that was not found.
        "iis_custom.log",
        "iis",
        LOCAL_TIMES,
        [("2012-08-15T21:00:00.363000", "/Products/theProduct", GALAXY, visitor("70.95.0.0", GALAXY))],
        1,
        ["user_id: missing, and anonymous_id too"],
    ),
    (
        # The second request failed.
        "incapsula_w3c.log",
        "incapsula",
        {},
        [("2017-06-28T07:26:35", "www.example.com/page.php", CHROME_58, device("a1f36498-c34a-45b9-b3a5-ee0bd00f91b6"))],
        1,
        [],
    ),
    (
        # The last request was refused with 403.
        "logs_to_tests.log",
        "combined",
        {"format": {"type": "combined", "comment": "#"}},
        [(f"2013-02-05T07:01:{second}", "/piwik.php", CHROME_24, visitor("192.0.2.10", CHROME_24)) for second in (26, 41, 46)],
        1,
        [],
    ),
    ("ncsa_extended.log", "combined", {}, [(EVENING, "/", CHROME, visitor("1.2.3.4", CHROME))], 0, []),
    pytest.param(
        "netscaler.log",
        "w3c",
        {},
        [("2012-08-16T11:55:13", "/Citrix/XenApp/Wan/auth/login.jsp", EXPLORER, visitor("172.20.1.0", EXPLORER))],
        0,
        [],
    ),
    ("nginx_json.log", "nginx_json", {}, [("2013-10-10T14:52:00", "/piwik.php", CHROME_24, device("1.2.3.4"))] * 2, 0, []),
    ("ovh.log", "ovh", {}, [(EVENING, "/", CHROME, visitor("1.2.3.4", CHROME))], 0, []),
    ("s3.log", "s3", {}, [(EVENING, "/index", CHROME, visitor("1.2.3.4", CHROME))], 0, []),
    pytest.param(
        "shoutcast.log",
        "w3c",
        {},
        [("2015-12-07T10:37:05", "/stream", PLAYER, visitor("1.2.3.4", PLAYER))],
        0,
        [],
    ),
    pytest.param(
        "splitted_date_and_time.log",
        "w3c",
        {},
        [("2015-12-07T10:37:05", "/stream", PLAYER, visitor("1.2.3.4", PLAYER))],
        0,
        [],
    ),
    (
        "static_ignores.log",
        "host_combined",
        {},
        [
            (f"2012-02-10T21:4{number + 1}:07", url, agent, visitor(f"{number + 1}.2.3.4", agent))
            for number, url in enumerate(["/", "/robots.txt", "/image.png", "/font.woff2"])
            for agent in [CHROME.replace("17.0", f"17.{number}")]
        ],
        0,
        [],
    ),
    (
        "traefik_json.log",
        "traefik",
        {},
        [("2023-08-11T11:39:21.773360", "/my/app/auth", PROMETHEUS, visitor("1.2.3.4", PROMETHEUS))],
        0,
        [],
    ),
]

ACCESS_LOGS = {
    "alb.log": "alb",
    "common.log": "common",
    "common_complete.log": "host_combined",
    "common_vhost.log": "host_common",
    "gandi.log": "gandi",
    "haproxy.log": "haproxy",
    "icecast2.log": "icecast",
    "ncsa_extended.log": "combined",
    "ovh.log": "ovh",
    "s3.log": "s3",
}


@pytest.fixture
def files(shared_data: Path) -> Path:
    folder = shared_data / "webserver-formats"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.parametrize(("name", "preset", "settings", "events", "filtered", "rejects"), READ)
def test_a_file_gives_the_events_that_its_layout_says(
    configure: Configure,
    files: Path,
    name: str,
    preset: str | None,
    settings: dict[str, Any],
    events: list[Any],
    filtered: int,
    rejects: list[str],
) -> None:
    rows = mapped(configure, str(files / name), preset, **settings)
    assert [shown(row, "timestamp", "url", "user_agent", "anonymous_id") for row in kept(rows)] == events
    assert sum(row["dropped"] is not None for row in rows) == filtered
    assert problems(rows) == rejects


def test_every_shared_file_is_in_the_table(files: Path) -> None:
    named = {(case.values if isinstance(case, ParameterSet) else case)[0] for case in READ}
    assert {file.name for file in files.glob("*.log")} == named


@pytest.mark.parametrize(
    "name", ["common.log", "common_complete.log", "common_vhost.log", "gandi.log", "icecast2.log", "ncsa_extended.log", "ovh.log"]
)
def test_a_user_that_the_server_knew_is_a_person(configure: Configure, files: Path, name: str) -> None:
    assert mapped(configure, str(files / name), ACCESS_LOGS[name])[0]["user_id"] == person("theuser")


def test_fields_beside_the_address_of_a_page_are_read(configure: Configure, files: Path) -> None:
    assert mapped(configure, str(files / "icecast2.log"), "icecast")[0]["dwell_ms"] == 1_807_000
    assert mapped(configure, str(files / "incapsula_w3c.log"), "incapsula")[0]["country"] == "SE"
    assert mapped(configure, str(files / "s3.log"), "s3")[0]["user_id"] == person("arn:aws:iam::179580289999:user/example")
    assert mapped(configure, str(files / "gandi.log"), "gandi")[1]["referrer"] == "https://www.example.com/"
    assert mapped(configure, str(files / "traefik_json.log"), "traefik")[0]["referrer"] == "www.example.com"
    assert mapped(configure, str(files / "nginx_json.log"), "nginx_json")[0]["referrer"] == "http://clearcode.cc/"
    assert mapped(configure, str(files / "amazon_cloudfront_web.log"), "cloudfront")[0]["referrer"] == "https://example.com/"
    assert mapped(configure, str(files / "iis.log"), "iis")[0]["user_id"] == person("theuser")


def test_the_streaming_log_of_cloudfront_gives_the_preset_of_its_web_log_nothing(configure: Configure, files: Path) -> None:
    found = mapped(configure, str(files / "amazon_cloudfront_rtmp.log"), "cloudfront")
    assert [row["dropped"] for row in found] == ["dropped: x-event missing False"] * 2


@pytest.mark.parametrize("preset", sorted(LOG_FORMATS))
def test_no_preset_of_another_layout_takes_a_line_for_one_of_its_own(
    configure: Configure, files: Path, preset: str, tmp_path: Path
) -> None:
    """The lines of all files in one, read by each preset."""
    lines = [(owner, line) for name, owner in ACCESS_LOGS.items() for line in (files / name).read_text().splitlines()]
    (tmp_path / "all.log").write_text("".join(f"{line}\n" for _, line in lines))
    taken = set()
    for row, (owner, _) in zip(mapped(configure, str(tmp_path / "all.log"), preset), lines, strict=True):
        if row["problem"] is None:
            taken.add(owner)
        else:
            assert row["problem"] == f"malformed line: not in {preset} format" or owner == preset, owner
    # OVHcloud's layout is the combined one with a host for the identity: what is mapped stands in the same places.
    assert taken <= {preset, *(("combined",) if preset == "ovh" else ())}
    if preset in ACCESS_LOGS.values():
        assert preset in taken
