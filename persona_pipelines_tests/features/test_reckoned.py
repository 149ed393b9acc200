"""Every column of the features, reckoned once more from its definition in plain Python, on logs drawn at random."""

from __future__ import annotations

import cmath
import datetime as dt
import math
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import pandas as pd
import pytest

from persona_pipelines.features import attention, items, users
from persona_pipelines.features.interactions import FEW_RATINGS, SMALLEST_WEIGHT, InteractionRules, as_of_interactions
from persona_pipelines.settings.stages import InteractionLevel
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import DAY, at, events_table

ZONE = "Europe/Berlin"
AS_OF = DAY + dt.timedelta(days=150)
CATALOGUE: dict[str, tuple[str | None, float | None]] = {
    "a": ("Garden", 10.0),
    "b": ("Garden", 20.0),
    "c": ("Garden", 40.0),
    "d": ("Books", 5.0),
    "e": (None, 7.0),
    "f": ("Books", None),
    "never": ("Toys", 3.0),
    "cheap": ("Garden", 4.0),
    "dear": ("Garden", 90.0),
}
KINDS = {
    "page_view": 6,
    "item_view": 8,
    "purchase": 4,
    "booking": 1,
    "refund": 3,
    "cancellation": 1,
    "rating": 3,
    "search": 2,
    "impression": 8,
    "click": 4,
    "like": 1,
    "share": 1,
    "comment": 1,
    "follow": 2,
    "unfollow": 1,
}
LOOKING = ("page_view", "item_view", "search", "click")
Event = dict[str, Any]


def drawn(seed: int) -> list[Event]:
    """What some people do in half a year, and after the as-of date: some of them much, one once, one who only looks, one without an id."""
    pick = random.Random(seed)
    much: dict[str | None, int] = {"much": 150, "some": 40, "once": 1, "looks": 6, None: 20}
    log: list[Event] = []
    for user, count in much.items():
        for _ in range(count):
            kind = "page_view" if user == "looks" else pick.choices(list(KINDS), list(KINDS.values()))[0]
            hours, paid = pick.uniform(0, 24 * 170), kind in ("purchase", "booking", "refund", "cancellation")
            log.append(
                {
                    "event_type": kind,
                    "timestamp": at(hours).replace(microsecond=0),
                    "user_id": user,
                    "anonymous_id": f"device of {user}",
                    "item_id": None
                    if kind in ("page_view", "search", "follow", "unfollow")
                    else pick.choice([*"abcdef", "unlisted", None]),
                    "value": pick.choice([None, 9.0, 18.5, 30.0]) if paid else float(pick.randint(1, 5)) if kind == "rating" else None,
                    "quantity": pick.choice([None, 1.0, 2.0]) if paid or kind == "click" else None,
                    "propensity": pick.choice([None, 0.5, 0.02, 0.001]),
                    "attention_ms": pick.choice([None, 400, 2500, 60_000]),
                    "scroll_pct": pick.choice([None, 10.0, 80.0]),
                    "device": pick.choice([None, "mobile", "tablet", "desktop"]),
                    "channel": pick.choice([None, "email", "search", "direct"]),
                    "session_id": f"{user}-{int(hours // 30)}",
                    "target_user_id": pick.choice(["much", "some", "elsewhere"]) if kind in ("follow", "unfollow") else None,
                }
            )
    return [*log, {**log[0], "user_id": "told once", "event_type": "impression", "timestamp": at(9)}]


def mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def price_rank(item: str | None) -> float | None:
    """How many of the others in the category are cheaper, where five have a price."""
    category, price = CATALOGUE.get(item or "", (None, None))
    others = [cost for name, (kind, cost) in CATALOGUE.items() if kind == category and cost is not None and name != item]
    return sum(cost < price for cost in others) / len(others) if price is not None and len(others) >= 4 else None


def shares(mine: list[Event]) -> dict[str, float]:
    """The share of each category in attention, the largest first."""
    paid: Counter[str] = Counter()
    for event in mine:
        category = CATALOGUE.get(event["item_id"] or "", (None, None))[0]
        if category is not None:
            paid[category] += max(event["attention_ms"] or 0, 1000)
    return {name: paid[name] / paid.total() for name in sorted(paid, key=lambda name: (-paid[name], name))}


def half_life(mine: list[Event], category: str) -> float | None:
    """ln 2 times the mean days since the first one of interest, weighted by attention."""
    paid: Counter[dt.date] = Counter()
    for event in mine:
        if CATALOGUE.get(event["item_id"] or "", (None, None))[0] == category:
            paid[event["timestamp"].date()] += max(event["attention_ms"] or 0, 1000)
    if len(paid) < 3:
        return None
    return math.log(2) * sum((day - min(paid)).days * much for day, much in paid.items()) / paid.total()


def entropy(found: Iterable[float]) -> float:
    return -sum(share * math.log2(share) for share in found)


def circle(values: list[int], period: int) -> tuple[float | None, float | None]:
    """The direction of the mean of points on a circle, in units of its period, and the length of it."""
    if not values:
        return None, None
    middle = sum(cmath.exp(2j * math.pi * (value + 0.5) / period) for value in values) / len(values)
    return (cmath.phase(middle) / (2 * math.pi) * period) % period, abs(middle)


def fatigue(mine: list[Event]) -> float | None:
    told = sorted(
        (event for event in mine if event["event_type"] in ("impression", "click")),
        key=lambda event: (event["timestamp"], event["event_type"] == "click"),
    )
    messages = sum(event["event_type"] == "impression" for event in told)
    if messages < 4:
        return None
    counts, number = Counter[tuple[str, str]](), 0
    for event in told:
        number += event["event_type"] == "impression"
        counts["early" if number * 2 <= messages else "late", event["event_type"]] += 1
    return counts["early", "click"] / counts["early", "impression"] - counts["late", "click"] / counts["late", "impression"]


def follows(log: list[Event]) -> set[tuple[str, str]]:
    told: dict[tuple[str, str], tuple[dt.datetime, bool]] = {}
    for event in log:
        pair, begins = (event["user_id"], event["target_user_id"]), event["event_type"] == "follow"
        if event["target_user_id"] is not None and event["user_id"] is not None and pair[0] != pair[1]:
            told[pair] = max(told.get(pair, (dt.datetime.min, False)), (event["timestamp"], begins))
    return {pair for pair, (_, follow) in told.items() if follow}


def of_user(user: str, known: list[Event]) -> dict[str, Any]:
    """The features of a user by their definitions in the data dictionary."""
    mine = [event for event in known if event["user_id"] == user]
    acts = [event for event in mine if event["event_type"] != "impression"]
    days = {event["timestamp"].date() for event in acts}
    local = [event["timestamp"].replace(tzinfo=dt.UTC).astimezone(ZoneInfo(ZONE)) for event in acts]
    count = Counter(event["event_type"] for event in mine)
    bought = [event for event in mine if event["event_type"] in ("purchase", "booking")]
    back = [event for event in mine if event["event_type"] in ("refund", "cancellation")]
    buying = sorted({event["timestamp"].date() for event in bought})

    def age(day: dt.date) -> int:
        return (AS_OF - day).days

    def worth(found: Iterable[Event]) -> float:
        return sum(event["value"] or 0 for event in found)

    spent = worth(bought)
    first_day = worth(event for event in bought if event["timestamp"].date() == buying[0])
    clear = [event for event in bought if event["value"] is not None and CATALOGUE.get(event["item_id"] or "", (None, None))[1]]
    cheap = [event for event in clear if event["value"] / (event["quantity"] or 1) < 0.95 * CATALOGUE[event["item_id"]][1]]
    looked = {event["session_id"] for event in acts if event["event_type"] in LOOKING}
    inside = [event for event in acts if event["session_id"] in looked]
    visits = Counter(event["session_id"] for event in inside)
    stayed = [event["attention_ms"] for event in inside if event["attention_ms"] is not None]
    attended = [event["attention_ms"] for event in mine if event["attention_ms"] is not None]
    on_items = [event["attention_ms"] for event in mine if event["attention_ms"] is not None and event["item_id"] is not None]
    met = {event["item_id"] for event in acts} - {None}
    interests = shares(acts)
    devices = Counter(event["device"] for event in acts if event["device"])
    channels = Counter(event["channel"] for event in mine if event["channel"])
    usual = local if len(days) >= 2 else []  # once is no habit
    hour, hour_strength = circle([moment.hour for moment in usual], 24)
    weekday, week_strength = circle([moment.weekday() for moment in usual], 7)
    recent = sum(age(event["timestamp"].date()) < 7 for event in acts)
    prior = sum(7 <= age(event["timestamp"].date()) < 35 for event in acts)
    since = age(min(days)) if days else None
    edges = follows(known)

    def during(first: int, last: int) -> float | None:
        return mean(first <= moment.hour <= last for moment in usual)

    return {
        "recency_days": age(max(days)) if days else None,
        "tenure_days": since,
        "active_days": len(days),
        "events": len(mine),
        "purchases": len(bought),
        "frequency": len(buying),
        "purchase_recency_days": age(buying[-1]) if buying else None,
        "monetary_value": spent - worth(back),
        "average_order_value": ratio(spent, len(buying)),
        "repeat_order_value": ratio(spent - first_day, len(buying) - 1) if buying else None,
        "sessions": len(visits),
        "purchase_days_last_30": sum(age(day) < 30 for day in buying),
        "purchase_days_last_90": sum(age(day) < 90 for day in buying),
        "spent_last_90_days": worth(event for event in bought if age(event["timestamp"].date()) < 90),
        "purchase_gap_days": ratio((buying[-1] - buying[0]).days, len(buying) - 1) if buying else None,
        "active_gap_days": ratio((max(days) - min(days)).days, len(days) - 1) if days else None,
        "attention_minutes_per_week": sum(attended) / 60_000 / max((since + 1) / 7, 1) if attended and since is not None else None,
        "items_per_session": ratio(len({event["item_id"] for event in inside} - {None}), len(visits)),
        "bounce_share": mean(size == 1 for size in visits.values()),
        "events_per_session": ratio(len(inside), len(visits)),
        "attention_ms_per_session": ratio(sum(stayed), len(visits)) if stayed else None,
        "attention_ms_per_item": ratio(sum(on_items), len(met)) if on_items else None,
        "items": len(met),
        "top_category": next(iter(interests), None),
        "top_category_share": next(iter(interests.values()), None),
        "category_entropy": entropy(interests.values()) if interests else None,
        "interest_concentration": sum(share**2 for share in interests.values()) if interests else None,
        "focus_share": ratio(sum(on_items), sum(attended)),
        "scroll_depth": mean(event["scroll_pct"] for event in mine if event["scroll_pct"] is not None),
        "discount_share": ratio(len(cheap), len(clear)),
        "message_fatigue": fatigue(mine),
        "peak_weekday": weekday,
        "week_rhythm_strength": week_strength,
        "peak_hour": hour,
        "rhythm_strength": hour_strength,
        "night_share": during(0, 5),
        "morning_share": during(6, 11),
        "afternoon_share": during(12, 17),
        "evening_share": during(18, 23),
        "weekend_share": mean(moment.weekday() >= 5 for moment in usual),
        "mobile_share": ratio(devices["mobile"], devices.total()),
        "tablet_share": ratio(devices["tablet"], devices.total()),
        "top_channel": min(channels, key=lambda name: (-channels[name], name)) if channels else None,
        "channel_entropy": entropy(number / channels.total() for number in channels.values()) if channels else None,
        "price_level": mean(rank for event in acts if (rank := price_rank(event["item_id"])) is not None),
        "impressions": count["impression"],
        "clicks": count["click"],
        "click_rate": min(1.0, count["click"] / count["impression"]) if count["impression"] else None,
        "searches": count["search"],
        "social_actions": sum(count[kind] for kind in ("like", "share", "comment", "follow")),
        "followers": sum(target == user for _, target in edges),
        "following": sum(source == user for source, _ in edges),
        "ratings": count["rating"],
        "average_rating": mean(event["value"] for event in mine if event["event_type"] == "rating"),
        "events_last_7_days": recent,
        "events_prior_28_days": prior,
        "trend": math.log2((recent + 1) / (prior / 4 + 1)) if since is not None and since >= 34 else None,
    }


def of_item(item: str, known: list[Event]) -> dict[str, Any]:
    here = [event for event in known if event["item_id"] == item]
    days = {event["timestamp"].date() for event in here}
    bought = [event for event in here if event["event_type"] in ("purchase", "booking")]
    back = [event for event in here if event["event_type"] in ("refund", "cancellation")]

    def people(found: list[Event]) -> int:
        return len({event["user_id"] or event["anonymous_id"] for event in found})

    return {
        "category": CATALOGUE[item][0],
        "price": CATALOGUE[item][1],
        "price_rank": price_rank(item),
        "events": len(here),
        "users": people(here),
        "views": sum(event["event_type"] == "item_view" for event in here),
        "purchases": len(bought),
        "revenue": sum(event["value"] or 0 for event in bought) - sum(event["value"] or 0 for event in back) if here else None,
        "purchase_share": ratio(people(bought), people(here)),
        "ratings": sum(event["event_type"] == "rating" for event in here),
        "average_rating": mean(event["value"] for event in here if event["event_type"] == "rating"),
        "attention_ms_per_event": ratio(sum(event["attention_ms"] or 0 for event in here), len(here)),
        "recency_days": (AS_OF - max(days)).days if here else None,
        "age_days": (AS_OF - min(days)).days if here else None,
    }


RULES = InteractionRules(
    {"purchase": 5.0, "item_view": 1.0, "rating": 4.0, "refund": -2.0, "click": 2.0},
    30,
    {
        "purchase": InteractionLevel(scale="square_root", by="value", unit=10),
        "click": InteractionLevel(scale="threshold", by="quantity", unit=2),
        "rating": InteractionLevel(scale="own_middle"),
    },
)


def strength(event: Event) -> float:
    weight = RULES.weights[event["event_type"]]
    if event["event_type"] == "purchase" and event["value"] is not None:
        return weight * math.sqrt(event["value"] / 10)
    if event["event_type"] == "click" and event["quantity"] is not None:
        return weight * (event["quantity"] >= 2)
    return weight


def of_pairs(known: list[Event]) -> dict[tuple[str, str], dict[str, Any]]:
    """How much each person cares for each item, by the definition of ``interactions``."""
    told = [event for event in known if event["user_id"] and event["item_id"] and event["event_type"] in RULES.weights]
    usual = mean(1 / event["propensity"] for event in told if event["propensity"] and strength(event) > 0)
    assert usual is not None
    rated = [event for event in told if event["event_type"] == "rating"]
    everyone = mean(event["value"] for event in rated) or 0.0
    found = {}
    for user, item in {(event["user_id"], event["item_id"]) for event in told}:
        own = [event["value"] for event in rated if event["user_id"] == user]
        middle = mean(own) or 0.0
        middle = middle if len(own) >= FEW_RATINGS else max(middle, everyone)
        here = [event for event in told if (event["user_id"], event["item_id"]) == (user, item)]
        rating = mean(event["value"] for event in here if event["event_type"] == "rating")
        liked = rating is None or rating >= middle - 1e-9
        importance = [min(1 / event["propensity"] / usual, 100) if event["propensity"] else 1.0 for event in here]
        ages = [(at(0, AS_OF + dt.timedelta(days=1)) - event["timestamp"]).total_seconds() / 86_400 for event in here]
        total = sum(strength(event) * much * 0.5 ** min(age / 30, 20) for event, much, age in zip(here, importance, ages, strict=True))
        good = liked and max(map(strength, here)) > 0
        found[user, item] = {
            "weight": max(total, SMALLEST_WEIGHT) if good else 0.0,
            "liked": liked,
            "importance": mean(much for event, much in zip(here, importance, strict=True) if strength(event) > 0) or 1.0,
            "last_time": max(event["timestamp"] for event in here),
            "events": len(here),
            "rating": rating,
        }
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_interactions_are_what_their_definition_says(warehouse, seed: int) -> None:
    log = drawn(seed)
    reckoned = of_pairs([event for event in log if event["timestamp"].date() <= AS_OF])
    pairs = warehouse.frame(as_of_interactions(events_table(warehouse, *log), RULES, AS_OF)).set_index(["user_id", "item_id"])
    assert set(pairs.index) == set(reckoned)
    assert set(pairs.columns) == {"as_of_date", *next(iter(reckoned.values()))}
    assert set(pairs["as_of_date"].astype(str)) == {str(AS_OF)}
    assert {pair: wrong for pair, said in reckoned.items() if (wrong := differing(pairs.loc[pair], said))} == {}
    assert {False, True} <= {said["liked"] for said in reckoned.values()}
    assert any(said["weight"] == SMALLEST_WEIGHT for said in reckoned.values()) or seed > 1


def differing(found: pd.Series, reckoned: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Columns in which two rows differ by more than the rounding of exact sums."""
    pairs = {name: (None if pd.isna(found[name]) else found[name], value) for name, value in reckoned.items()}
    return {
        name: pair
        for name, pair in pairs.items()
        if (pair[0] is None) != (pair[1] is None)
        or not (pair[0] == pair[1] or (isinstance(pair[1], int | float) and pair[0] == pytest.approx(pair[1], rel=1e-4, abs=2e-5)))
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_features_are_what_their_definitions_say(warehouse, seed: int) -> None:
    log = drawn(seed)
    table = events_table(warehouse, *log)
    goods = warehouse.keep(
        "goods",
        ibis.memtable(pd.DataFrame([(name, *said) for name, said in CATALOGUE.items()], columns=["item_id", "category", "price"])),
    )
    within = [event for event in log if event["timestamp"].date() <= AS_OF]
    known = users.known_until(table, AS_OF)
    spread = attention.category_shares(known, goods)
    people = warehouse.frame(users.user_features(known, goods, spread, ZONE)).set_index("user_id")
    assert set(people.index) == {event["user_id"] for event in within} - {None}
    assert set(people["as_of_date"].astype(str)) == {str(AS_OF)}
    for user, row in people.iterrows():
        reckoned = of_user(str(user), within)
        assert ["as_of_date", *reckoned] == contracts.USER_FEATURES.column_names[1:]
        assert differing(row, reckoned) == {}

    interests = warehouse.frame(spread).set_index(["user_id", "category"])
    expected = {
        (user, name): {"interest_share": share, "rank": rank, "interest_half_life_days": half_life(mine, name)}
        for user in people.index
        for mine in [[event for event in within if event["user_id"] == user and event["event_type"] != "impression"]]
        for rank, (name, share) in enumerate(shares(mine).items(), start=1)
    }
    assert set(interests.index) == set(expected)
    assert {pair: wrong for pair, said in expected.items() if (wrong := differing(interests.loc[pair], said))} == {}

    things = warehouse.frame(items.item_features(table, goods, AS_OF)).set_index("item_id")
    assert set(things.index) == set(CATALOGUE)
    for item, row in things.iterrows():
        reckoned = of_item(str(item), within)
        assert ["as_of_date", *reckoned] == contracts.ITEM_FEATURES.column_names[1:]
        assert differing(row, reckoned) == {}
