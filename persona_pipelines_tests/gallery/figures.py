"""Every figure in a table of the page against plain SQL over the published tables, by somebody who does not know how the page was made.

A table that nothing is known of is a finding as well, and so is one that should be there and is not told of.
"""

from __future__ import annotations

import html.parser
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_pipelines_tests.gallery.warrants import Warrants

DATED = "source NOT IN (SELECT source FROM events.clocks WHERE clock = 'order')"
TIMED = "source NOT IN (SELECT source FROM events.clocks WHERE clock <> 'moment')"
ACT = "user_id IS NOT NULL AND event_type <> 'impression'"
BOUGHT = "event_type IN ('purchase', 'booking')"
STEPS = {
    "item_list_view": "event_type = 'item_list_view'",
    "item_view": "event_type = 'item_view'",
    "add_to_cart": "event_type = 'add_to_cart'",
    "begin_checkout": "event_type = 'begin_checkout'",
    "purchase": BOUGHT,
}
PURCHASE_DAYS = ("frequency = 1", "frequency = 2", "frequency BETWEEN 3 AND 4", "frequency >= 5")
DAYS_SINCE = ("BETWEEN 0 AND 6", "BETWEEN 7 AND 29", "BETWEEN 30 AND 89", "BETWEEN 90 AND 179", ">= 180")
COMPARED = {
    "user": "count(*)",
    "compare_reachable": "count(*) FILTER (consent_marketing)",
    "compare_total": "sum(monetary_value)",
    "compare_value": "avg(monetary_value)",
    "compare_likely": "100 * avg(purchase_probability)",
    "compare_leaving": "100 * avg(churn_probability)",
    "compare_lifetime": "avg(lifetime_value)",
}
MEASURES = {
    "judged": "users",
    "auc": "auc",
    "calibration": "calibration_error",
    "spearman": "spearman",
    "mae": "mean_absolute_error",
    "level": "level",
}


@dataclass
class Shown:
    """A table of the page: its section, the segment whose card it is in, what stands above its columns without notes, and its lines."""

    section: str
    segment: int | None
    caption: str = ""
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    linked: list[int | None] = field(default_factory=list)

    def columns(self) -> list[tuple[str, int]]:
        return [(name, place) for place, name in enumerate(self.header)][1:]


class Tables(html.parser.HTMLParser):
    """The tables of a page in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[Shown] = []
        self.section, self.small, self.words = "", False, ""
        self.segment: int | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "section":
            self.section = str(given.get("aria-labelledby", ""))
        elif tag == "article":
            self.segment = int(str(given["id"]).removeprefix("segment-"))
        elif tag == "table":
            self.found.append(Shown(self.section, self.segment))
        elif tag == "tr" and self.found:
            self.found[-1].rows.append([])
            self.found[-1].linked.append(None)
        elif tag == "small":
            self.small = True
        elif tag == "a" and self.found and str(given.get("href")).startswith("#segment-") and self.found[-1].linked:
            self.found[-1].linked[-1] = int(str(given["href"]).removeprefix("#segment-"))
        if tag in ("th", "td", "caption"):
            self.words = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self.segment = None
        elif tag == "small":
            self.small = False
        elif tag == "caption":
            self.found[-1].caption = " ".join(self.words.split())
        elif tag in ("th", "td"):
            self.found[-1].rows[-1].append(" ".join(self.words.split()))
        elif tag == "thead":
            self.found[-1].header = self.found[-1].rows.pop()
            self.found[-1].linked.pop()

    def handle_data(self, data: str) -> None:
        if not self.small:
            self.words += data


class Figures:
    """The tables of one page, asked of the published tables of its home."""

    def __init__(self, page: str, warrants: Warrants) -> None:
        self.page, self.warrants, self.texts = page, warrants, warrants.texts
        self.tables = Tables(page).found
        self.few = self.texts("few", minimum=warrants.minimum)
        compared = next((table for table in self.tables if table.section == "compare"), Shown("", None))
        self.ids = {row[0]: segment for row, segment in zip(compared.rows, compared.linked, strict=True) if segment is not None}
        self.ids[self.texts("unplaced")] = 0
        dates = (figures for block in warrants.blocks for key, figures in warrants.matches(block.text, "as_of") if key == "as_of")
        self.zone = next((figures["zone"] for figures in dates), "UTC")
        self.asked = 0

    def wrong(self) -> list[str]:
        """Each figure that is not that of the tables, and each table that nobody knows."""
        found = []
        for table in self.tables:
            of: dict[str, Callable[[Shown], list[str]]] = {
                "compare": self.compared,
                "segments": self.of_a_card,
                "time": self.over_time,
                "movement": self.movement,
                "stages": self.stages,
                "grid": self.grid,
                "cohorts": self.cohorts,
                "funnel": self.funnel,
                "predictions": self.predictions,
                "quality": self.accounting,
            }
            check = of.get(table.section)
            found += [f"no warrant for a table of {table.section}"] if check is None else check(table)
        return found

    def value(self, query: str, *values: Any) -> Any:
        return self.warrants.value(query, *values)

    def told(self, shown: str, value: float | None, where: str, step: int = 0) -> list[str]:
        """A figure as it is shown; of too few people it is not, and what stands beside such a one is rounded to multiples of ``step``."""
        self.asked += 1
        plain = 0 if value is None else value
        if shown == self.few:
            right = 0 < plain < self.warrants.minimum
        elif shown in (self.texts("none"), ""):
            right = value is None
        elif step:
            right = abs(float(shown.replace(",", "")) - plain) <= step / 2 and not 0 < plain < self.warrants.minimum
        else:
            right = value is not None and close(shown, value)
        return [] if right else [f"{where}: {shown!r}; found {value}"]

    def counted(self, table: Shown, counts: Mapping[tuple[int, int], float], places: range | None = None) -> list[str]:
        """Numbers of people by line and column."""
        step = self.warrants.minimum // 2 if any(self.few in row for row in table.rows) else 0
        return [
            problem
            for line, row in enumerate(table.rows)
            for column in places or range(1, len(row))
            for problem in self.told(row[column], counts.get((line, column), 0), f"{table.section}, {row[0]}, {table.header[column]}", step)
        ]

    def compared(self, table: Shown) -> list[str]:
        found, everyone = [], self.warrants.people_told_of()
        whole = self.value(f"SELECT sum(monetary_value) FROM profiles.user_profiles WHERE {everyone}")
        people = self.value("SELECT count(*) FROM profiles.user_profiles")
        for row in table.rows:
            of_all = row[0] == self.texts("compare_all")
            where = everyone if of_all else f"segment_id = {self.ids[row[0]]}"
            users = people if of_all else self.value(f"SELECT count(*) FROM profiles.user_profiles WHERE {where}")
            for name, place in table.columns():
                key = next(key for key in (*COMPARED, "compare_share", "compare_value_share", "compare_change") if self.texts(key) == name)
                shown = row[place]
                if key == "user":
                    found += self.told(shown, users, f"compare, {row[0]}, {name}")
                elif key == "compare_share":
                    found += self.told(shown, users / people, f"compare, {row[0]}, {name}")
                elif key == "compare_change":
                    found += self.changed(shown, row[0], users / people)
                elif users < self.warrants.minimum:
                    found += [] if shown == self.few else [f"compare, {row[0]}, {name}: {shown!r} of {users} people"]
                elif key == "compare_value_share":
                    value = self.value(f"SELECT sum(monetary_value) FROM profiles.user_profiles WHERE {where}")
                    found += self.told(shown, value / whole if whole and value is not None else None, f"compare, {row[0]}, {name}")
                else:
                    value = self.value(f"SELECT {COMPARED[key]} FROM profiles.user_profiles WHERE {where}")
                    found += self.told(shown, value, f"compare, {row[0]}, {name}")
        return found

    def changed(self, shown: str, name: str, share: float) -> list[str]:
        before = self.warrants.rows(
            "SELECT share FROM segments.segment_history WHERE segment_id = ? AND as_of_date < (SELECT max(as_of_date) FROM segments.segment_history) "
            "ORDER BY as_of_date DESC LIMIT 1",
            self.ids.get(name, -1),
        )
        return self.told(shown, 100 * (share - before[0][0]) if before else None, f"compare, {name}, change")

    def of_a_card(self, table: Shown) -> list[str]:
        name, segment = table.header[0], table.segment
        assert segment is not None
        members = f"SELECT user_id FROM segments.user_segments WHERE segment_id = {segment}"
        if name == self.texts("apart"):
            phrase = "phrase" if self.warrants.language == "en" else "phrase_zh"
            differences = dict(
                self.warrants.rows(f"SELECT {phrase}, abs(deviation) FROM segments.segment_differences WHERE segment_id = {segment}")
            )
            return [problem for row in table.rows for problem in self.told(row[1], differences.get(row[0]), f"{segment}, {row[0]}")]
        if name == self.texts("user"):
            hours = 24 // (len(table.header) - 1)
            local = f"(timestamp AT TIME ZONE 'UTC') AT TIME ZONE '{self.zone}'"
            rows = self.warrants.rows(
                f"SELECT isodow({local}) - 1, hour({local}) // {hours}, count(DISTINCT user_id) FROM events.events "
                f"WHERE {ACT} AND {TIMED} AND user_id IN ({members}) GROUP BY 1, 2"
            )
            return self.cells(table, {(int(day), int(part) + 1): people for day, part, people in rows})
        shares = self.warrants.mean_shares(members)
        return [problem for row in table.rows for problem in self.told(row[1], shares.get(row[0]), f"{segment}, {row[0]}")]

    def cells(self, table: Shown, counts: Mapping[tuple[int, int], float]) -> list[str]:
        """People by weekday and part of the day: exact where they are enough."""
        found, told = [], 0.0
        for line, row in enumerate(table.rows):
            for column, shown in enumerate(row[1:], start=1):
                people = counts.get((line, column), 0)
                self.asked += 1
                told += people if people >= self.warrants.minimum else 0
                right = shown == self.few if people < self.warrants.minimum else close(shown, people)
                found += [] if right else [f"{table.segment}, {row[0]}, {table.header[column]}: {shown!r}; found {people}"]
        absent = self.value(
            "SELECT count(*) FROM features.feature_support WHERE support = 'absent' AND feature IN ('night_share', 'weekend_share')"
        )
        found += [f"{table.segment}: the log tells no hours or weekdays"] if absent else []
        return found + ([] if 2 * told >= sum(counts.values()) else [f"{table.segment}: hours of few people"])

    def over_time(self, table: Shown) -> list[str]:
        key = next(key for key in ("time_users", "time_value", "time_buyers") if self.texts(key) == table.caption)
        found = []
        for row in table.rows:
            for name, place in table.columns():
                kept = self.warrants.rows(
                    "SELECT users, mean_monetary_value FROM segments.segment_history WHERE as_of_date = ? AND segment_id = ?",
                    row[0],
                    self.ids[name],
                )
                value = None
                if kept and kept[0][0] >= self.warrants.minimum:
                    value = (
                        {"time_users": kept[0][0], "time_value": kept[0][1]}.get(key)
                        if key != "time_buyers"
                        else self.bought_by(row[0], self.ids[name])
                    )
                found += self.told(row[place], value, f"{key}, {row[0]}, {name}")
        return found

    def bought_by(self, day: str, segment: int) -> float | None:
        return self.value(
            "SELECT avg((user_id IN (SELECT user_id FROM events.events "
            f"WHERE {BOUGHT} AND timestamp::DATE <= ?::DATE AND user_id IS NOT NULL))::INT) FROM profiles.profile_history "
            "WHERE segment_id = ? AND valid_from <= ?::DATE AND (valid_to IS NULL OR valid_to >= ?::DATE)",
            day,
            segment,
            day,
            day,
        )

    def movement(self, table: Shown) -> list[str]:
        own = {segment: name for name, segment in self.warrants.names.items()}
        plain = {name: own.get(segment, name) for name, segment in self.ids.items()}
        plain |= {self.texts("movement_new"): "(new)", self.texts("movement_gone"): "(gone)"}
        counts = {
            (line, 2): self.value(
                "SELECT sum(users) FROM profiles.segment_movement WHERE from_segment = ? AND to_segment = ?",
                plain.get(row[0], row[0]),
                plain.get(row[1], row[1]),
            )
            for line, row in enumerate(table.rows)
        }
        least = self.value("SELECT min(users) FROM profiles.segment_movement WHERE from_segment <> to_segment")
        step = self.warrants.minimum // 2 if least < self.warrants.minimum else 0
        return [
            problem
            for line, row in enumerate(table.rows)
            for problem in self.told(row[2], counts[line, 2], f"movement, {row[0]}, {row[1]}", step)
        ]

    def stages(self, table: Shown) -> list[str]:
        kinds = {self.texts(f"stage_{kind.replace(' ', '_')}"): kind for kind in ("new", "active", "loyal", "at risk", "lapsed")}
        counts = {
            (line, place): self.value(
                "SELECT count(*) FROM profiles.user_profiles WHERE segment_id = ? AND lifecycle_stage = ?", self.ids[row[0]], kinds[name]
            )
            for line, row in enumerate(table.rows)
            for name, place in table.columns()
        }
        missing = self.value("SELECT count(DISTINCT lifecycle_stage) FROM profiles.user_profiles") - len(table.columns())
        return self.counted(table, counts) + ([f"stages: {missing} are not told"] if missing else [])

    def grid(self, table: Shown) -> list[str]:
        counts = {
            (line, place): self.value(f"SELECT count(*) FROM features.user_features WHERE {times} AND purchase_recency_days {since}")
            for line, times in enumerate(PURCHASE_DAYS)
            for place, since in enumerate(DAYS_SINCE, start=1)
        }
        return self.counted(table, counts)

    def cohorts(self, table: Shown) -> list[str]:
        act = BOUGHT if self.texts("cohorts_purchases") in table.caption else ACT
        rows = self.warrants.rows(
            "WITH acts AS (SELECT DISTINCT user_id, 12 * year(timestamp) + month(timestamp) - 1 AS month FROM events.events "
            f"WHERE user_id IS NOT NULL AND {act} AND {DATED}), "
            "firsts AS (SELECT user_id, min(month) AS first FROM acts GROUP BY 1) "
            "SELECT first, month - first, count(*) FROM acts JOIN firsts USING (user_id) GROUP BY 1, 2"
        )
        counts = {(f"{first // 12}-{first % 12 + 1:02d}", later): people for first, later, people in rows}
        last = max(first + later for first, later, _ in rows)
        found, hidden = [], any(row[1] == self.few for row in table.rows)
        for row in table.rows:
            people = counts[row[0], 0]
            found += self.told(row[1], people, f"cohorts, {row[0]}", self.warrants.minimum // 2 if hidden else 0)
            year, month = map(int, row[0].split("-"))
            for later, shown in enumerate(row[2:]):
                did = counts.get((row[0], later), 0)
                few = people < self.warrants.minimum or any(0 < some < self.warrants.minimum for some in (did, people - did))
                self.asked += 1
                right = (
                    shown == ""
                    if 12 * year + month - 1 + later > last
                    else shown == self.few
                    if few
                    else shown not in ("", self.few) and close(shown, 100 * did / people)
                )
                found += [] if right else [f"cohorts, {row[0]}, +{later}: {shown!r}; found {did} of {people}"]
        return found

    def funnel(self, table: Shown) -> list[str]:
        keys = {self.texts(f"step_{step}"): condition for step, condition in STEPS.items()}
        counts = [
            self.value(f"SELECT count(DISTINCT user_id) FROM events.events WHERE user_id IS NOT NULL AND {keys[row[0]]}")
            for row in table.rows
        ]
        found = self.counted(table, {(line, 1): count for line, count in enumerate(counts)}, range(1, 2))
        for row, count in zip(table.rows, counts, strict=True):
            found += self.told(row[2], count if row[2] == self.few else count / counts[0], f"funnel, {row[0]}")
        return found

    def predictions(self, table: Shown) -> list[str]:
        found = []
        targets = [target for (target,) in self.warrants.rows("SELECT DISTINCT target FROM profiles.prediction_quality WHERE chosen")]
        named = {str(self.texts.entries.get(f"target_{target.replace(' ', '_')}", target)): target for target in targets}
        for row in table.rows:
            target = named.get(row[0])
            if target is None:
                found.append(f"predictions: {row[0]!r} is no target")
                continue
            definition, days = self.warrants.rows(
                "SELECT definition, window_days FROM profiles.prediction_quality WHERE chosen AND target = ?", target
            )[0]
            ahead = re.findall(r"(\d+) days", definition)
            if re.findall(r"(\d+) (?:days|天)", row[1]) not in (ahead, [*ahead, str(days)]):
                found.append(f"predictions, {row[0]}: {row[1]!r}; found {definition!r}, judged on {days} days")
            model = self.value("SELECT model FROM profiles.prediction_quality WHERE chosen AND target = ?", target)
            if row[2] != str(self.texts.entries.get(f"model_{model}", model.replace("_", " "))):
                found.append(f"predictions, {row[0]}: the model is {model}")
            for name, place in table.columns()[2:]:
                found += self.measure(target, name, row[place])
        return found

    def measure(self, target: str, name: str, shown: str) -> list[str]:
        query = "SELECT {} FROM profiles.prediction_quality WHERE chosen AND target = ?"
        if name == self.texts("lift"):
            model = self.value(query.format("model"), target)
            if model == "modified_beta_geometric":
                return self.told(shown, None, f"{target}, lift")
            lift, rate, users = self.warrants.rows(query.format("lift, base_rate, users"), target)[0]
            if shown == self.texts("none") or lift is None:
                return self.told(shown, lift, f"{target}, lift")
            told = self.parted("lift_of", shown)
            if told is None:
                return [f"{target}, lift: {shown!r}"]
            most = min(1 / rate, users / (users // 10 or 1))
            return self.told(told["lift"], lift, f"{target}, lift") + self.told(told["most"], most, f"{target}, highest lift")
        key = next(key for key in MEASURES if self.texts(key) == name)
        value = self.value(query.format(MEASURES[key]), target)
        if key == "calibration" and value is not None and value > 0.1:
            told = self.parted("calibration_poor", shown)
            return (
                self.told(told["error"], value, f"{target}, {key}") if told else [f"{target}: {shown!r} is said of an error of {value:.2f}"]
            )
        return self.told(shown, value, f"{target}, {key}")

    def parted(self, key: str, shown: str) -> dict[str, str] | None:
        """The figures of a cell that has words; None where it has others."""
        return next((figures for found, figures in self.warrants.matches(shown, key) if found == key), None)

    def accounting(self, table: Shown) -> list[str]:
        names = {"read": "records_read", "events": "events", "rejects": "rejects", "duplicates": "duplicates", "filtered": "filtered"}
        columns = {self.texts(key): column for key, column in names.items()}
        return [
            problem
            for row in table.rows
            for name, place in table.columns()
            for problem in self.told(
                row[place],
                self.value(f"SELECT sum({columns[name]}) FROM events.accounting WHERE source = ?", row[0]),
                f"accounting, {row[0]}, {name}",
            )
        ]


def close(shown: str, value: float | None) -> bool:
    """Whether a figure as it is shown is that number, rounded."""
    if value is None or not re.fullmatch(r"[+-]?[\d,]+(\.\d+)?%?", shown):
        return False
    plain = float(re.sub(r"[,%]", "", shown))
    digits = len(shown.rstrip("%").partition(".")[2])
    return abs(plain - (100 * value if shown.endswith("%") else value)) <= 0.5 * 10**-digits + 1e-9
