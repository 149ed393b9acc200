"""A live state as a snapshot: what is known and what is answered stays the same, whenever it is made."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.serving.compacting import compacted
from persona_pipelines.serving.lists import Maker, Wishes
from persona_pipelines.serving.state import LiveState
from persona_pipelines.settings.recommendations import RulesSettings
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.serving.conftest import ITEMS, USERS, live_state, snapshot, user_name
from persona_pipelines_tests.serving.nightly import differences
from persona_pipelines_tests.serving.test_state import RULES, device_name, event, streams


def listed(state: LiveState, name: str) -> dict:
    maker = Maker(state, state.snapshot.champion, RulesSettings(), True, 0.5)
    return dataclasses.asdict(maker.made(state.seen_before(name), Wishes(k=ITEMS)))


@law(80)
@given(events=streams(), cuts=st.lists(st.integers(0, 40), max_size=2), nightly=st.sampled_from([0, 8]))
def test_a_state_that_was_compacted_on_the_way_is_that_of_all_events(
    tmp_path_factory, events: list[dict], cuts: list[int], nightly: int
) -> None:
    folder = tmp_path_factory.mktemp("compacted")
    whole = live_state(snapshot(folder / "s", nightly=nightly), RULES, 2)
    parts = live_state(whole.snapshot, RULES, 2)
    for number, entry in enumerate(events):
        whole.apply(entry)
        if number in cuts:
            parts = live_state(compacted(parts, folder / f"c{number}", ["2025-10-01/000000001.jsonl"]), RULES, 2)
        parts.apply(entry)
    assert differences(whole, parts) == []
    assert parts.popularity.tobytes() == whole.popularity.tobytes()
    assert [parts.seen_before(name).came_by for name in whole.people] == [person.came_by for person in whole.people.values()]
    assert all(parts.repeats(entry) for entry in events)
    names = [*(user_name(number) for number in (*range(USERS), 77)), *(device_name(name) for name in ("tablet", "phone", "desk"))]
    assert [listed(parts, name) for name in names] == [listed(whole, name) for name in names]
    assert [parts.owner_of(None, device_name(name)) for name in ("tablet", "phone", "desk")] == [
        whole.owner_of(None, device_name(name)) for name in ("tablet", "phone", "desk")
    ]


def test_profiles_stay_with_their_people_and_files_are_named(tmp_path) -> None:
    state = live_state(snapshot(tmp_path / "s"), RULES, 5)
    state.apply(event(1, user="77", item=4))
    made = compacted(state, tmp_path / "c", ["2025-10-01/000000001.jsonl"])
    before = state.snapshot
    for name in before.people.tolist():
        text = name.decode()
        assert made.profile_of(made.person(text)) == before.profile_of(before.person(text))
    assert made.profile_of(made.person(user_name(77))) == b""
    assert made.facts.whole_files == ["2025-10-01/000000001.jsonl"]
    assert len(made.people) == len(before.people) + 1


def test_what_a_device_said_of_its_lists_goes_to_who_logs_in_after_the_state_was_compacted(tmp_path) -> None:
    state = live_state(snapshot(tmp_path / "s"), RULES, 5)
    state.apply(event(1, "personalisation", device="phone", value=0, minutes=10))
    later = live_state(compacted(state, tmp_path / "c", ["2025-10-01/000000001.jsonl"]), RULES, 5)
    assert not later.seen_before(device_name("phone")).personalised
    later.apply(event(2, "personalisation", "77", value=1, minutes=5))  # what was said before the no
    later.apply(event(3, "login", "77", "phone", minutes=20))
    assert not later.person(user_name(77)).personalised
    again = live_state(compacted(later, tmp_path / "d", ["2025-10-01/000000002.jsonl"]), RULES, 5)
    again.apply(event(4, "personalisation", "77", value=1, minutes=7))  # late, and older than the no
    assert not again.person(user_name(77)).personalised
    again.apply(event(5, "personalisation", "77", value=1, minutes=30))
    assert again.person(user_name(77)).personalised
