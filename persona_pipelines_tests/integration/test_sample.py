"""The committed sample: what the documents say of it and have one type, and the truth by which it was made."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import itertools
import json
import re
import shlex
import shutil
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import adjusted_rand_score, average_precision_score

from persona_pipelines.audiences.lookalike import resemblance
from persona_pipelines.features.asof import features_as_of
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.segments.model import Fit, fit_segments
from persona_pipelines.serving.building import build
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.lists import Maker, Wishes
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import KEY
from persona_pipelines_tests.gallery.warrants import sentences
from persona_pipelines_tests.integration.running import Run, asked, at_home
from persona_pipelines_tests.serving.nightly import differences, nightly, sent

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")] + [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page.name != "own-logs-by-example.md"  # test_docs executes all of that one
]
METHODS = [{"method": "most_popular"}, {"method": "user_neighbourhood", "similarity": "cosine"}]
"""The champion of the whole comparison, whose lists the documents show, and what it is measured against."""
OTHERS = [{"method": "most_popular"}, {"method": "als"}]
"""A comparison later: the challenger is registered, so that there is a version to promote, and a method to tune."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The sample in a folder as the repository is laid out, after its run, and the files that the documents say one makes."""
    folder = tmp_path_factory.mktemp("sample")
    shutil.copytree(ROOT / "data", folder / "data")
    configuration = folder / "data" / "persona.yaml"
    compared(configuration, METHODS)
    shutil.copy(folder / "data" / "raw" / "web" / "2025-09-01.log.gz", folder / "access.log.gz")
    with (folder / "data" / "raw" / "customers.csv").open() as stream, (folder / "customers.csv").open("w", newline="") as own:
        customers = [{**row, "first_name": f"Name of {row['customer']}"} for row in csv.DictReader(stream)]
        lines = csv.DictWriter(own, list(customers[0]))
        lines.writeheader()
        lines.writerows(customers)
    (folder / "SEEDS.csv").write_text("".join(f"{row['customer']}\n" for row in customers[:40]))
    return Run(folder, configuration)


def compared(configuration: Path, methods: list[dict[str, str]]) -> None:
    """Write into a configuration which recommenders are compared."""
    content = yaml.safe_load(configuration.read_text())
    configuration.write_text(yaml.safe_dump({**content, "recommendations": {"methods": methods}}, sort_keys=False))


@dataclass(frozen=True)
class Shown:
    """A block of a page: commands as one types them, or what they answer."""

    commands: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()


def shown(page: Path) -> list[Shown]:
    """The commands of persona in the blocks and tables of a page, and the texts that stand behind them, in their order."""
    found = []
    for language, block, cell in re.findall(
        r"^ *```(sh|text)\n(.*?)^ *```|^\| (`persona .*?) \|", page.read_text(), re.DOTALL | re.MULTILINE
    ):
        if language == "text":
            found.append(Shown(answer=tuple(block.splitlines())))
            continue
        lines = re.findall(r"`(persona [^`]+)`", cell) or [line.strip() for line in block.splitlines()]
        commands = (match[1] for line in lines if (match := re.match(r"(?:\.venv/bin/)?persona (.*?)(?:   ?#.*)?$", line)))
        found.append(Shown(commands=tuple(commands)))
    return [part for part in found if part.commands or part.answer]


SHOWN = {page.relative_to(ROOT).as_posix(): shown(page) for page in PAGES}
TELLING = ("docs/first-hour.md", "docs/tables.md")
"""Pages whose texts are what the commands before them answer, on the sample."""
OF_A_MOMENT = re.compile(r"[0-9:]{8} +[0-9]+/[0-9]+ ")
"""A line of a run's progress."""
OF_RUNS = ("docs/command-line.md", "docs/operating.md")
"""Pages with runs of many kinds: they are of a log that takes seconds."""
ELSEWHERE = {"ui", "open dagster", "open mlflow", "serve"}
"""What ``cli/test_places`` and ``test_whole_flow`` type: they start servers and end them."""
BEFORE = {
    "docs/command-line.md": ['audience save winback --where "sessions > 1"'],
    "docs/recommenders.md": ["run --only recommendations --config data/persona.yaml"],
}
"""What the commands of a page take for granted."""
STANDING_FOR = {
    "USER": "u000003",
    "VERSION": "2",
    "7": "2",
    "STAGE": "features",
    "TABLE": "user_features",
    "NAME": "night",
    "CONDITION": "sessions > 1",
    "DAY": "2025-09-01",
    "...": "SELECT 1",
    "SELECT ...": "SELECT 1",
    "FOLDER": "simulated",
}
FILES = {"init": "access.log.gz", "sources": "data/persona.yaml", "run": "data/persona.yaml", "export": "features.csv"}
"""A file of one's own by command; elsewhere it is a list of customers."""
LESS = {"simulate": ["--users", "30", "--days", "3"], "models tune": ["--trials", "1"], "run --config my.yaml": ["--until", "features"]}
"""What keeps a command short that takes its time; the whole run of such a file is that of the tour."""


def typed(command: str) -> list[str]:
    """The words of a command, with something where the page says that something of one's own stands, without what takes its answer on."""
    words = list(itertools.takewhile(lambda word: word not in ("|", ">"), shlex.split(re.sub(r"[\[\]]", "", command))))
    less = next((more for begin, more in LESS.items() if " ".join(words).startswith(begin)), [])
    return [FILES.get(words[0], "customers.csv") if word == "FILE" else STANDING_FOR.get(word, word) for word in words] + less


@pytest.fixture(scope="module")
def one_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log of one day, for runs of all kinds."""
    folder = tmp_path_factory.mktemp("day")
    (folder / "data").mkdir()
    shutil.copy(ROOT / "data" / "raw" / "web" / "2025-09-01.log.gz", folder / "access.log.gz")
    done = asked(folder, {"PERSONA_HOME": str(folder / "nowhere")}, "init", "access.log.gz", "--output", "data/persona.yaml")
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("page", [name for name, parts in SHOWN.items() if any(part.commands for part in parts)])
def test_every_command_that_a_page_shows_does_what_it_says(
    page: str, sample: Run, one_day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind the commands on a page of the sample is what they answer. State is kept where it is for somebody who sets nothing."""
    monkeypatch.setattr(webbrowser, "open", lambda address: True)
    monkeypatch.delenv("PERSONA_HOME")
    environment = {name: value for name, value in at_home(sample.home).items() if name != "PERSONA_HOME"}
    folder = tmp_path / "copy"
    shutil.copytree(sample.home.parent, folder, ignore=shutil.ignore_patterns("home"))
    shutil.copytree(sample.home, folder / ".persona" / "simulated-shop")
    if page == "docs/recommenders.md":
        compared(folder / "data" / "persona.yaml", OTHERS)
    said = sample.output
    for part in (*(Shown((command,)) for command in BEFORE.get(page, [])), *SHOWN[page]):
        for command in part.commands:
            words = typed(command)
            if " ".join(words[:2]) in ELSEWHERE or words[0] in ELSEWHERE:
                continue
            runs = words[0] == "run" and page in OF_RUNS
            done = asked(one_day if runs else folder, environment, *words)
            assert done.exit_code == 0, f"persona {' '.join(words)}: {done.output}"
            said += done.output
        if page in TELLING:
            plain = " ".join(said.split())
            for line in part.answer:
                for piece in () if OF_A_MOMENT.match(line) else line.split("..."):
                    assert " ".join(piece.strip("─").split()) in plain, line


def test_the_list_that_the_page_of_the_service_shows_is_the_one_of_the_sample(sample: Run) -> None:
    settings = load_settings(sample.configuration).model_copy(update={"home": sample.home})
    with Warehouse(settings.published_file, read_only=True) as store:
        engine = Engine(settings, build(store, settings), KEY)
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "live.md").read_text(), re.DOTALL | re.MULTILINE)[0])
    of_a_moment = {"list_id": None, "as_of": None}
    assert engine.answer(Asked("u000003", k=3)) | of_a_moment == shown | of_a_moment


def test_every_figure_that_a_sentence_of_the_page_gives_was_asked_of_the_tables(sample: Run) -> None:
    """The same as a table to read: ``python -m persona_pipelines_tests.gallery.warrants PAGE published.duckdb``."""
    said = sentences(sample.home / "reports" / "persona-gallery-en.html", sample.home / "published.duckdb", "en")
    assert len(said) > 80
    assert [sentence.text for sentence in said if not sentence.warranted] == []
    assert [sentence.text for sentence in said if re.search("[0-9]", sentence.text) and not sentence.queries] == []


Truth = tuple[pd.DataFrame, pd.DataFrame, pd.Series, Fit]


@pytest.fixture(scope="module")
def truth(sample: Run) -> Truth:
    """Features, shares, true personas, and segments of the sample, these also of two weeks before."""
    settings = load_settings(sample.configuration)
    with Warehouse(sample.home / "published.duckdb", KEY, read_only=True) as store:
        ((last,),) = store.connection.execute("SELECT max(day) FROM events.events").fetchall()
        known, earlier = features_as_of(store, last, "UTC"), features_as_of(store, last - dt.timedelta(days=14), "UTC")
    features, shares = known.users, known.shares
    made = pd.read_csv(ROOT / "data" / "truth" / "users.csv")
    persona = made.set_index(made["user_id"].map(lambda user: pseudonym(user, KEY)))["persona"].reindex(features["user_id"])
    options = settings.segments.model_copy(update={"stability_refits": 3})
    before = fit_segments(earlier.users, earlier.shares, options)
    fit = fit_segments(features, shares, options, before.model)
    old = before.model.assign(earlier.users, earlier.shares).set_index("user_id")["segment_id"]
    features.attrs["old"] = old
    return features, shares, persona, fit


def test_the_segments_are_the_planted_personas(truth: Truth) -> None:
    features, shares, persona, fit = truth
    assigned = fit.model.assign(features, shares)
    assert adjusted_rand_score(persona, assigned["segment_id"]) >= 0.8
    assert abs(len(fit.model.ids) - persona.nunique()) <= 1


def test_users_keep_their_segment_over_two_weeks_and_a_new_training(truth: Truth) -> None:
    features, shares, _, fit = truth
    now = fit.model.assign(features, shares).set_index("user_id")["segment_id"]
    old = features.attrs["old"]
    assert (now.reindex(old.index) == old).mean() >= 0.9


def test_lookalikes_of_seeds_of_one_persona_are_of_that_persona(truth: Truth) -> None:
    features, shares, persona, fit = truth
    points = fit.model.scaler.transform(features, shares)
    for name in ("night readers", "premium loyalists"):
        inside = (persona == name).to_numpy()
        seeds = np.zeros(len(inside), dtype=bool)
        seeds[np.random.default_rng(3).choice(np.flatnonzero(inside), 50, replace=False)] = True
        left = ~seeds
        found = average_precision_score(inside[left], resemblance(points, seeds, 1)[left])
        assert found >= 2 * inside[left].mean()


def test_the_live_state_is_that_of_the_nightly_tables_day_by_day_for_two_weeks(sample: Run) -> None:
    """Each day's events told one by one, against the tables of its evening; and all of two weeks at once."""
    settings = load_settings(sample.configuration).model_copy(update={"home": sample.home})
    with Warehouse(settings.published_file, read_only=True) as store:
        snapshot = build(store, settings)
        evenings = [snapshot.until - dt.timedelta(days=back) for back in range(14, -1, -1)]
        states = [nightly(store, settings, snapshot, evening) for evening in evenings]
        whole, told = nightly(store, settings, snapshot, evenings[0]), 0
        for before, later, begin, end in zip(states, states[1:], evenings, evenings[1:], strict=False):
            for event in sent(store, begin, end):
                before.apply(event)
                whole.apply(event)
                told += 1
            assert differences(before, later) == []
            assert differences(whole, later) == []
    assert told > 20_000
    # Lists of the last items: those of the last run know at once what the others learn by night.
    none: dict[str, Any] = {
        name: np.empty((0, 0), dtype=kind) for name, kind in (("nightly_item", np.int32), ("nightly_score", np.float32))
    }
    scores = dataclasses.replace(snapshot.champion, **none)
    makers = [Maker(state, scores, settings.recommendations.rules, True, 0.5) for state in (whole, states[-1])]
    people = sorted(whole.people)[:100]
    lists = [[maker.made(maker.state.seen_before(name), Wishes()).items for name in people] for maker in makers]
    assert lists[0] == lists[1]
    assert len({tuple(found) for found in lists[0]}) > 50
