"""A first configuration: what has to be decided about it is said where it was asked for, too."""

from __future__ import annotations

from pathlib import Path

from persona_pipelines_tests.integration.running import asked, at_home


def test_that_nobody_consents_unless_somebody_says_so_is_said_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("time,user_id,item_id,event_type\n" + "2025-01-01T10:00:00Z,u1,i1,item_view\n" * 3)
    done = asked(tmp_path, at_home(tmp_path / "home"), "init", "clicks.csv")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "look at this: nobody of whom no customer list says consent_personalisation gets recommendations" in said
    assert "consent_when_unknown: false" in (tmp_path / "persona.yaml").read_text()
