"""Every sentence and figure of the page against plain SQL over the published tables, by somebody who does not know how the page was made.

The page's words are read from its HTML; each block of text has to be one of its language file, filled in, and what it says is asked of the tables
anew. What has no warrant here is a finding as well: a new sentence needs a new query.
"""

from __future__ import annotations

import html.parser
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import yaml

import persona_pipelines
from persona_pipelines.gallery.texts import Language, texts_of
from persona_pipelines.warehouse.described import FEATURES, INTEREST_VERBS
from persona_pipelines_tests.gallery.figures import Figures, close

PACKAGE = Path(persona_pipelines.__file__).parent
BLOCKS = {
    "p",
    "li",
    "td",
    "th",
    "h1",
    "h2",
    "h3",
    "h4",
    "b",
    "span",
    "small",
    "dt",
    "dd",
    "caption",
    "summary",
    "text",
    "code",
    "title",
    "a",
    "footer",
}
MEMBERS = "SELECT user_id FROM segments.user_segments WHERE segment_id = {segment}"
ONE_SCORING = "SELECT count(DISTINCT as_of_date) = 1 FROM segments.segment_history"
FACTS = {
    "undated": "SELECT support = 'absent' FROM features.feature_support WHERE feature = 'recency_days'",
    "glance_reachable_assumed": "SELECT bool_and(consent_marketing) FROM events.users",
    "time_once": ONE_SCORING,
    "movement_none": ONE_SCORING,
    "glance_reachable_nobody": "SELECT NOT bool_or(consent_marketing) FROM events.users",
    "first_nobody_reachable": "SELECT NOT bool_or(consent_marketing) FROM events.users",
    "glance_users_listed": "SELECT count(*) = 0 FROM events.events",
    "predictions_none": "SELECT count(*) = 0 FROM profiles.prediction_quality",
    "quality_segments_one": "SELECT count(DISTINCT segment_id) = 1 FROM segments.user_segments",
}
"""Texts without a gap that say something of the log, and what has to be true for them."""
DIFFERS_LITTLE = "They differ little from the others in what the log holds."
STALE = "The name is that of the training; its people of today do not differ from the others in that way. "
OTHERS = "SELECT user_id FROM segments.user_segments WHERE segment_id <> {segment}"
VISIT_WORDS = r"\b(visit\w*|come|comes|came|browse\w*|read|reads|reader\w*|search\w*|session\w*|attention|attentive|dwell\w*|look|looks|stay|stays|page)\b"
TIME_WORDS = r"\b(night\w*|evening\w*|morning\w*|weekend\w*|weekday\w*|hour\w*|recent\w*|lately|ago|days?|weeks?|months?|lapsed|inactive|last active|since|rising|fading|\d{4}-\d{2}-\d{2})\b"


@dataclass
class Block:
    """A piece of text of the page: where it stands, and the segment whose card it is in."""

    tag: str
    text: str
    section: str
    segment: int | None
    own: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sentence:
    """What stands on a page, the queries that it was held against, none where the words are always true, and whether it has its warrant."""

    text: str
    queries: list[str]
    warranted: bool


class Page(html.parser.HTMLParser):
    """The blocks of a page in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self.open: list[Block] = []
        self.section, self.silent = "", 0
        self.segment: int | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "style":
            self.silent += 1
        if tag == "section":
            self.section = str(given.get("aria-labelledby", ""))
        if tag == "article":
            self.segment = int(str(given["id"]).removeprefix("segment-"))
        if tag in BLOCKS:
            self.open.append(Block(tag, "", self.section, self.segment))

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self.silent -= 1
        if tag == "article":
            self.segment = None
        if tag in BLOCKS and self.open:
            block = self.open.pop()
            block.text = " ".join("".join(block.own).split())
            if block.text:
                self.blocks.append(block)

    def handle_data(self, data: str) -> None:
        if not self.silent and self.open:
            self.open[-1].own.append(data)


def pattern_of(template: str) -> re.Pattern[str]:
    """An entry of the language file as a pattern, each figure a group of its name."""
    parts = re.split(r"\{(\w+)\}", template)
    seen: set[str] = set()
    found = ""
    for place, part in enumerate(parts):
        if place % 2 == 0:
            found += re.escape(part)
        elif part in seen:
            found += f"(?P={part})"
        else:
            seen.add(part)
            found += f"(?P<{part}>.+?)"
    return re.compile(found + r"\Z", re.S)


class Warrants:
    """The claims of one page, asked of the published tables of its home.

    ``findings`` are the claims that do not hold or that nothing warrants; ``asked`` counts those that were held against a query.
    """

    def __init__(
        self,
        page: str,
        published: Path,
        language: Language = "en",
        minimum: int = 20,
        answers: dict[Any, list[tuple[Any, ...]]] | None = None,
    ) -> None:
        """Args: answers: of the tables to what was asked before; those to what is asked now are put there."""
        self.texts, self.language, self.minimum = texts_of(language), language, minimum
        self.connection = duckdb.connect(str(published), read_only=True)
        self.answers = {} if answers is None else answers
        self.findings: list[str] = []
        self.asked = 0
        self.sentences: list[Sentence] = []
        self.queries: list[str] = []
        self.blocks = Page(page).blocks
        self.patterns = {
            key: [pattern_of(form.strip()) for form in (entry.values() if isinstance(entry, dict) else [str(entry)])]
            for key, entry in self.texts.entries.items()
        }
        raw = yaml.safe_load((PACKAGE / "warehouse" / "user_features.yaml").read_text(encoding="utf-8"))
        self.variants = [
            (name, 1 if side == "high" else -1, variant)
            for name, entry in raw.items()
            for side in ("high", "low")
            for variant in entry.get(side) or []
        ]
        self.names = dict(self.rows("SELECT segment_name, segment_id FROM segments.segment_profiles"))

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        self.queries.append(" ".join(query.split()))
        if (query, values) not in self.answers:
            self.answers[query, values] = self.connection.execute(query, values).fetchall()
        return self.answers[query, values]

    def value(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]

    def check(self) -> list[str]:
        """The findings of the whole page."""
        for block in self.blocks:
            self.queries = []
            outcome = self.of(block)
            if block.tag in ("p", "li"):
                self.sentences.append(Sentence(block.text, list(dict.fromkeys(self.queries)), outcome is True))
            if outcome is None:
                self.findings.append(f"no warrant for <{block.tag}> {block.text!r} in {block.section or 'the header'}")
            elif outcome is not True:
                self.findings.append(f"{block.section}: {block.text!r}: {outcome}")
        return self.findings

    def matches(self, text: str, prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
        for key, patterns in self.patterns.items():
            for pattern in patterns if key.startswith(prefix) else ():
                if found := pattern.match(text):
                    yield key, found.groupdict()

    def of(self, block: Block) -> bool | str | None:
        """True where the block holds or claims nothing; what is wrong; None where nobody knows."""
        rounded = pattern_of(self.texts.entries["rounded"]).pattern.removesuffix(r"\Z")
        text = re.sub(rounded.replace("+?", "+") + r"\Z", "", block.text) if block.tag == "caption" else block.text
        link = block.tag == "a" and block.segment is None
        for key in FACTS:
            if text == self.texts(key):
                return self.fact(key)
        if link or block.tag in ("title", "footer", "h1", "code", "summary") or text in self.texts.entries.values():
            return self.code(block) if block.tag == "code" else True
        if block.tag in ("td", "th") or (block.tag == "text" and re.fullmatch(r"[+-]?[\d.,%]+|\d{4}-\d{2}-\d{2}|[MTWFS]\w\w|周.", text)):
            return True  # held against the tables as whole tables (``figures.Figures``)
        best: bool | str | None = None
        for key, figures in self.matches(text):
            ask = getattr(self, f"claim_{key}", None) or next(
                (ask for start, ask in self.families().items() if key.startswith(start)), None
            )
            if ask is None:
                continue
            outcome = ask(block, key, figures)
            if outcome is True:
                self.asked += 1
                return True
            best = outcome if outcome is not None else best
        if block.segment is not None and (outcome := self.of_card(block)) is not None:
            self.asked += outcome is True
            return outcome
        outcome = self.named(block)
        return best if outcome is None else outcome

    def fact(self, key: str) -> bool | str:
        """Whether a text without a gap is true."""
        self.asked += 1
        return self.rows(FACTS[key]) == [(True,)] or f"not so: {FACTS[key]}"

    def families(self) -> dict[str, Callable[..., bool | str | None]]:
        """Claims that are fixed words with figures of the configuration, by the begin of their keys."""
        return {
            "glance_": self.figure_meaning,
            "means_": lambda block, key, figures: True,
            "predictions_note": self.window_days,
            "time_note": self.scorings,
            "amounts_in": self.currency,
            "as_of": self.as_of,
            "drivers": self.drivers,
            "small": lambda block, key, figures: True,
            "rhythm_note": self.enough,
            "rounded": lambda block, key, figures: True,
            "recommendations_split": self.split,
            "anomaly": self.anomaly,
            "movement_": self.movement,
            "quality_segments_told": self.segment_quality,
        }

    def claim_glance_value_middle(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        """The median of what all have spent, to the next ten, and that it is far below the mean."""
        middle, mean = self.rows(
            f"SELECT quantile_disc(monetary_value, 0.5), avg(monetary_value) FROM profiles.user_profiles WHERE {self.people_told_of()}"
        )[0]
        told = abs(float(figures["middle"].replace(",", "")) - middle) <= 5.01
        return (told and mean > 1.4 * middle) or f"the median is {middle}, the mean {mean}"

    # What stands outside of cards

    def named(self, block: Block) -> bool | str | None:
        """Names of segments in legends; labels of features; figures beside their names, which are asked for where the name is."""
        if (
            block.text in self.names
            or block.tag in ("b", "dd")
            or (self.language == "zh" and block.tag in ("span", "li", "text", "dt", "h3"))
        ):
            return True
        if block.tag == "p" and block.segment is None:
            # Several sentences, or several parts of one.
            for parts in (re.split(r"(?<=[.。])\s+", block.text), [part.strip(" .。") for part in re.split(r",\s|、", block.text)]):
                if len(parts) > 1 and all(self.of(Block("li", part, block.section, None)) is True for part in parts):
                    return True
        return None

    def figure_meaning(self, block: Block, key: str, figures: dict[str, str]) -> bool:
        return True

    def people_told_of(self) -> str:
        """The condition of the people whom figures of everybody are about: all, but for groups that are together too small to be shown."""
        small = self.rows(
            "SELECT segment_id, count(*) FROM profiles.user_profiles GROUP BY 1 HAVING count(*) < " + str(self.minimum) + " ORDER BY 1"
        )
        left_out = ", ".join(str(segment) for segment, _ in small)
        return f"segment_id NOT IN ({left_out})" if 0 < sum(count for _, count in small) < self.minimum else "true"

    def claim_glance_alike(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        """That nothing foretells better than the mean: some chosen model is that."""
        found = self.rows("SELECT DISTINCT model FROM profiles.prediction_quality WHERE chosen")
        return bool({("base_rate",), ("mean",)} & set(found)) or f"the models are {found}"

    def days_ahead(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        """How far a column looks ahead: as far as something that is foreseen."""
        found = [definition for (definition,) in self.rows("SELECT DISTINCT definition FROM profiles.prediction_quality")]
        return any(f"within {figures['days']} days" in definition for definition in found) or f"foreseen is {found}"

    claim_compare_within = claim_compare_silence = days_ahead

    def claim_compare_rhythm(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = self.rows("SELECT model FROM profiles.prediction_quality WHERE target = 'churn' AND chosen")
        return found == [("modified_beta_geometric",)] or f"leaving is told by {found}"

    def claim_glance_without(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = self.value(f"SELECT count(*) FROM profiles.user_profiles WHERE NOT ({self.people_told_of()})")
        return (close(figures["n"], found) and found > 0) or f"they are {found}"

    def as_of(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = f"{self.value('SELECT max(as_of_date) FROM features.user_features'):%Y-%m-%d}"
        return figures["date"] == found or f"the features are as of {found}"

    def currency(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = [
            row[0]
            for row in self.rows("SELECT DISTINCT upper(currency) FROM events.events WHERE currency IS NOT NULL AND value IS NOT NULL")
        ]
        return found == [figures["currency"]] or f"amounts are in {found}"

    def enough(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        return figures["minimum"] == str(self.minimum) or f"fewer than {self.minimum} are not told"

    def scorings(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        days = [
            f"{row[0]:%Y-%m-%d}" for row in self.rows("SELECT DISTINCT as_of_date FROM segments.segment_history ORDER BY 1 DESC LIMIT 12")
        ]
        return (figures["n"], figures["from"], figures["to"]) == (str(len(days)), days[-1], days[0]) or f"scored were {days}"

    def window_days(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        days = {str(row[0]) for row in self.rows("SELECT DISTINCT window_days FROM profiles.prediction_quality")}
        return set(re.findall(r"\d+", figures["days"])) <= days or f"the windows have {sorted(days)} days"

    def split(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = self.value("SELECT any_value(split) FROM recommendations.model_comparison WHERE champion")
        return figures["split"] == self.texts(f"split_{found}") or f"they were split by {found}"

    def anomaly(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = self.value("SELECT sum(events) FROM events.accounting WHERE day = ?", figures["day"])
        return close(figures["events"], found) or f"there are {found}"

    def movement(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        where = {
            "movement_stayed": "from_segment = to_segment",
            "movement_moved": "from_segment <> to_segment AND from_segment <> '(new)' AND to_segment <> '(gone)'",
            "movement_came": "from_segment = '(new)'",
            "movement_went": "to_segment = '(gone)'",
        }[key]
        found = self.value(f"SELECT coalesce(sum(users), 0) FROM profiles.segment_movement WHERE {where}")
        few = self.texts("few", minimum=self.minimum)
        return (0 < found < self.minimum if figures["n"] == few else close(figures["n"], found)) or f"there are {found}"

    def segment_quality(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        algorithm, silhouette = self.rows("SELECT algorithm, silhouette FROM segments.segment_quality WHERE chosen")[0]
        return (
            figures["algorithm"] == self.texts(f"model_{algorithm}") and close(figures["silhouette"], silhouette)
        ) or f"{algorithm} has {silhouette}"

    def drivers(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        labels = {feature.labels[self.language]: name for name, feature in FEATURES.items()}
        labels |= {str(entry): key.removeprefix("feature_") for key, entry in self.texts.entries.items() if key.startswith("feature_")}
        for entry in re.split(r",\s| and |、", figures["features"]):
            words, _, sign = entry.rpartition(" ") if entry[-1] in "+-" else (entry, "", "")
            name = labels.get(words, words.replace(" ", "_"))
            found = self.rows("SELECT importance, sign(correlation) FROM profiles.prediction_drivers WHERE feature = ?", name)
            if not any(importance > 0 and {"+": 1, "-": -1, "": 0}[sign] == direction for importance, direction in found):
                return f"{words}: found {found}"
            absent = self.rows("SELECT 1 FROM features.feature_support WHERE feature = ? AND support = 'absent'", name)
            if absent:
                return f"the log does not hold {name}"
        return True

    # What matters first

    def claim_first_value_held(self, block: Block, key: str, figures: dict[str, str]) -> bool | str | None:
        if (segment := self.names.get(figures["name"])) is None:
            return None
        share, value = self.rows(
            f"SELECT count(*) FILTER (user_id IN ({MEMBERS.format(segment=segment)})) / count(*), "
            f"sum(monetary_value) FILTER (user_id IN ({MEMBERS.format(segment=segment)})) / sum(monetary_value) FROM profiles.user_profiles"
        )[0]
        return (
            close(figures["share"], share) and close(figures["value"], value) and value - share >= 0.1
        ) or f"{share:.3f} hold {value:.3f}"

    def claim_first_value_at_risk(self, block: Block, key: str, figures: dict[str, str]) -> bool | str | None:
        if (segment := self.names.get(figures["name"])) is None:
            return None
        value, leaving, all_leaving = self.rows(
            f"SELECT sum(monetary_value) FILTER (user_id IN ({MEMBERS.format(segment=segment)})) / sum(monetary_value), "
            f"100 * avg(churn_probability) FILTER (user_id IN ({MEMBERS.format(segment=segment)})), 100 * avg(churn_probability) FROM profiles.user_profiles"
        )[0]
        return (
            close(figures["value"], value) and close(figures["leaving"], leaving) and leaving > all_leaving
        ) or f"{value:.3f}, {leaving:.1f}"

    def claim_first_spent_most(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        people, value, share = self.rows(
            f"SELECT count(*) FILTER (monetary_value >= {figures['least']}), "
            f"sum(monetary_value) FILTER (monetary_value >= {figures['least']}) / sum(monetary_value), "
            f"count(*) FILTER (monetary_value >= {figures['least']}) / count(*) FROM profiles.user_profiles"
        )[0]
        told = close(figures["share"], share) and close(figures["value"], value)
        return (told and people >= self.minimum and 0.02 <= share <= 0.25) or f"{people} people, {share:.3f}, hold {value:.3f}"

    def claim_first_lapsed(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        share = self.value(
            "SELECT avg((recency_days > 90 AND NOT tenure_days <= 14)::INT) FROM features.user_features WHERE recency_days IS NOT NULL"
        )
        return (close(figures["share"], share) and share >= 0.25 and figures["days"] == "90") or f"{share} of them"

    def claim_first_grown(self, block: Block, key: str, figures: dict[str, str]) -> bool | str | None:
        if (segment := self.names.get(figures["name"])) is None:
            return None
        history = self.rows(
            f"SELECT share, as_of_date FROM segments.segment_history WHERE segment_id = {segment} ORDER BY as_of_date DESC LIMIT 2"
        )
        (now, _), (before, since) = history
        told = close(figures["now"], now) and close(figures["before"], before) and figures["since"] == f"{since:%Y-%m-%d}"
        return (told and (now > before) == (key == "first_grown")) or f"{before} to {now} since {since}"

    claim_first_shrunk = claim_first_grown

    def claim_first_reachable(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        reachable, users = self.rows("SELECT count(*) FILTER (consent_marketing), count(*) FROM profiles.user_profiles")[0]
        return (close(figures["reachable"], reachable) and close(figures["users"], users)) or f"{reachable} of {users}"

    def claim_first_not_held(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        absent, every = self.rows("SELECT count(*) FILTER (support = 'absent'), count(*) FROM features.feature_support")[0]
        return (close(figures["absent"], absent) and close(figures["all"], every)) or f"{absent} of {every}"

    # Cards

    def of_card(self, block: Block) -> bool | str | None:
        """A name, a phrase, advice, a typical person, a category, or the paragraph of a card."""
        text, segment = block.text, block.segment
        assert segment is not None
        if block.tag == "h3":
            return self.name(segment, text)
        if block.tag in ("b", "span"):
            return True
        if block.tag == "text":
            return self.phrase(segment, text) or self.category(segment, text)
        if (
            block.tag == "p"
            and "%" in text
            and (size := re.match(r"([\d,]+) (?:\w+|位\w+)[,、] ?(?:(\d+%) of all|占全部的 (\d+%))\Z", text))
        ):
            users, share = self.rows(
                f"SELECT count(*), count(*) / (SELECT count(*) FROM segments.user_segments) FROM ({MEMBERS.format(segment=segment)})"
            )[0]
            return (close(size[1], users) and close(size[2] or size[3], share)) or f"{users} users, {share}"
        if block.tag == "p":
            return self.paragraph(segment, text)
        if block.tag == "li":
            return self.advice(segment, text) or self.typical(segment, text)
        return None

    def name(self, segment: int, text: str) -> bool | str:
        """The name of a card: that of the segment, with a warrant for each thing that it says, unless the card says that it says so no longer."""
        own, description = self.rows("SELECT segment_name, description FROM segments.segment_profiles WHERE segment_id = ?", segment)[0]
        if self.language == "en" and text != own:
            return f"the segment is called {own}"
        stem, apart = self.parted(text)
        if "The name is that of the training" in description:
            return True
        if (said := self.said_by_name(stem)) is None:
            return True  # given by people, or of an attribute
        for candidates in said:
            if (outcome := self.holds(segment, candidates)) is not True:
                return f"the name {stem!r}: {outcome}"
        return self.told_apart(segment, own, apart) if apart else True

    def parted(self, name: str) -> tuple[str, str]:
        """A name without its number, and the phrase that tells it from its namesakes, which is empty without one."""
        name = re.sub(r" \d+\Z", "", name)
        found = re.fullmatch(r"(.+?) who (.+)|(.+?)（其中(.+)）", name)
        return (name, "") if found is None else (found[1] or found[3], found[2] or found[4])

    def said_by_name(self, stem: str) -> list[list[tuple[str, int, dict[str, Any]]]] | None:
        """For each part of a name the entries of the table of features that have such words; None where it is made of none."""
        if stem in {
            self.texts(key) for key in ("everyone", *(f"average_{people}" for people in ("visitors", "customers", "raters", "users")))
        }:
            return []
        if self.language == "zh":
            parts = [
                [entry for entry in self.variants if entry[2].get("zh", {}).get("phrase") == phrase] for phrase in stem.split("·") if phrase
            ]
            return parts if all(parts) else None
        people = re.sub(r"\b(visitors|customers|raters|users)\b", "{people}", stem)
        nouns = [entry for entry in self.variants if entry[2].get("noun") in (stem.lower(), people.lower())]
        if nouns:
            return [nouns]
        for _, _, variant in self.variants:
            adjective = variant.get("adjective", "")
            noun = [entry for entry in self.variants if adjective and f"{adjective} {entry[2].get('noun')}" in (stem, people)]
            if noun:
                return [[entry for entry in self.variants if entry[2].get("adjective") == adjective], noun]
        return None

    def told_apart(self, segment: int, own: str, phrase: str) -> bool | str:
        """What tells a name from its namesakes: true against each of them; where people have renamed them, against one with a name of theirs."""
        stem, _ = self.parted(own)
        others = {name: number for name, number in self.names.items() if number not in (segment, 0)}
        namesakes = [number for name, number in others.items() if re.fullmatch(re.escape(stem) + r"( who .+| \d+)?", name)]
        outcomes = {number: self.apart_from(segment, number, phrase) for number in namesakes or others.values()}
        wrong = [f"segment {number}: {outcome}" for number, outcome in outcomes.items() if outcome is not True]
        return not (wrong if namesakes else len(wrong) == len(outcomes)) or f"{phrase!r} is not true against {'; '.join(wrong)}"

    def apart_from(self, segment: int, other: int, phrase: str) -> bool | str:
        """A phrase of one segment against one other."""
        if leaning := re.fullmatch(r"lean more to (.+)|更偏向(.+)", phrase):
            category = leaning[1] or leaning[2]
            mine, theirs = (self.mean_shares(MEMBERS.format(segment=number)).get(category, 0.0) for number in (segment, other))
            return mine - theirs >= 0.05 - 1e-9 or f"{category} has {mine:.3f} of them and {theirs:.3f} of the others"
        candidates = [
            entry
            for entry in self.variants
            if phrase == (entry[2].get("phrase") if self.language == "en" else entry[2].get("zh", {}).get("phrase"))
        ]
        if not candidates:
            return self.of_attribute(segment, phrase, MEMBERS.format(segment=other)) or f"no feature has the words {phrase!r}"
        return self.holds(segment, candidates, MEMBERS.format(segment=other)) or f"no feature has the words {phrase!r}"

    def facts(self, segment: int, feature: str, others: str | None = None) -> dict[str, Any]:
        """Plain figures of a feature: of the members and of all others, or of some; the scaled mean of either by logarithms."""
        numbers = {}
        for who, query in (("mine", MEMBERS), ("others", others or OTHERS)):
            column = f'"{feature}"'
            row = self.rows(
                f"SELECT avg({column}), avg(({column} > 0)::int), count({column}), count(*), avg(sign({column}) * ln(1 + abs({column}))), "
                f"stddev_samp(sign({column}) * ln(1 + abs({column}))) FROM features.user_features WHERE user_id IN ({query.format(segment=segment)})"
            )[0]
            numbers |= {
                f"{who}_{name}": value for name, value in zip(("mean", "positive", "known", "people", "log", "spread"), row, strict=True)
            }
        return numbers

    def phrase(self, segment: int, text: str) -> bool | str | None:
        """A phrase of the table of features: true of the people in plain figures, under the conditions that stand beside it."""
        candidates = [
            (name, sign, variant)
            for name, sign, variant in self.variants
            if text == (variant.get("phrase") if self.language == "en" else variant.get("zh", {}).get("phrase"))
        ]
        return self.holds(segment, candidates) if candidates else self.of_attribute(segment, text)

    def of_attribute(self, segment: int, text: str, others: str | None = None) -> bool | str | None:
        """A phrase of an attribute of the customer list: true of the people by its plain shares or means."""
        found = self.rows("SELECT DISTINCT unnest(json_keys(attributes)) FROM profiles.user_profiles WHERE attributes IS NOT NULL")
        for (key,) in found:
            name, cell = str(key).replace("_", " "), f"json_extract_string(attributes, '$.\"{key}\"')"
            number = f"coalesce(try_cast({cell} AS DOUBLE), date_diff('day', DATE '1970-01-01', try_cast({cell} AS DATE))::DOUBLE)"
            level = re.fullmatch(rf"have a (higher|lower) {re.escape(name)}|{re.escape(name)}较(高|低)", text)
            often = re.fullmatch(
                rf"are (all|more often|less often) (?:of {re.escape(name)} (?P<of>.+)|(?P<with>with|without) {re.escape(name)})"
                rf"|{re.escape(name)}(?P<all>均)?为(?P<zh>.+?)(?:的(?P<zh_more>较多|较少))?",
                text,
            )
            if level is None and often is None:
                continue
            if level is not None:
                measure, up = f"avg({number})", (level[1] or level[2]) in ("higher", "高")
            else:
                value = often["of"] or {"with": "yes", "without": "no"}.get(often["with"] or "") or often["zh"]
                plain = {"yes": "true", "no": "false"}.get(value, value).replace("'", "''")
                measure = f"avg(({cell} IN ('{plain}', '{value.replace(chr(39), chr(39) * 2)}'))::INT)"
                up = often[1] != "less often" and often["zh_more"] != "较少"
            mine, theirs = (
                self.value(f"SELECT {measure} FROM profiles.user_profiles WHERE user_id IN ({who.format(segment=segment)})")
                for who in (MEMBERS, others or OTHERS)
            )
            every = often is not None and (often[1] == "all" or often["all"])
            return ((mine > theirs) == up and (not every or mine >= 0.995)) or f"{key} is {mine} against {theirs}"
        return None

    def advice(self, segment: int, text: str) -> bool | str | None:
        candidates = [
            (name, sign, variant)
            for name, sign, variant in self.variants
            if text == (variant.get("advice") if self.language == "en" else variant.get("zh", {}).get("advice"))
        ]
        return self.holds(segment, candidates)

    def holds(self, segment: int, candidates: list[tuple[str, int, dict[str, Any]]], others: str | None = None) -> bool | str | None:
        outcomes = [self.warranted(segment, *candidate, others) for candidate in candidates]
        return True if True in outcomes else "; ".join(str(outcome) for outcome in outcomes) if outcomes else None

    def warranted(self, segment: int, name: str, sign: int, variant: dict[str, Any], others: str | None = None) -> bool | str:
        if self.value("SELECT support FROM features.feature_support WHERE feature = ?", name) == "absent":
            return f"the log does not hold {name}"
        found = self.facts(segment, name, others)
        if found["mine_known"] < max(10, 0.5 * found["mine_people"]) or found["others_known"] < 10:
            return f"{name} is known of {found['mine_known']} of {found['mine_people']}"
        if sign * (found["mine_mean"] - found["others_mean"]) <= 0 or sign * (found["mine_log"] - found["others_log"]) <= 0:
            return f"{name} is {found['mine_mean']} against {found['others_mean']}"
        error = 1.5 * (found["mine_spread"] ** 2 / found["mine_known"] + found["others_spread"] ** 2 / found["others_known"]) ** 0.5
        if abs(found["mine_log"] - found["others_log"]) <= error:
            return f"{name} is not surely different: {found}"
        for condition in variant.get("when", []):
            if condition == "visits":
                if self.value("SELECT support FROM features.feature_support WHERE feature = 'sessions'") == "absent":
                    return "the log shows no visits"
                continue
            measure, comparison, number = condition.split()
            value = found[f"mine_{measure}"]
            if not {">=": value >= float(number), "<=": value <= float(number), ">": value > float(number), "<": value < float(number)}[
                comparison
            ]:
                return f"{condition} does not hold of {name}: {value}"
        return True

    def shares(self, segment: int) -> dict[str, tuple[float, float]]:
        """Mean shares of categories, of the members and of all others, over those with interests."""
        mine, others = (self.mean_shares(who.format(segment=segment)) for who in (MEMBERS, OTHERS))
        return {name: (mine.get(name, 0.0), others.get(name, 0.0)) for name in {*mine, *others}}

    def mean_shares(self, who: str) -> dict[str, float]:
        """Mean shares of categories, over those of some people who have interests."""
        return dict(
            self.rows(
                f"SELECT category, sum(interest_share) / (SELECT count(DISTINCT user_id) FROM features.category_shares WHERE user_id IN ({who})) "
                f"FROM features.category_shares WHERE user_id IN ({who}) GROUP BY 1"
            )
        )

    def category(self, segment: int, text: str) -> bool | str | None:
        found = [
            share for name, (share, _) in self.shares(segment).items() if name == text or (text[-1] == "…" and name.startswith(text[:-1]))
        ]
        return True if found and found[0] > 0 else None

    def paragraph(self, segment: int, text: str) -> bool | str | None:
        """The description: its size, each phrase, and what is said of interests."""
        if self.language == "zh":
            return self.chinese_paragraph(segment, text)
        match = re.match(r"(?P<name>.+?): (?P<share>\d+%) of all users\.(?: (?P<rest>.*))?\Z", text)
        if match is None or self.names.get(match["name"]) != segment:
            return None
        share = self.value(f"SELECT count(*) / (SELECT count(*) FROM segments.user_segments) FROM ({MEMBERS.format(segment=segment)})")
        if not close(match["share"], share):
            return f"their share is {share}"
        rest = match["rest"] or ""
        if rest.startswith(STALE):
            rest = rest.removeprefix(STALE)
            if self.name(segment, match["name"]) is True:
                return "the name is true"
        if told := re.match(r"Compared with the others, they (?P<phrases>.+?)\.(?: |\Z)", rest):
            for phrase in self.split_phrases(told["phrases"]):
                if (outcome := self.phrase(segment, phrase)) is not True:
                    return f"{phrase}: {outcome}"
            rest = rest[told.end() :]
        elif rest.startswith(DIFFERS_LITTLE):
            rest = rest.removeprefix(DIFFERS_LITTLE).strip()
            if share == 1 or (clear := self.clear_phrases(segment)):
                return "there are no others" if share == 1 else f"they differ: {clear[:3]}"
        elif share != 1:
            return "nothing is said of how they differ"
        return self.interests(segment, rest) if rest else True

    def clear_phrases(self, segment: int) -> list[Any]:
        """What there would be to say of how a segment differs."""
        query = "SELECT phrase FROM segments.segment_differences WHERE segment_id = ? AND clear AND phrase <> '' ORDER BY rank"
        return [row[0] for row in self.rows(query, segment)]

    def chinese_paragraph(self, segment: int, text: str) -> bool | str | None:
        if (told := re.search(r"与其他人相比：(.+?)。", text)) is None:
            everybody = self.value("SELECT count(DISTINCT segment_id) = 1 FROM segments.user_segments")
            if self.texts("description_alike") in text:
                return "there are no others" if everybody else (not self.clear_phrases(segment) or "they differ")
            return True if everybody else None
        for phrase in told[1].split("、"):
            if (outcome := self.phrase(segment, phrase)) is not True:
                return f"{phrase}: {outcome}"
        return True

    def split_phrases(self, text: str) -> list[str]:
        """Phrases of a list, which may have commas and "and" themselves."""
        known = sorted({variant["phrase"] for _, _, variant in self.variants if "phrase" in variant}, key=len, reverse=True)
        found = []
        while text:
            own = re.match(
                r"(?:are (?:all|more often|less often) (?:of|with|without) .+?|have a (?:higher|lower) .+?)(?=, | and |\Z)", text
            )
            phrase = next((phrase for phrase in known if text.startswith(phrase)), own[0] if own else text)
            found.append(phrase)
            text = re.sub(r"\A(, | and )", "", text[len(phrase) :])
        return found

    def interests(self, segment: int, text: str) -> bool | str:
        shares = self.shares(segment)
        verbs = "|".join(verb.plural for verb in INTEREST_VERBS.values())
        body = re.sub(rf"\AMost of what they .*? is |\AMore than others they (?:{verbs}) ", "", text)
        categories = re.findall(r"(?:\A|, | and )(.+?) \((\d+)%(?: against (\d+)%)?\)", body)
        if text.startswith("Most of what they"):
            total = sum(share for name, (share, _) in shares.items() if any(name == category for category, *_ in categories))
            return (bool(categories) and len(categories) <= 3 and total >= 0.5) or f"{categories} have {total:.2f} together"
        if text.startswith("More than others they"):
            wrong = [name for name, *_ in categories if shares.get(name, (0, 1))[0] - shares.get(name, (0, 1))[1] < 0.05]
            return (bool(categories) and not wrong) or f"{categories}: {wrong} are not ahead"
        most = re.search(r"no category has more than (\d+)%", text)
        largest = max(share for share, _ in shares.values())
        return (most is not None and close(f"{most[1]}%", largest)) or f"the largest has {largest}"

    def typical(self, segment: int, text: str) -> bool | str | None:
        """The medians of a segment."""
        wrong = []
        for part in text.split(self.texts("semicolon")):
            found = next(((key, figures) for key, figures in self.matches(part) if key.startswith("typical_")), None)
            if found is None:
                return None
            key, figures = found
            column, slack = {
                "typical_frequency": ("frequency", 0),
                "typical_purchases": ("purchases", 0),
                "typical_no_purchase": ("coalesce(frequency, purchases)", 0),
                "typical_spent": ("monetary_value", 5.01),
                "typical_recency": ("recency_days", 0),
                "typical_likely": ("purchase_probability", 0.0501),
                "typical_leaving": ("churn_probability", 0.0501),
            }[key]
            told = float(re.sub(r"[^\d.-]", "", figures.get("n") or figures.get("amount") or figures.get("chance") or "0"))
            middle = self.value(f"SELECT quantile_disc({column}, 0.5) FROM profiles.user_profiles WHERE segment_id = {segment}")
            wrong += [] if abs(float(middle) - told) <= slack else [f"the median of {column} is {middle}"]
        return not wrong or "; ".join(wrong)

    def claim_hits(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = self.rows(
            "SELECT hit_rate_at_k, model_comparison.users, k FROM recommendations.model_comparison JOIN segments.segment_profiles ON segment = segment_name "
            "WHERE champion AND \"case\" = 'warm' AND segment_id = ?",
            block.segment,
        )
        share, users, k = found[0]
        return (close(figures["share"], share) and close(figures["n"], users) and figures["k"] == str(k)) or f"{share} of {users}, k {k}"

    def lists_against_popular(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        """The champion's lists of the segment beside the most popular ones: the difference of their means, and what its interval allows to say."""
        found = self.rows(
            "SELECT champion.ndcg_at_k - popular.ndcg_at_k, low, high, ahead.users FROM recommendations.segment_advantages AS ahead "
            "JOIN recommendations.model_comparison AS champion ON champion.champion AND champion.segment = ahead.segment AND champion.\"case\" = 'warm' "
            "JOIN recommendations.model_comparison AS popular ON popular.model = ahead.against AND popular.segment = ahead.segment "
            "AND popular.\"case\" = 'warm' JOIN segments.segment_profiles ON segment_name = ahead.segment WHERE segment_id = ?",
            block.segment,
        )
        if not found:
            return "nothing was compared"
        advantage, low, high, users = found[0]
        told = all(close(figures[name], value) for name, value in (("advantage", advantage), ("low", low), ("high", high), ("n", users)))
        warranted = users >= 10 and (high < 0 if key == "lists_worse" else low <= 0 <= high)
        return (told and warranted) or f"{advantage:+.3f}, {low:+.3f} to {high:+.3f}, of {users}"

    claim_lists_worse = claim_lists_no_better = lists_against_popular

    def claim_recommended_most(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        top = self.rows(
            f"SELECT coalesce(any_value(title), item_id) FROM recommendations.recommendations LEFT JOIN events.items USING (item_id) "
            f"WHERE user_id IN ({MEMBERS.format(segment=block.segment)}) GROUP BY item_id ORDER BY count(DISTINCT user_id) DESC, item_id LIMIT 4"
        )
        return figures["titles"] == self.texts.listed([title for (title,) in top]) or f"they are {top}"

    def claim_rule_quality(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        rule = self.value("SELECT rule FROM segments.segment_rules WHERE segment_id = ?", block.segment)
        cell = r"json_extract_string(attributes, '$.\1')"
        rule = re.sub(r"attributes\.(\w+)(?= (?:<|>)=? )", f"try_cast({cell} AS DOUBLE)", rule)
        rule = re.sub(r"attributes\.(\w+)", cell, rule)
        met, inside, size = self.rows(
            f"SELECT count(*), count(*) FILTER (user_id IN ({MEMBERS.format(segment=block.segment)})), "
            f"(SELECT count(*) FROM ({MEMBERS.format(segment=block.segment)})) "
            f"FROM (SELECT user_id, attributes FROM profiles.user_profiles) LEFT JOIN features.user_features USING (user_id) WHERE {rule}"
        )[0]
        told = close(figures["precision"], inside / max(met, 1)) and close(figures["coverage"], inside / max(size, 1))
        return told or f"{inside} of {met} who meet it, of {size}"

    def claim_act_reach(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        found = self.value("SELECT count(*) FILTER (consent_marketing) FROM profiles.user_profiles WHERE segment_id = ?", block.segment)
        return close(figures["reachable"], found) or f"they are {found}"

    def claim_act_download(self, block: Block, key: str, figures: dict[str, str]) -> bool | str:
        """The file of a card has its people who may be written to; rows of a company's own list are in no table."""
        if figures["file"] != f"segment-{block.segment}.csv":
            return f"the file is that of another segment: {figures['file']}"
        return key == "act_download_own" or self.claim_act_reach(block, key, {"reachable": figures["n"]})

    claim_act_download_own = claim_act_download

    def code(self, block: Block) -> bool | str:
        if block.segment is None or not block.text.startswith("persona audience save"):
            return True
        rule = self.value("SELECT rule FROM segments.segment_rules WHERE segment_id = ?", block.segment)
        return rule in block.text or f"the rule is {rule}"


def figures_beside_names(warrants: Warrants) -> list[str]:
    """The figures of the audience and of every card, each beside its name, against their queries."""
    queries = {
        "glance_users": "count(*)",
        "glance_reachable": "count(*) FILTER (consent_marketing)",
        "glance_buyers": "avg((purchases > 0)::int)",
        "glance_value": "avg(monetary_value)",
        "glance_total": "sum(monetary_value)",
        "glance_lifetime": "avg(lifetime_value)",
        "glance_likely": "100 * avg(purchase_probability)",
        "glance_leaving": "100 * avg(churn_probability)",
        "glance_left": "100 * avg(churn_probability)",
        "glance_sessions": "avg(sessions)",
    }
    named = {warrants.texts(key): query for key, query in queries.items()}
    findings, before = [], None
    for block in warrants.blocks:
        within = pattern_of(warrants.texts.entries["glance_within"]).match(block.text)
        name = within["name"] if within else block.text
        if block.tag == "span" and name in named and before is not None and before.tag == "b":
            where = f"segment_id = {block.segment}" if block.segment is not None else "true"
            if block.segment is None and named[name] != queries["glance_users"]:
                where = warrants.people_told_of()
            value = warrants.value(f"SELECT {named[name]} FROM profiles.user_profiles WHERE {where}")
            shown = re.search(r"-?[\d,.]+%?", before.text)
            warrants.asked += 1
            if shown is None or not close(shown[0], value):
                findings.append(f"{block.text} of {block.segment or 'all'}: {before.text!r}; found {value}")
        before = block
    return findings


def words_without_support(warrants: Warrants) -> list[str]:
    """Words of visits where the log shows none, and of time where it has no dates, anywhere on the page."""
    kinds = dict(warrants.rows("SELECT feature, support FROM features.feature_support"))
    whole = "\n".join(block.text for block in warrants.blocks)
    titles = {
        row[0]
        for row in warrants.rows(
            "SELECT DISTINCT coalesce(title, item_id) FROM events.items UNION SELECT DISTINCT category FROM events.items "
            "UNION SELECT unnest([target, replace(target, '_', ' '), definition]) FROM profiles.prediction_quality "
            "WHERE target NOT IN ('purchase', 'churn', 'spend', 'lifetime value')"
        )
        if row[0]
    }
    for title in sorted(titles, key=len, reverse=True):
        if title in whole:
            whole = whole.replace(title, "")
    findings = []
    if kinds["sessions"] == "absent":
        findings += [f"a word of visits: {word[0]}" for word in re.finditer(VISIT_WORDS, whole, re.I)]
    if kinds["recency_days"] == "absent":
        findings += [f"a word of time: {word[0]}" for word in re.finditer(TIME_WORDS, whole, re.I)]
    return findings


def false_claims(
    page: Path, published: Path, language: Language, minimum: int = 20, answers: dict[Any, list[tuple[Any, ...]]] | None = None
) -> list[str]:
    """What a page says that the published tables do not warrant.

    Args:
        answers: of these tables to what other pages of theirs were asked.
    """
    text = page.read_text(encoding="utf-8")
    warrants = Warrants(text, published, language, minimum, answers)
    try:
        found = warrants.check() + figures_beside_names(warrants) + Figures(text, warrants).wrong()
        return found + (words_without_support(warrants) if language == "en" else [])
    finally:
        warrants.connection.close()


def sentences(page: Path, published: Path, language: Language) -> list[Sentence]:
    """Every sentence of a page with the queries that warrant it."""
    warrants = Warrants(page.read_text(encoding="utf-8"), published, language)
    try:
        warrants.check()
        return warrants.sentences
    finally:
        warrants.connection.close()


@dataclass(frozen=True)
class Lie:
    """A page of which one thing is no longer true, and what."""

    told: str
    page: str


def lies_about(page: str) -> Iterator[Lie]:
    """The same page with a false claim each: what the check of claims has to notice, or it notices nothing."""
    places = {
        "a share of what matters first": r"<li>[^<]*?(\d+)%",
        "the size of a segment": r'<p class="size">([\d,]+)',
        "a figure of a card": r'<div class="facts"><div><b>([\d,]+)',
        "a figure of the audience": r'<div class="glance"><div><b>([\d,]+)',
        "the quality of a rule": r"<p>(\d+)% of those who meet it",
        "how many may be written to": r"<p>([\d,]+) of them may be written to",
        "the share in a description": r"<p>[^<]*?: (\d+)% of all users",
    }
    for told, pattern in places.items():
        if found := re.search(pattern, page):
            start, end = found.span(1)
            yield Lie(told, page[:start] + str(int(found[1].replace(",", "")) + 3) + page[end:])
    opposite = {
        "more": "fewer",
        "fewer": "more",
        "less": "more",
        "dearer": "cheaper",
        "cheaper": "dearer",
        "higher": "lower",
        "lower": "higher",
        "longer": "sooner",
    }
    if found := re.search(r"Compared with the others, they (?:\w+ )*?(" + "|".join(opposite) + r")\b", page):
        start, end = found.span(1)
        yield Lie("a phrase of a description", page[:start] + opposite[found[1]] + page[end:])
    for phrase, contrary in _contraries():
        if f" who {phrase}</h3>" in page:
            yield Lie("what tells a name from its namesakes", page.replace(f" who {phrase}</h3>", f" who {contrary}</h3>", 1))
            break
    for phrase, contrary in _contraries():
        if f">{phrase}</text>" in page:
            yield Lie("a phrase of a chart", page.replace(f">{phrase}</text>", f">{contrary}</text>", 1))
            break
    if found := re.search(r"Compared with the others, they [^<]+?\.(?= |<)", page):
        yield Lie("a segment that is said to be like the others", page.replace(found[0], DIFFERS_LITTLE, 1))
    few = texts_of("en")("few").format(minimum=20)
    for number, table in enumerate(re.finditer(r"<table>.*?</table>", page, re.S), start=1):
        for cell in re.finditer(r'<td class="n">([^<]*?)(\d)([^<]*)</td>', table[0]):
            figure = cell[1] + cell[2] + cell[3]
            other = "7" if figure == few else f"{cell[1]}9{cell[2]}{cell[3]}"
            start, end = (table.start() + place for place in cell.span())
            yield Lie(f"{figure} in table {number}", page[:start] + f'<td class="n">{other}</td>' + page[end:])
            break
    if (undated := texts_of("en")("undated")) not in page:
        yield Lie("a text without a gap", page.replace('<ul class="first">', f'<ul class="first"><li>{undated}</li>', 1))
    yield Lie("a sentence that nothing warrants", page.replace('<ul class="first">', '<ul class="first"><li>They love you.</li>', 1))


def _contraries() -> Iterator[tuple[str, str]]:
    """Each phrase with one of the other side of its feature."""
    table = yaml.safe_load((PACKAGE / "warehouse" / "user_features.yaml").read_text(encoding="utf-8"))
    for entry in table.values():
        high, low = ([variant["phrase"] for variant in entry.get(side) or [] if "phrase" in variant] for side in ("high", "low"))
        if high and low:
            yield from [(phrase, low[-1]) for phrase in high] + [(phrase, high[-1]) for phrase in low]


if __name__ == "__main__":
    for sentence in sentences(Path(sys.argv[1]), Path(sys.argv[2]), "zh" if sys.argv[3:] == ["zh"] else "en"):
        print(f"{'' if sentence.warranted else 'NO WARRANT: '}{sentence.text}", *sentence.queries, sep="\n    ")
