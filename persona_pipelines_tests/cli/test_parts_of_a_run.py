"""Runs of a part of the flow, what they are made from, and what is said beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persona_pipelines.graph import STAGES, build
from persona_pipelines.orchestration.selection import SelectionError, selected, steps_of
from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import STAGES as FLOW
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.cli.conftest import Told
from persona_pipelines_tests.conftest import CLICKS

EVERY_TABLE = [contract.full_name for contract in contracts.TABLES]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    import yaml

    from persona_pipelines.settings import load_settings

    file = tmp_path_factory.mktemp("flow") / "persona.yaml"
    file.write_text(yaml.safe_dump({"name": "test", "start_date": "2025-09-01", "sources": [CLICKS]}))
    return load_settings(file)


def made(settings: Settings, **asked: object) -> set[str]:
    """The stages of which something is made."""
    definitions = build(settings)
    return {step.stage for step in steps_of(definitions, selected(definitions, FLOW, EVERY_TABLE, **asked))}  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_is_asked_for_is_made_and_published(settings: Settings) -> None:
    assert made(settings) == set(STAGES)
    assert made(settings, until="features") == {"logs", "events", "features", "publication"}
    assert made(settings, only=["gallery", "features"]) == {"features", "gallery", "publication"}
    assert made(settings, query="events/sessions+") >= {"events", "features", "publication"}
    chosen = selected(build(settings), FLOW, EVERY_TABLE, query="segments/user_segments")
    assert chosen is not None
    # What is made in one step is made together.
    names = {".".join(key.path) for key in chosen}
    made_together = ("segment_differences", "segment_history", "segment_interests", "segment_profiles", "segment_rules", "user_segments")
    assert names == {*(f"segments.{name}" for name in made_together), "publication.published_copy"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"only": ["fetures"]}, r"no stage 'fetures' \(did you mean 'features'\?\); expected some of logs, events"),
        ({"only": []}, "found no stage; expected some of logs, events"),
        ({"until": "x"}, "no stage 'x'; expected some of logs, events"),
        ({"query": "events/session"}, r"'events/session' finds no asset \(did you mean 'events/sessions'\?\)"),
        ({"query": "(("}, r"'\(\(' finds no asset"),
        ({"only": ["features"]}, "made from events.events, which no run has published yet; first: persona run --until events"),
    ],
)
def test_what_cannot_be_made_is_said(settings: Settings, asked: dict, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        selected(build(settings), FLOW, [], **asked)


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_done_and_does_nothing_of_it(changed: Told, tmp_path: Path) -> None:
    def files() -> dict[str, tuple[int, int]]:
        return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in changed.home.rglob("*") if file.is_file()}

    before = files()
    done = changed.asked("run", "--dry-run", "--until", "segments", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    days = changed.rows("SELECT min(day)::text, max(day)::text FROM events.accounting")[0]
    assert (plan["first_day"], plan["last_day"]) == days
    clicks = next(source for source in plan["files"] if source["source"] == "clickstream")
    assert clicks["files"] == len(list((changed.folder / "raw" / "clickstream").iterdir()))
    assert clicks["bytes"] == sum(file.stat().st_size for file in (changed.folder / "raw" / "clickstream").iterdir())
    written = {row["written"]: row for row in plan["assets"]}
    assert written["features.user_features"]["rows_now"] == changed.rows("SELECT count(*) FROM features.user_features")[0][0]
    assert written["segments.segment_quality"]["trains"]
    assert not written["features.user_features"]["trains"]
    assert not any(name.startswith("recommendations.") for name in written)
    assert files() == before
    nothing = changed.asked("run", "--dry-run", PERSONA_HOME=str(tmp_path / "nowhere"))
    assert nothing.exit_code == 0, nothing.output
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_a_part_of_the_flow_leaves_the_rest_as_it_is(changed: Told) -> None:
    segments = "SELECT count(*), sum(hash(stored)) FROM segments.user_segments AS stored"
    before = changed.rows(segments)
    file = next((changed.folder / "raw").rglob("*.jsonl.gz"))
    file.unlink()
    done = changed.asked("run", "--until", "features", "--accept-shrink")
    assert done.exit_code == 0, done.output
    assert changed.rows(segments) == before


@pytest.mark.slow
def test_one_way_to_say_which_part(changed: Told) -> None:
    done = changed.asked("run", "--only", "events", "--until", "features")
    assert done.exit_code == 2
    assert "found several of --only, --until and --select; expected one" in done.stderr


def test_the_flow_has_a_room_for_each_stage() -> None:
    assert tuple(name for name in STAGES if name != "publication") == FLOW
