"""The shop's logs, day by day, with every line's truth."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from persona_pipelines.days import begin_of
from persona_pipelines.simulation.dirt import SPOILERS
from persona_pipelines.simulation.people import CATEGORIES, Device, Item, Person, make_items, make_people

BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "python-requests/2.32.3",
)
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
)
STEALTHY = ("scraper", "tireless", "flood", "reader", "patient")
"""Robots that call themselves browsers: one that takes the magazine in an hour, one that goes on all day at a person's pace, one that
tries passwords, one that asks for robots.txt first and is gone after a few pages, and one that does no more than a person would."""
HEADERS = {
    "orders": "order_line_id,customer,ordered_at,item,quantity,currency,paid,refunded",
    "ratings": "user_id,item_id,rating,timestamp",
    "email": "message_id,sent_at,customer,action,campaign",
}
ENDINGS = {
    "web": "log.gz",
    "clickstream": "jsonl.gz",
    "orders": "csv",
    "ratings": "csv",
    "social": "jsonl.gz",
    "email": "csv.gz",
}
SEARCHES = ("gift", "sale", "blue lantern", "café crème", "Robert'); DROP TABLE users;--", "<b>tent</b>", "=1+1", "子供", "wine & cheese")
DUPLICATE_SHARE, LATE_SHARE, REDELIVERED_SHARE = 0.01, 0.01, 0.005
SHORTEST_PAUSE = dt.timedelta(minutes=45)


@dataclass(frozen=True)
class ShopPlan:
    """Size and seed of a simulation.

    Attributes:
        dirt: the share of broken records in every source.
        stealth_bots: robots a day in the magazine's access log that call themselves browsers.
    """

    users: int = 1000
    days: int = 42
    start: dt.date = dt.date(2025, 9, 1)
    seed: int = 20
    dirt: float = 0.01
    items: int = 400
    stealth_bots: int = 0


@dataclass(frozen=True)
class Written:
    files: int
    records: int


@dataclass
class Line:
    """One line to write: ``label`` is good, static, bot, stealth bot, duplicate or broken; ``person`` and ``visit`` are the truth."""

    raw: bytes
    label: str = "good"
    kind: str = ""
    person: str = ""
    visit: str = ""


@dataclass
class _Day:
    lines: dict[str, list[Line]] = field(default_factory=lambda: {source: [] for source in ENDINGS})


class _Shop:
    def __init__(self, plan: ShopPlan) -> None:
        self.plan = plan
        self.generator = np.random.default_rng(plan.seed)
        # Of its own, so that the people do the same with and without these robots.
        self.robots = np.random.default_rng([plan.seed, 1])
        self.items = make_items(self.generator, plan.items)
        self.people = make_people(self.generator, plan.users, plan.start)
        self.by_category = [[item for item in self.items if item.category == category] for category in CATEGORIES]
        self.days = [_Day() for _ in range(plan.days)]
        self.sequence = 0
        self.last_visit_end: dict[str, dt.datetime] = {}

    def next_id(self, prefix: str) -> str:
        self.sequence += 1
        return f"{prefix}{self.sequence:08d}"

    def add(self, day: int, source: str, text: str, person: str, visit: str, label: str = "good") -> None:
        self.days[day].lines[source].append(Line(text.encode(), label, "", person, visit))

    def pick_item(self, person: Person) -> Item:
        category = int(self.generator.choice(len(CATEGORIES), p=person.tastes))
        candidates = self.by_category[category]
        fit = np.array(
            [item.popularity * np.exp(-((item.price_quantile - person.persona.price_quantile) ** 2) / 0.08) for item in candidates]
        )
        return candidates[int(self.generator.choice(len(candidates), p=fit / fit.sum()))]

    def visit_start(self, person: Person, day: int) -> dt.datetime | None:
        """A time by the persona's rhythm that lies well apart from the last visit of the person and their device."""
        centre, spread = person.persona.hours
        hour = float(self.generator.normal(centre, spread)) % 24
        start = begin_of(self.plan.start + dt.timedelta(days=day)) + dt.timedelta(hours=hour)
        start = start.replace(microsecond=0)
        for who in (person.user_id, *(device.cookie for device in person.devices)):
            if who in self.last_visit_end and abs(start - self.last_visit_end[who]) < SHORTEST_PAUSE:
                return None
            if who in self.last_visit_end and start < self.last_visit_end[who]:
                return None
        return start

    def end_visit(self, person: Person, end: dt.datetime) -> None:
        for who in (person.user_id, *(device.cookie for device in person.devices)):
            self.last_visit_end[who] = end

    def clickstream(
        self,
        day: int,
        at: dt.datetime,
        event: str,
        person: Person,
        device: Device,
        logged_in: bool,
        visit: str,
        *,
        item: Item | None = None,
        dwell: float | None = None,
        terms: str | None = None,
        channel: str = "direct",
    ) -> None:
        record: dict[str, object] = {
            "id": self.next_id("e"),
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "event": event,
            "user": {"cookie": device.cookie, **({"id": person.user_id} if logged_in else {})},
            "context": {"ip": device.address, "agent": device.agent, "channel": channel, "country": person.country},
            "page": {"path": f"/item/{item.item_id}?ref=list" if item else "/search" if terms else "/"},
        }
        if item:
            record["item"] = {"id": item.item_id}
        if terms:
            record["search"] = {"terms": terms}
        if dwell is not None:
            record["page"] |= {"dwell_ms": int(dwell * 1000), "scroll_pct": int(min(100, 20 + dwell))}  # type: ignore[operator]
        self.add(day, "clickstream", json.dumps(record, ensure_ascii=False, separators=(",", ":")), person.user_id, visit)

    def shop_visit(self, person: Person, day: int, start: dt.datetime, visit: str, came_from: str | None) -> None:
        persona, generator = person.persona, self.generator
        device = person.devices[int(generator.integers(len(person.devices)))]
        at = start
        length = 1 + int(generator.poisson(persona.events_a_visit))
        roll = generator.random()
        login_at = 0 if roll < 0.35 else int(generator.integers(1, length + 1)) if roll < 0.65 else length + 1
        buys = generator.random() < persona.buying * 2
        if not person.known:
            login_at, buys = length + 1, False
        if buys:
            login_at = min(login_at, length - 1)
        channel = came_from or ("direct", "search", "social", "ads")[int(generator.choice(4, p=[0.45, 0.3, 0.15, 0.1]))]
        self.clickstream(day, at, "page", person, device, login_at == 0, visit, dwell=float(generator.exponential(8)), channel=channel)
        viewed: list[Item] = []
        for number in range(length):
            at += dt.timedelta(seconds=1 + int(min(generator.lognormal(np.log(persona.dwell_seconds), 0.7), 1500)))
            logged_in = number >= login_at
            if number == login_at and number > 0:
                self.clickstream(day, at, "login", person, device, True, visit, channel=channel)
                at += dt.timedelta(seconds=2)
            if generator.random() < persona.searching:
                terms = SEARCHES[int(generator.integers(len(SEARCHES)))]
                self.clickstream(day, at, "search", person, device, logged_in, visit, terms=terms, channel=channel)
                continue
            item = self.pick_item(person)
            viewed.append(item)
            dwell = float(generator.lognormal(np.log(persona.dwell_seconds), 0.6)) if generator.random() < 0.8 else None
            self.clickstream(day, at, "view", person, device, logged_in, visit, item=item, dwell=dwell, channel=channel)
            if person.known and generator.random() < persona.social:
                action = ("like", "share", "comment", "follow")[int(generator.choice(4, p=[0.6, 0.2, 0.15, 0.05]))]
                at += dt.timedelta(seconds=3)
                social = {
                    "id": self.next_id("s"),
                    "at": int(at.timestamp() * 1000),
                    "actor": person.user_id,
                    "action": action,
                    "object": item.item_id,
                }
                self.add(day, "social", json.dumps(social, separators=(",", ":")), person.user_id, visit)
        if buys and viewed:
            at = self.checkout(person, day, at, viewed, device, visit, channel)
        elif viewed and generator.random() < 0.15:
            at += dt.timedelta(seconds=5)
            self.clickstream(day, at, "add", person, device, length >= login_at, visit, item=viewed[-1], channel=channel)
        if person.known and person.bought and generator.random() < persona.rating:
            at += dt.timedelta(seconds=20)
            item_id = person.bought.pop(0)
            stars = int(np.clip(round(generator.normal(4.0, 1.0)), 1, 5))
            utc = int(at.replace(tzinfo=dt.UTC).timestamp())
            self.add(day, "ratings", f"{person.user_id},{item_id},{stars},{utc}", person.user_id, visit)
        self.end_visit(person, at)

    def checkout(
        self, person: Person, day: int, at: dt.datetime, viewed: list[Item], device: Device, visit: str, channel: str
    ) -> dt.datetime:
        generator = self.generator
        basket = {int(number) for number in generator.integers(len(viewed), size=1 + int(generator.poisson(0.7)))}
        order = self.next_id("o")
        for position, number in enumerate(sorted(basket), start=1):
            item, quantity = viewed[number], 1 + int(generator.poisson(0.2))
            at += dt.timedelta(seconds=6)
            self.clickstream(day, at, "add", person, device, True, visit, item=item, channel=channel)
            refunded = "yes" if generator.random() < 0.03 else "no"
            when = (at + dt.timedelta(seconds=30)).strftime("%d.%m.%Y %H:%M:%S")
            line = f"{order}-{position},{person.user_id},{when},{item.item_id},{quantity},EUR,{item.price * quantity:.2f},{refunded}"
            self.add(day, "orders", line, person.user_id, visit)
            person.bought.append(item.item_id)
        return at + dt.timedelta(seconds=30)

    def web_line(self, at: dt.datetime, device_address: str, agent: str, user: str, path: str, referrer: str = "-") -> str:
        size = int(self.generator.integers(500, 40_000))
        return f'{device_address} - {user} [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET {path} HTTP/1.1" 200 {size} "{referrer}" "{agent}"'

    def magazine_visit(self, person: Person, day: int, start: dt.datetime) -> None:
        generator = self.generator
        device = person.devices[int(generator.integers(len(person.devices)))]
        user = person.user_id if person.known and generator.random() < 0.5 else "-"
        visit, at = self.next_id("v"), start
        for _ in range(1 + int(generator.poisson(2))):
            page = (
                f"/magazine/{CATEGORIES[int(generator.choice(len(CATEGORIES), p=person.tastes))].lower()}/{int(generator.integers(1, 60))}"
            )
            self.add(day, "web", self.web_line(at, device.address, device.agent, user, page), person.user_id, visit)
            for asset in ("/static/site.css", f"/static/{page.rsplit('/', 1)[1]}.png"):
                if generator.random() < 0.3:
                    line = self.web_line(at + dt.timedelta(seconds=1), device.address, device.agent, user, asset, page)
                    self.add(day, "web", line, person.user_id, visit, "static")
            at += dt.timedelta(seconds=3 + int(min(generator.lognormal(np.log(person.persona.dwell_seconds), 0.7), 1500)))
        self.end_visit(person, at)

    def bots(self, day: int) -> None:
        generator = self.generator
        midnight = begin_of(self.plan.start + dt.timedelta(days=day))
        for _ in range(max(2, self.plan.users // 60)):
            agent = BOTS[int(generator.integers(len(BOTS)))]
            address = f"203.0.113.{int(generator.integers(1, 250))}"
            at = midnight + dt.timedelta(seconds=int(generator.integers(80_000)))
            for step in range(1 + int(generator.poisson(2))):
                page = f"/magazine/{CATEGORIES[int(generator.integers(len(CATEGORIES)))].lower()}/{int(generator.integers(1, 60))}"
                self.add(day, "web", self.web_line(at + dt.timedelta(seconds=step), address, agent, "-", page), "", "", "bot")

    def stealth_bots(self, day: int) -> None:
        midnight = begin_of(self.plan.start + dt.timedelta(days=day))
        for number in range(self.plan.stealth_bots):
            kind = STEALTHY[number % len(STEALTHY)]
            agent, address = BROWSERS[int(self.robots.integers(len(BROWSERS)))], f"198.51.100.{int(self.robots.integers(1, 250))}"
            at = midnight + dt.timedelta(seconds=int(self.robots.integers(80_000) if kind != "tireless" else self.robots.integers(1_800)))
            for step, (pause, path) in enumerate(self.robot_path(kind)):
                at += dt.timedelta(seconds=pause)
                if at >= midnight + dt.timedelta(days=1):
                    break
                line = f'{address} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET {path} HTTP/1.1" 200 {1000 + step} "-" "{agent}"'
                self.days[day].lines["web"].append(Line(line.encode(), "stealth bot", kind, "", ""))

    def robot_path(self, kind: str) -> list[tuple[int, str]]:
        """Seconds before each request, and what is asked for."""
        pages = [f"/magazine/{category.lower()}/{number}" for category in CATEGORIES for number in range(1, 60)]
        if kind == "flood":
            return [(int(self.robots.integers(1, 20)), "/account/login") for _ in range(int(self.robots.integers(100, 400)))]
        if kind == "reader":
            return [
                (0, "/robots.txt"),
                *((int(self.robots.integers(2, 30)), str(page)) for page in self.robots.choice(pages, 6, replace=False)),
            ]
        if kind == "patient":
            return [(int(self.robots.integers(600, 3600)), str(page)) for page in self.robots.choice(pages, 12, replace=False)]
        if kind == "tireless":
            return [(int(self.robots.integers(60, 900)), str(page)) for page in self.robots.choice(pages, 250)]
        return [(int(self.robots.integers(1, 8)), str(page)) for page in self.robots.permutation(pages)]

    def mail(self, day: int) -> set[str]:
        """Newsletters to about one in seven of those who agreed; returns who clicks."""
        date = self.plan.start + dt.timedelta(days=day)
        clicking: set[str] = set()
        for person in self.people:
            if not (person.consent[1] and person.known) or self.generator.random() > 1 / 7:
                continue
            sent = dt.datetime.combine(date, dt.time(5, int(self.generator.integers(60)), int(self.generator.integers(60))))
            if self.last_visit_end.get(person.user_id, sent - 2 * SHORTEST_PAUSE) > sent - SHORTEST_PAUSE:
                continue
            campaign = f"newsletter-{date:%G-w%V}"
            self.add(
                day, "email", f"{self.next_id('m')},{sent.isoformat()},{person.user_id},sent,{campaign}", person.user_id, self.next_id("v")
            )
            self.end_visit(person, sent)
            if self.generator.random() < person.persona.clicks_on_mail:
                clicking.add(person.user_id)
        return clicking

    def simulate_day(self, day: int) -> None:
        weekend = (self.plan.start + dt.timedelta(days=day)).weekday() >= 5
        self.bots(day)
        self.stealth_bots(day)
        clicking = self.mail(day)
        for person in self.people:
            rate = person.persona.visits_a_day * (person.persona.weekend if weekend else 1.0)
            clicked = person.user_id in clicking
            for _ in range(max(int(self.generator.poisson(rate)), int(clicked))):
                start = self.visit_start(person, day)
                if start is None:
                    continue
                if clicked:
                    campaign, visit = f"newsletter-{self.plan.start + dt.timedelta(days=day):%G-w%V}", self.next_id("v")
                    line = f"{self.next_id('m')},{start.isoformat()},{person.user_id},clicked,{campaign}"
                    self.add(day, "email", line, person.user_id, visit)
                    self.shop_visit(person, day, start + dt.timedelta(seconds=4), visit, "email")
                    clicked = False
                elif self.generator.random() < person.persona.magazine:
                    self.magazine_visit(person, day, start)
                else:
                    self.shop_visit(person, day, start, self.next_id("v"), None)

    def spoil(self) -> None:
        """Break records, repeat some, deliver some a day late. Order within a file stays as written."""
        generator = self.generator
        for number, day in enumerate(self.days):
            for source, lines in day.lines.items():
                kept: list[Line] = []
                for line in lines:
                    if line.label == "good" and generator.random() < self.plan.dirt:
                        kinds = SPOILERS[source]
                        kind = list(kinds)[int(generator.integers(len(kinds)))]
                        kept.append(Line(kinds[kind](generator, line.raw.decode()), "broken", kind, line.person, line.visit))
                        continue
                    late = line.label == "good" and source == "clickstream" and generator.random() < LATE_SHARE
                    if late and number + 1 < len(self.days):
                        self.days[number + 1].lines[source].append(Line(line.raw, "good", "late", line.person, line.visit))
                        continue
                    kept.append(line)
                    if line.label != "good" or line.kind:
                        continue
                    if generator.random() < DUPLICATE_SHARE:
                        kept.append(Line(line.raw, "duplicate", "same day", line.person, line.visit))
                    elif generator.random() < REDELIVERED_SHARE and number + 1 < len(self.days) and source != "web":
                        self.days[number + 1].lines[source].append(Line(line.raw, "duplicate", "next day", line.person, line.visit))
                day.lines[source] = kept


def write_shop(plan: ShopPlan, folder: Path, truth: Path, on_day: Callable[[], object] = lambda: None) -> Written:
    """Write the logs of a simulated shop below ``folder`` and the truth below ``truth``.

    ``folder``: items.csv, customers.csv, and for each source a folder with a file a day.
    ``truth``: users.csv (user, persona, shares a device), records.csv.gz (source, file, line, label, kind, person, visit).
    """
    shop = _Shop(plan)
    for number in range(plan.days):
        shop.simulate_day(number)
        on_day()
    shop.spoil()
    folder.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    files = records = 0
    rows: list[tuple[object, ...]] = []
    for number, day in enumerate(shop.days):
        date = plan.start + dt.timedelta(days=number)
        for source, lines in day.lines.items():
            content = [HEADERS[source].encode()] if source in HEADERS else []
            name = f"{source}/{date:%Y-%m-%d}.{ENDINGS[source]}"
            rows += [
                (source, name, len(content) + place, line.label, line.kind, line.person, line.visit)
                for place, line in enumerate(lines, start=1)
            ]
            content += [line.raw for line in lines]
            _write(folder / name, b"".join(line + b"\n" for line in content))
            files, records = files + 1, records + len(lines)
    _write(
        folder / "items.csv",
        _csv(
            ("item_id", "title", "category", "brand", "price", "currency"),
            [(item.item_id, item.title, item.category, item.brand, item.price, "EUR") for item in shop.items],
        ),
    )
    _write(
        folder / "customers.csv",
        _csv(
            ("customer", "email", "signup", "country", "gender", "age_group", "personalisation", "marketing"),
            [
                (
                    person.user_id,
                    f"{person.user_id}@example.com",
                    person.signup,
                    person.country,
                    person.gender,
                    person.age_group,
                    *("yes" if consent else "no" for consent in person.consent),
                )
                for person in shop.people
                if person.known
            ],
        ),
    )
    _write(
        truth / "users.csv",
        _csv(("user_id", "persona", "known"), [(person.user_id, person.persona.name, person.known) for person in shop.people]),
    )
    _write(truth / "records.csv.gz", _csv(("source", "source_file", "source_line", "label", "kind", "person", "visit"), rows))
    return Written(files + 2, records)


def _csv(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _write(file: Path, content: bytes) -> None:
    """The same content gives the same bytes, compressed too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)
