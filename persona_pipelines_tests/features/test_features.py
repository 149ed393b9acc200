"""Features on hand-made events, with values worked out by hand; and that nothing later than the as-of date matters."""

import datetime as dt
import math

import ibis
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.events import listings
from persona_pipelines.features import attention, items, users
from persona_pipelines.features.interactions import InteractionRules, interactions
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines_tests.conftest import DAY, at, events_table, law

ITEMS = {"a": ("Garden", 10.0), "b": ("Garden", 20.0), "c": ("Books", 5.0)}


def catalogue(warehouse):
    frame = {"item_id": list(ITEMS), "category": [value[0] for value in ITEMS.values()], "price": [value[1] for value in ITEMS.values()]}
    return warehouse.keep("test_items", ibis.memtable(frame))


def features(warehouse, *events, as_of=DAY, timezone="UTC"):
    table, goods = events_table(warehouse, *events), catalogue(warehouse)
    known = users.known_until(table, as_of)
    shares = attention.category_shares(known, goods)
    return warehouse.frame(users.user_features(known, goods, shares, timezone)).set_index("user_id")


def event(kind: str, hour: float, day: dt.date = DAY, user: str = "u", **more) -> dict:
    return {"event_type": kind, "timestamp": at(hour, day), "user_id": user, **more}


@pytest.mark.slow
def test_recency_frequency_and_monetary_value(warehouse) -> None:
    week_ago = DAY - dt.timedelta(days=7)
    row = features(
        warehouse,
        event("purchase", 10, week_ago, value=30.0, item_id="a"),
        event("purchase", 11, week_ago, value=12.5, item_id="c"),
        event("purchase", 12, DAY - dt.timedelta(days=2), value=7.5),
        event("refund", 13, DAY - dt.timedelta(days=1), value=12.5),
    ).loc["u"]
    assert (row["recency_days"], row["tenure_days"], row["frequency"], row["purchase_recency_days"]) == (1, 7, 2, 2)
    assert row["monetary_value"] == 37.5
    assert row["average_order_value"] == 25.0
    assert row["repeat_order_value"] == 7.5  # the two of the first day are left out


@pytest.mark.slow
def test_ratings_and_amounts_below_zero_keep_the_contracts(warehouse) -> None:
    """Jester's ratings go from -10 to 10, and the configuration may let amounts be negative."""
    happened = [
        event("rating", 1, item_id="a", value=-9.5),
        event("rating", 2, item_id="b", value=-0.5),
        event("purchase", 3, item_id="c", value=-4.0),
        event("purchase", 4, DAY - dt.timedelta(days=3), item_id="d", value=-6.0),
    ]
    table, goods = events_table(warehouse, *happened), catalogue(warehouse)
    known = users.known_until(table, DAY)
    shares = attention.category_shares(known, goods)
    nobody_listed = ibis.memtable(
        [],
        schema=ibis.schema(
            {name: contracts.USERS.column(name).type for name in contracts.USERS.column_names if name not in contracts.NOT_LISTED}
        ),
    )
    made = {
        contracts.USERS: listings.users(nobody_listed, table, True),
        contracts.USER_FEATURES: users.user_features(known, goods, shares, "UTC"),
        contracts.ITEMS: listings.items(goods.mutate(**{name: ibis.null("string") for name in ("categories",)}), table),
    }
    for contract, expression in made.items():
        warehouse.ensure(contract)
        missing = {column.name: ibis.null(column.type) for column in contract.columns if column.name not in expression.columns}
        warehouse.append(contract, expression.mutate(**missing))
        assert keeps_contract(warehouse, contract).passed, keeps_contract(warehouse, contract).words
    assert warehouse.frame(warehouse.table(contracts.USER_FEATURES)).loc[0, "average_rating"] == -5


@pytest.mark.slow
def test_interest_shares_and_their_entropy(warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "RANKED", 1)
    row = features(
        warehouse,
        event("item_view", 1, item_id="a", attention_ms=2000),
        event("item_view", 2, item_id="b", attention_ms=4000),
        event("item_view", 3, item_id="c", attention_ms=2000),
        event("page_view", 4, attention_ms=9000),
    ).loc["u"]
    assert row["top_category"] == "Garden"
    assert row["top_category_share"] == 0.75
    assert row["category_entropy"] == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)), abs=1e-6)
    assert row["attention_ms_per_item"] == pytest.approx(8000 / 3)
    assert row["price_level"] == pytest.approx((0 + 1 + 0) / 3, abs=1e-6)


@pytest.mark.slow
def test_rhythm_follows_the_time_zone(warehouse) -> None:
    evenings = [event("page_view", 23, DAY - dt.timedelta(days=days)) for days in (0, 3)]
    night = features(warehouse, *evenings).loc["u"]
    morning = features(warehouse, *evenings, timezone="Asia/Shanghai").loc["u"]
    assert (night["evening_share"], morning["morning_share"]) == (1.0, 1.0)
    saturday = DAY + dt.timedelta(days=5)
    saturdays = [event("page_view", 12, saturday - dt.timedelta(days=days)) for days in (0, 7)]
    assert features(warehouse, *saturdays, as_of=saturday).loc["u"]["weekend_share"] == 1.0


def test_once_is_no_habit(warehouse) -> None:
    """Of who was active on one day nobody knows when they usually are, however much they did."""
    row = features(warehouse, *(event("page_view", hour) for hour in (1, 2, 3))).loc["u"]
    assert row[list(users.HABITS)].isna().all()
    assert row["active_days"] == 1


def test_what_a_person_was_shown_is_no_choice_of_theirs(warehouse) -> None:
    shown = [event("impression", hour, item_id=item, device="mobile") for hour, item in ((1, "a"), (2, "b"), (3, "c"))]
    row = features(warehouse, *shown).loc["u"]
    assert row["items"] == 0
    assert row[["top_category", "category_entropy", "interest_concentration", "price_level", "mobile_share"]].isna().all()
    chosen = features(warehouse, *shown, event("click", 4, item_id="b", device="desktop")).loc["u"]
    assert (chosen["items"], chosen["mobile_share"], chosen["category_entropy"]) == (1, 0.0, 0.0)


def test_prices_of_a_few_items_rank_nothing(warehouse) -> None:
    """The rank of one of two or three says which item it is, and not how dear."""
    row = features(warehouse, event("purchase", 1, item_id="a"), event("purchase", 2, item_id="b")).loc["u"]
    assert pd.isna(row["price_level"])


def test_devices_channels_and_responses(warehouse) -> None:
    row = features(
        warehouse,
        event("impression", 1),
        event("impression", 2, channel="email"),
        event("click", 3, channel="email", device="mobile"),
        event("page_view", 4, channel="search", device="desktop"),
        event("search", 5),
        event("like", 6),
    ).loc["u"]
    assert (row["impressions"], row["clicks"], row["click_rate"]) == (2, 1, 0.5)
    assert (row["mobile_share"], row["tablet_share"]) == (0.5, 0.0)
    assert row["top_channel"] == "email"
    assert row["channel_entropy"] == pytest.approx(-(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3)), abs=1e-6)
    assert (row["searches"], row["social_actions"]) == (1, 1)


@pytest.mark.slow
def test_trend_compares_the_last_week_with_the_four_before(warehouse) -> None:
    recent = [event("page_view", 1, DAY - dt.timedelta(days=days)) for days in range(7)]
    before = [event("page_view", 1, DAY - dt.timedelta(days=days)) for days in range(7, 40)]
    row = features(warehouse, *recent, *before).loc["u"]
    assert (row["events_last_7_days"], row["events_prior_28_days"]) == (7, 28)
    assert row["trend"] == 0.0
    first = event("page_view", 1, DAY - dt.timedelta(days=34))
    assert features(warehouse, *recent, first).loc["u"]["trend"] == pytest.approx(3.0 - math.log2(1.25), abs=1e-9)


@pytest.mark.slow
def test_of_whom_the_log_knows_less_than_five_weeks_there_is_no_trend(warehouse) -> None:
    recent = [event("page_view", 1, DAY - dt.timedelta(days=days)) for days in range(7)]
    assert math.isnan(features(warehouse, *recent).loc["u"]["trend"])
    assert math.isnan(features(warehouse, *recent, event("page_view", 1, DAY - dt.timedelta(days=33))).loc["u"]["trend"])


@pytest.mark.slow
def test_a_message_that_was_sent_is_no_act(warehouse) -> None:
    week_ago = DAY - dt.timedelta(days=7)
    found = features(
        warehouse,
        event("page_view", 10, week_ago),
        event("page_view", 10, week_ago - dt.timedelta(days=1), session_id="earlier"),
        event("impression", 2, session_id="later"),
        event("impression", 3, user="only sent"),
    )
    row = found.loc["u"]
    assert (row["recency_days"], row["active_days"], row["events"], row["impressions"], row["sessions"]) == (7, 2, 3, 1, 2)
    assert (row["night_share"], row["morning_share"]) == (0, 1)
    assert found.loc["only sent"][["recency_days", "tenure_days", "night_share", "trend"]].isna().all()
    assert (found.loc["only sent"]["active_days"], found.loc["only sent"]["sessions"]) == (0, 0)


@pytest.mark.slow
def test_followers_are_counted_by_the_last_follow_or_unfollow(warehouse) -> None:
    table = features(
        warehouse,
        event("follow", 1, user="a", target_user_id="b"),
        event("follow", 1, user="b", target_user_id="c"),
        event("follow", 1, user="c", target_user_id="b"),
        event("unfollow", 2, user="c", target_user_id="b"),
        event("follow", 1, user="d", target_user_id="b"),
        event("follow", 3, user="d", target_user_id="b"),
        event("follow", 1, user="b", target_user_id="b"),
    )
    assert table["followers"].to_dict() == {"a": 0, "b": 2, "c": 1, "d": 0}
    assert table["following"].to_dict() == {"a": 1, "b": 1, "c": 0, "d": 1}


@pytest.mark.slow
def test_unknown_is_null_and_not_zero(warehouse) -> None:
    row = features(warehouse, event("page_view", 1)).loc["u"]
    assert row[["average_order_value", "repeat_order_value", "click_rate", "average_rating", "price_level", "mobile_share"]].isna().all()
    assert row["monetary_value"] == 0


@pytest.mark.slow
@law(60)
@given(
    later=st.lists(
        st.tuples(st.sampled_from(["purchase", "item_view", "click", "rating"]), st.integers(24, 900), st.sampled_from("abc")), max_size=6
    )
)
def test_nothing_after_the_as_of_date_reaches_a_feature(warehouse, later) -> None:
    known = [
        event("purchase", 3, item_id="a", value=5.0),
        event("item_view", 4, item_id="c", attention_ms=3000),
        event("click", 5, user="w"),
    ]
    future = [event(kind, hour, item_id=item, value=9.0, attention_ms=7000) for kind, hour, item in later]
    assert features(warehouse, *known, *future).sort_index().equals(features(warehouse, *known).sort_index())
    end, rules = at(24), InteractionRules({"purchase": 5.0, "item_view": 1.0}, 90)
    with_future = warehouse.frame(interactions(events_table(warehouse, *known, *future), rules, end).order_by("user_id", "item_id"))
    without = warehouse.frame(interactions(events_table(warehouse, *known), rules, end).order_by("user_id", "item_id"))
    assert with_future.equals(without)


def test_items_count_users_views_purchases_and_revenue(warehouse) -> None:
    table = events_table(
        warehouse,
        event("item_view", 1, item_id="a"),
        event("item_view", 2, item_id="a", user="w"),
        event("purchase", 3, item_id="a", value=10.0),
        event("refund", 4, item_id="a", value=4.0),
        event("rating", 5, item_id="a", value=3.0),
        event("rating", 6, item_id="a", user="w", value=5.0),
    )
    found = warehouse.frame(items.item_features(table, catalogue(warehouse), DAY)).set_index("item_id")
    row = found.loc["a"]
    assert (row["users"], row["views"], row["purchases"], row["revenue"], row["average_rating"], row["purchase_share"]) == (
        2,
        2,
        1,
        6.0,
        4.0,
        0.5,
    )
    assert found.loc["c", "events"] == 0
    assert set(contracts.ITEM_FEATURES.column_names) - {"item_id"} <= set(found.columns)


def test_the_half_life_of_an_interest_is_that_of_its_decay(warehouse) -> None:
    table = events_table(
        warehouse,
        # Attention halves every day: the mean lag of 4, 2, 1 seconds on days 0, 1, 2 is 4 / 7 days.
        *(event("item_view", 5, DAY + dt.timedelta(days=day), item_id="a", attention_ms=4000 // 2**day) for day in range(3)),
        event("item_view", 5, item_id="c", attention_ms=5000),
    )
    shares = warehouse.frame(
        attention.category_shares(users.known_until(table, DAY + dt.timedelta(days=9)), catalogue(warehouse))
    ).set_index("category")
    assert shares.loc["Garden", "interest_half_life_days"] == pytest.approx(math.log(2) * 4 / 7, abs=1e-6)
    assert math.isnan(shares.loc["Books", "interest_half_life_days"])


@pytest.mark.slow
def test_messages_tire_where_the_first_half_is_clicked_more(warehouse) -> None:
    shown = [event("impression", hour) for hour in range(8)]
    row = features(warehouse, *shown, event("click", 0.5), event("click", 1.5), event("click", 6.5)).loc["u"]
    assert row["message_fatigue"] == pytest.approx(2 / 4 - 1 / 4)
    few = features(warehouse, *shown[:3], event("click", 0.5)).loc["u"]
    assert math.isnan(few["message_fatigue"])


@pytest.mark.slow
def test_discounts_focus_and_depth(warehouse) -> None:
    row = features(
        warehouse,
        event("purchase", 1, item_id="a", value=16.0, quantity=2),
        event("purchase", 2, item_id="b", value=20.0, quantity=1),
        event("purchase", 3, item_id="c", value=None),
        event("item_view", 4, item_id="a", attention_ms=3000, scroll_pct=80.0),
        event("page_view", 5, attention_ms=1000, scroll_pct=20.0),
    ).loc["u"]
    assert row["discount_share"] == 0.5
    assert row["focus_share"] == 0.75
    assert row["scroll_depth"] == 50.0


@pytest.mark.slow
def test_rhythms_are_circular(warehouse) -> None:
    row = features(warehouse, event("page_view", 23), event("page_view", 25), as_of=DAY + dt.timedelta(days=2)).loc["u"]
    # Eleven at night and one in the morning meet around midnight, not at noon.
    assert row["peak_hour"] == pytest.approx(0.5, abs=1e-4)
    assert row["rhythm_strength"] == pytest.approx(math.cos(math.pi / 12), abs=1e-4)
    week = features(
        warehouse, event("page_view", 1), event("page_view", 1, DAY + dt.timedelta(days=7)), as_of=DAY + dt.timedelta(days=9)
    ).loc["u"]
    assert (week["peak_weekday"], week["week_rhythm_strength"]) == pytest.approx((DAY.weekday() + 0.5, 1.0), abs=1e-4)
    assert (week["active_gap_days"], week["bounce_share"]) == (7, 0)


@pytest.mark.slow
def test_gaps_between_purchases_and_recent_ones(warehouse) -> None:
    days = [DAY - dt.timedelta(days=number) for number in (100, 60, 20)]
    row = features(warehouse, *(event("purchase", 1, day, value=10.0) for day in days)).loc["u"]
    assert (row["purchase_gap_days"], row["purchase_days_last_30"], row["purchase_days_last_90"], row["spent_last_90_days"]) == (
        40,
        1,
        2,
        20.0,
    )


@pytest.mark.slow
def test_a_person_who_is_followed_has_the_pseudonym_that_they_have_elsewhere(warehouse, configure, tmp_path) -> None:
    from persona_pipelines_tests.conftest import ingested, rows, write

    write(tmp_path, "social.csv", "at,type,who,whom", "2025-09-01T10:00:00Z,follow,ann, bob ", "2025-09-01T11:00:00Z,login,bob,null")
    fields = {"timestamp": "at", "event_type": "type", "user_id": "who", "target_user_id": "whom"}
    ingested(warehouse, configure({"name": "social", "path": "social.csv", "format": "csv", "fields": fields}))
    (ann, followed), (bob, nobody) = rows(warehouse, "SELECT user_id, target_user_id FROM events.events ORDER BY timestamp")
    assert (followed, nobody) == (bob, None)
    assert ann != bob
