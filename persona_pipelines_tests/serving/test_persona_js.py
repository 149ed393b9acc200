"""The client for browsers in Node, against a running service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")
PERSONA = resources.files("persona_pipelines.serving") / "page" / "persona.js"


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_the_client_for_browsers_keeps_its_word(served, tmp_path: Path) -> None:
    (tmp_path / "persona.mjs").write_text(PERSONA.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(Path(__file__).parent / "persona.test.mjs", tmp_path)
    done = subprocess.run(
        [str(NODE), "--test", "persona.test.mjs"],
        cwd=tmp_path,
        env={**os.environ, "SERVICE": served().address, "RELUCTANT": served(consent_when_unknown=False).address},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_the_documentation_shows_what_works(served, tmp_path: Path) -> None:
    (text,) = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs" / "live.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "persona.mjs").write_text(PERSONA.read_text(encoding="utf-8"), encoding="utf-8")
    service = served()
    shown = text.replace('from "/persona/persona.js"', 'from "./persona.mjs"').replace('"/persona"', f'"{service.address}"')
    (tmp_path / "shown.mjs").write_text(
        f"{shown}\nif (items.length !== 5 || !(await persona.flush())) process.exit(1);\n", encoding="utf-8"
    )
    subprocess.run([str(NODE), "shown.mjs"], cwd=tmp_path, check=True, timeout=60)
    assert service.engine.state.events == 2  # what is tracked, and that the person agrees


def test_the_client_for_browsers_is_short_enough_to_read() -> None:
    assert len(PERSONA.read_text(encoding="utf-8").splitlines()) < 220
