import datetime as dt

import ibis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.events.bots import filter_reason
from persona_pipelines.events.duplicates import repeated
from persona_pipelines.events.identity import device_users, stitched, users_on_shared_devices, with_visitors
from persona_pipelines.events.sessions import in_sessions, sessions
from persona_pipelines_tests.conftest import at, events_table, law


def users_of(warehouse, *events) -> list[tuple]:
    """(user_id, visitor_id) in the order of time."""
    table = events_table(warehouse, *events).rename(logged_user_id="user_id").drop("stitched")
    devices = device_users(table)
    found = warehouse.frame(stitched(table, devices, users_on_shared_devices(table, devices, 3)).order_by("timestamp", "event_id"))
    return [(row.user_id if isinstance(row.user_id, str) else None, row.visitor_id) for row in found.itertuples()]


def event(hour: float, device: str | None, user: str | None = None, event_type: str = "page_view") -> dict:
    return {"timestamp": at(hour), "anonymous_id": device, "user_id": user, "event_type": event_type}


@pytest.mark.parametrize("named", ["ann", None])
def test_what_comes_after_a_logout_is_nobodys_until_the_next_login(warehouse, named: str | None) -> None:
    found = users_of(
        warehouse,
        event(1, "d"),
        event(2, "d", "ann"),
        event(3, "d"),
        event(4, "d", named, "logout"),
        event(5, "d"),
        event(6, "d", "bob"),
        event(7, "d"),
    )
    assert [user for user, _ in found] == ["ann", "ann", "ann", "ann", None, "bob", "bob"]


def test_a_logout_ends_the_stretch_of_an_only_user_too(warehouse) -> None:
    found = users_of(warehouse, event(1, "d", "ann"), event(2, "d", None, "logout"), event(3, "d"), event(4, "d", "ann"), event(5, "d"))
    assert [user for user, _ in found] == ["ann", "ann", None, "ann", "ann"]


def test_a_device_shared_by_many_says_nothing_of_who_is_anonymous_on_it(warehouse) -> None:
    found = users_of(warehouse, event(0, "d"), *(event(hour, "d", f"user {hour}") for hour in range(1, 5)), event(9, "d"))
    assert [user for user, _ in found] == [None, "user 1", "user 2", "user 3", "user 4", None]


def test_an_anonymous_visitor_belongs_to_their_user_from_login_and_before(warehouse) -> None:
    assert users_of(warehouse, event(1, "d"), event(2, "d", "ann"), event(3, "d")) == [("ann", "ann")] * 3


def by_hand(events: list[dict]) -> list[str | None]:
    """Whose the events of one device are, one after the other."""
    users: list[str | None] = []
    current: str | None = None
    began = False
    for number, one in enumerate(events):
        named, leaves = one["user_id"], one["event_type"] == "logout"
        if named and not leaves:
            current, began = named, True
        elif not began and current is None:
            # Before anybody was seen: the first one after, unless somebody logs out first and is not named.
            later = next((other for other in events[number:] if other["user_id"] or other["event_type"] == "logout"), None)
            current = later["user_id"] if later else None
        users.append(named or current)
        if leaves:
            current, began = None, True
        elif not began:
            current = None
    return users


SEEN = st.tuples(
    st.integers(0, 3),
    st.sampled_from([None, None, "u1", "u2"]),
    st.sampled_from(["page_view", "page_view", "logout"]),
    st.sampled_from("ab"),
)


@pytest.mark.slow
@law(60)
@given(seen=st.lists(SEEN, min_size=1, max_size=9))
def test_whose_an_event_is_follows_files_and_lines_within_a_moment_and_no_hash(warehouse, seen) -> None:
    """Told from a walk through the events; and the same whatever pseudonyms the two people have."""
    events = [
        {**event(hour, "d", user, kind), "source_file": file, "source_line": line, "event_id": f"{hash((line, file)) % 97}-{line}"}
        for line, (hour, user, kind, file) in enumerate(seen)
    ]
    in_order = sorted(events, key=lambda one: (one["timestamp"], one["source_file"], one["source_line"]))
    decided = []
    for names in ({"u1": "u1", "u2": "u2"}, {"u1": "z1", "u2": "a2"}):
        renamed = [{**one, "user_id": names.get(one["user_id"])} for one in events]
        table = events_table(warehouse, *renamed).rename(logged_user_id="user_id").drop("stitched")
        devices = device_users(table)
        found = warehouse.frame(stitched(table, devices, users_on_shared_devices(table, devices, 3)))
        users = found.set_index("event_id")["user_id"]
        back = {other: name for name, other in names.items()}
        decided.append([back.get(users[one["event_id"]]) for one in in_order])
    assert decided[0] == decided[1]
    assert decided[0] == by_hand(in_order)


def test_a_logout_that_names_somebody_who_was_gone_takes_nothing_over(warehouse) -> None:
    events = [event(1, "d", "zoe"), event(2, "d", "ann", "login"), event(3, "d"), event(4, "d", "zoe", "logout"), event(5, "d")]
    assert [user for user, _ in users_of(warehouse, *events)] == ["zoe", "ann", "ann", "zoe", None]


@pytest.mark.parametrize("last", [None, event(9, "d", "bob", "logout"), event(9, "d", "bob")])
@pytest.mark.parametrize("before", [[event(1, "d", "bob", "login")], [event(1, "d", "bob", "login"), event(2, "d", "cid", "login")]])
def test_what_comes_after_a_logout_is_nobodys_whoever_logs_out_once_more(warehouse, before: list[dict], last: dict | None) -> None:
    events = [*before, event(3, "d", "bob", "logout"), event(4, "d"), *([last] if last else [])]
    assert users_of(warehouse, *events)[len(before) + 1] == (None, "d")


def test_who_was_there_before_somebody_logs_out_is_told_by_nobody_behind_it(warehouse) -> None:
    events = [event(1, "d"), event(2, "d", None, "logout"), event(3, "d"), event(4, "d", "ann", "logout")]
    assert [user for user, _ in users_of(warehouse, *events)] == [None, None, None, "ann"]


def test_who_logs_out_first_was_there_before(warehouse) -> None:
    events = [event(1, "d"), event(2, "d", "ann", "logout"), event(3, "d"), event(4, "d", "bob"), event(5, "d")]
    assert [user for user, _ in users_of(warehouse, *events)] == ["ann", "ann", None, "bob", "bob"]


@pytest.mark.parametrize("names", [("ann", "bob"), ("bob", "ann")])
def test_files_follow_each_other_within_a_moment_whatever_the_numbers_of_their_lines(warehouse, names: tuple[str, str]) -> None:
    first, second = names
    lines = [(1, first, "1", 2), (2, first, "1", 4), (2, second, "2", 2), (2, None, "2", 3), (3, None, "2", 4)]
    events = [
        {**event(hour, "d", user), "source_file": file, "source_line": line, "event_id": f"{number}"}
        for number, (hour, user, file, line) in enumerate(lines)
    ]
    assert [user for user, _ in users_of(warehouse, *events)] == [first, first, second, second, second]


def test_two_people_on_one_device_stay_two_people(warehouse) -> None:
    found = users_of(
        warehouse, event(1, "d"), event(2, "d", "ann"), event(3, "d"), event(4, "d", "bob"), event(5, "d"), event(6, "d", "ann")
    )
    assert [user for user, _ in found] == ["ann", "ann", "ann", "bob", "bob", "ann"]


def test_a_device_nobody_logged_in_on_is_a_visitor_without_user(warehouse) -> None:
    assert users_of(warehouse, event(1, "d"), event(2, "other", "ann")) == [(None, "d"), ("ann", "ann")]


def test_a_user_keeps_one_identity_over_devices(warehouse) -> None:
    assert (
        users_of(warehouse, event(1, "phone", "ann"), event(2, "desk"), event(3, "desk", "ann"), event(4, None, "ann"))
        == [("ann", "ann")] * 4
    )


def sessionised(warehouse, *events, gap=30.0, cap=30.0):
    table = with_visitors(events_table(warehouse, *events)).drop("session_id", "attention_ms")
    return warehouse.frame(in_sessions(table, gap, cap).order_by("timestamp", "event_id"))


def view(minutes: float, visitor: str = "v", **more) -> dict:
    return {"timestamp": at(minutes / 60), "user_id": visitor, "event_type": "page_view", **more}


def test_a_pause_longer_than_the_gap_starts_a_session_and_one_of_just_the_gap_does_not(warehouse) -> None:
    found = sessionised(warehouse, view(0), view(30), view(60), view(90.001))
    assert found["session_id"].nunique() == 2
    assert found["session_id"].iloc[0] == found["session_id"].iloc[2]


def test_visitors_do_not_share_sessions_and_midnight_ends_none(warehouse) -> None:
    found = sessionised(warehouse, view(1435), view(1445), view(1436, "w"))
    assert found.groupby("visitor_id")["session_id"].nunique().to_dict() == {"v": 1, "w": 1}


def test_attention_is_the_logged_dwell_else_the_gap_capped_and_unknown_at_the_end(warehouse) -> None:
    found = sessionised(warehouse, view(0), view(1, dwell_ms=5), view(2), view(27, dwell_ms=99_000_000), gap=30, cap=10)
    assert found["attention_ms"].tolist()[:4] == [60_000, 5, 600_000, 600_000]
    assert sessionised(warehouse, view(0))["attention_ms"].isna().all()


def test_of_events_of_one_moment_the_last_line_has_the_time_until_the_next(warehouse) -> None:
    found = sessionised(
        warehouse, view(0, event_id="z", source_line=1), view(0, event_id="a", source_line=2), view(1, event_id="n", source_line=3)
    )
    assert found.set_index("event_id")["attention_ms"].dropna().to_dict() == {"a": 60_000}


@pytest.mark.parametrize("kind", ["purchase", "refund", "rating", "add_to_cart", "impression", "login"])
def test_between_lines_of_orders_nobody_is_known_to_have_looked(warehouse, kind: str) -> None:
    found = sessionised(warehouse, view(0, event_type=kind), view(1), view(3, event_type=kind, dwell_ms=7), view(4))
    assert found["attention_ms"].fillna(-1).tolist() == [-1, 120_000, 7, -1]


def test_between_records_whose_order_stands_for_time_no_time_has_gone_by(warehouse) -> None:
    events = ({**view(minute), "source": source} for minute, source in enumerate(["list", "list", "web", "web"]))
    table = with_visitors(events_table(warehouse, *events)).drop("session_id", "attention_ms")
    found = warehouse.frame(in_sessions(table, 30, 30, ["list"]).order_by("timestamp"))
    assert found["attention_ms"].fillna(-1).tolist() == [-1, -1, 60_000, -1]


@pytest.mark.parametrize("ids", ["az", "za"])
def test_of_events_of_one_moment_in_two_files_the_one_in_the_last_file_has_the_time_whatever_their_ids(warehouse, ids: str) -> None:
    files = [view(0, event_id=one, source_file=file, source_line=5) for one, file in zip(ids, ("first", "second"), strict=True)]
    found = sessionised(warehouse, *files, view(1, event_id="n"))
    assert found.set_index("source_file")["attention_ms"].dropna().to_dict() == {"second": 60_000}


def test_fractions_of_a_second_keep_their_order(warehouse) -> None:
    moments = [dt.datetime(2025, 9, 1, 10, 0, second, micro) for second, micro in ((0, 762_830), (1, 100_000), (1, 100_900), (1, 999_999))]
    found = sessionised(warehouse, *({"timestamp": moment, "user_id": "v", "event_type": "page_view"} for moment in moments))
    assert found["attention_ms"].tolist()[:3] == [337, 0, 899]
    assert found["session_id"].unique().tolist() == ["v-1756720800"]


def test_a_session_adds_up_its_events(warehouse) -> None:
    table = events_table(
        warehouse,
        view(0, session_id="s", item_id="a", attention_ms=10, device="mobile"),
        view(5, session_id="s", item_id="a", attention_ms=20),
        view(9, session_id="s", item_id="b"),
    )
    (row,) = warehouse.frame(sessions(with_visitors(table))).to_dict("records")
    assert (row["events"], row["items"], row["attention_ms"], row["device"]) == (3, 2, 30, "mobile")
    assert row["ended_at"] - row["started_at"] == dt.timedelta(minutes=9)


def test_the_first_copy_is_kept_by_day_source_file_and_line_and_others_are_told_apart(warehouse) -> None:
    places = (("b", 1, "i"), ("a", 2, "i"), ("a", 1, "i"), ("c", 7, "another item"), ("0", 1, "i"), ("0", 2, "i"))
    table = events_table(
        warehouse,
        *(
            {
                "event_id": "x",
                "timestamp": at(1),
                "event_type": "e",
                "user_id": "u",
                "source_file": file,
                "source_line": line,
                "item_id": item,
            }
            for file, line, item in places
        ),
    ).rename(logged_user_id="user_id")
    table = table.mutate(dropped=ibis.ifelse(table.source_file == "0", "left out", None))  # a place that is nobody else's
    found = warehouse.frame(repeated(table).order_by("source_file", "source_line"))
    columns = (found[name] for name in ("source_file", "source_line", "kept_file", "kept_line", "differs"))
    assert list(zip(*columns, strict=True)) == [
        ("0", 2, "0", 1, False),
        ("a", 2, "a", 1, False),
        ("b", 1, "a", 1, False),
        ("c", 7, "a", 1, True),
    ]


def test_static_assets_are_filtered_by_the_end_of_their_path(warehouse) -> None:
    import ibis

    urls = ["/a.css", "/a.CSS", "/a.css/b", "/css", "/x.png", None]
    table = warehouse.keep(
        "urls",
        ibis.memtable(
            {"url": urls, "bot": [False] * 6, "dropped": [None] * 6}, schema={"url": "string", "bot": "boolean", "dropped": "string"}
        ),
    )
    found = warehouse.frame(table.mutate(reason=filter_reason(table, ["css", "png"])))
    assert dict(zip(found["url"].fillna("-"), found["reason"].fillna(""), strict=True)) == {
        "/a.css": "static asset",
        "/a.CSS": "static asset",
        "/a.css/b": "",
        "/css": "",
        "/x.png": "static asset",
        "-": "",
    }


@pytest.mark.parametrize("ids", ["abcdef", "fedcba", "cafebd"])
def test_what_happened_in_one_second_is_in_the_order_of_its_lines(warehouse, ids: str) -> None:
    told = [("ann", "login"), (None, "page_view"), ("bob", "login"), (None, "page_view"), (None, "logout"), (None, "page_view")]
    events = [
        {**event(1, "d", user, kind), "event_id": one, "source_line": line}
        for line, ((user, kind), one) in enumerate(zip(told, ids, strict=True), start=1)
    ]
    table = events_table(warehouse, *events).rename(logged_user_id="user_id").drop("stitched")
    devices = device_users(table)
    found = warehouse.frame(stitched(table, devices, users_on_shared_devices(table, devices, 3)).order_by("source_line"))
    assert [user if isinstance(user, str) else None for user in found["user_id"]] == ["ann", "ann", "bob", "bob", "bob", None]
