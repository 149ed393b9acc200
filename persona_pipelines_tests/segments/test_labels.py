"""Names and notes that people give: by the number of the segment, kept over trainings, refused with the reason."""

from __future__ import annotations

import pytest

from persona_pipelines.segments.labels import Label, LabelError, give_label, labels
from persona_pipelines.segments.model import fit_segments
from persona_pipelines.segments.summary import summary
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.described import Log
from persona_pipelines_tests.conftest import CLICKS
from persona_pipelines_tests.segments.test_segments import IDLE, NIGHT, NO_SHARES, RICH, SETTINGS, people


@pytest.fixture
def settings(configure) -> Settings:
    made = configure(CLICKS)
    made.home.mkdir(parents=True, exist_ok=True)
    return made


def test_names_and_notes_are_given_and_taken_back_one_by_one(settings) -> None:
    assert labels(settings) == {}
    give_label(settings, 3, name="Night shoppers")
    give_label(settings, 3, note="Ask Ann first.")
    give_label(settings, 12, name="周末")
    assert labels(settings) == {3: Label("Night shoppers", "Ask Ann first."), 12: Label("周末", "")}
    give_label(settings, 3, name="")
    assert labels(settings)[3] == Label("", "Ask Ann first.")
    give_label(settings, 3, note="")
    assert labels(settings) == {12: Label("周末", "")}


@pytest.mark.parametrize("text", ["x" * 61, "two\nlines", " blank", "\x1b[31mred", "tab\there"])
def test_what_is_no_name_is_refused_and_nothing_is_lost(settings, text: str) -> None:
    give_label(settings, 1, name="Kept")
    with pytest.raises(LabelError, match="expected a name of at most 60 characters on one line"):
        give_label(settings, 1, name=text)
    assert labels(settings) == {1: Label("Kept")}


def test_no_two_segments_are_called_the_same(settings) -> None:
    give_label(settings, 1, name="Owls")
    with pytest.raises(LabelError, match="segment 1 is called 'Owls' already"):
        give_label(settings, 2, name="Owls")
    give_label(settings, 1, name="Owls")


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"name": "x"}}', '{"1": 3}'])
def test_a_file_that_cannot_be_read_is_said(settings, content: str) -> None:
    (settings.home / "segments.json").write_text(content)
    with pytest.raises(LabelError, match=r"segments\.json: (cannot be read|found .*; expected objects by number)"):
        labels(settings)


@pytest.mark.slow
def test_given_names_outlast_a_training_and_take_no_other_segment_s_name() -> None:
    features = people(RICH, NIGHT, IDLE)
    model = fit_segments(features, NO_SHARES, SETTINGS).model
    given = {model.ids[0]: Label("Regulars", "Ask Ann first."), model.ids[1]: Label(model.names[2])}
    called = model.called(given)
    assert called.names == ("Regulars", model.names[2], f"{model.names[2]} {model.ids[2]}")
    later = fit_segments(people(RICH, NIGHT, IDLE, seed=2), NO_SHARES, SETTINGS, before=model).model
    assert later.called(given).names[later.ids.index(model.ids[0])] == "Regulars"
    told = summary(called, called.assign(features, NO_SHARES), features, NO_SHARES, Log(), given).profiles.set_index("segment_id")
    assert told.loc[model.ids[0], ["segment_name", "note"]].tolist() == ["Regulars", "Ask Ann first."]
    assert told["note"].notna().sum() == 1
    assert "The name is that of the training" not in " ".join(told["description"])


def test_a_label_of_a_segment_that_is_gone_changes_nothing() -> None:
    model = fit_segments(people(RICH, NIGHT), NO_SHARES, SETTINGS).model
    assert model.called({99: Label("Gone")}) == model
