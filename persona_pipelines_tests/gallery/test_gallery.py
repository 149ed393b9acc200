"""The gallery: whole without a network, safe with any text, and about groups, never about a person."""

import dataclasses
import datetime as dt
import html
import html.parser
import re

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.gallery.content import Card, Details, Gallery, Glance, unusual_days
from persona_pipelines.gallery.downloads import Download
from persona_pipelines.gallery.first import Pointer
from persona_pipelines.gallery.page import page
from persona_pipelines.gallery.texts import LANGUAGES, Language, texts_of
from persona_pipelines.profiles.forecasting import BASELINES
from persona_pipelines.profiles.points import DERIVED
from persona_pipelines.profiles.predictions import BASE_RATE, MEAN, classifiers, regressors
from persona_pipelines.segments.algorithms import ALGORITHMS
from persona_pipelines.segments.interests import LEADING, Statement, sentence
from persona_pipelines.segments.model import UNPLACED
from persona_pipelines.segments.naming import Name
from persona_pipelines.warehouse.described import INTEREST_VERBS, Log
from persona_pipelines_tests.gallery.warrants import TIME_WORDS, VISIT_WORDS

GLANCE = Glance(
    users=900, reachable=600, buyers=0.4, value=12.5, total=11_250.0, lifetime=None, likely=None, leaving=0.2, sessions=3.0, seen=900
)
APART = {
    "feature": "night_share",
    "deviation": 1.4,
    "clear": True,
    "phrase": "come more at night",
    "phrase_zh": "夜间来访较多",
    "advice": "Send late.",
    "advice_zh": "深夜发送。",
}
DETAILS = Details(
    description="Owls: 98% of all users. Compared with the others, they come more at night.",
    note="",
    apart=[
        APART,
        {
            **APART,
            "feature": "price_level",
            "deviation": -0.8,
            "phrase": "choose cheaper items",
            "phrase_zh": "偏好较低价",
            "advice": None,
            "advice_zh": None,
        },
    ],
    interests=[("<b>Books</b>", 0.6), ("Wine & more", 0.2)],
    statement=Statement(LEADING, (("<b>Books</b>", 0.6, 0.1),)),
    rhythm=np.arange(56.0).reshape(7, 8) * 10,
    typical={"spent": 120.0, "recency_days": 1.0, "frequency": 2.0, "purchases": None, "likely": 0.3, "leaving": 0.1},
    recommended=["<script>alert(1)</script>", "Tea"],
    popular=None,
    hits={"hit_rate_at_k": 0.5, "users": 40, "k": 10},
    rule={"rule": "night_share > 0.5 and attributes.city = 'Rome'", "precision": 0.8, "coverage": 0.9},
)
CARD = Card(1, Name("Owls <i>", (("night_share", 1),)), True, 0.98, 0.99, 0.03, GLANCE, DETAILS)
SMALL = Card(2, Name("Few"), True, 0.02, 0.01, -0.03, dataclasses.replace(GLANCE, users=7, reachable=3, total=3.0), None)
MOVES = pd.DataFrame(
    {
        "from_segment": ["Owls <i>", "Owls <i>", "Owls <i>", "(new)"],
        "to_segment": ["Owls <i>", "Larks", "Few", "Owls <i>"],
        "users": [500, 40, 3, 25],
        "from_date": "2025-09-01",
        "to_date": "2025-09-08",
    }
)
CHANCES = {
    "target": "churn",
    "definition": "no own event within 30 days",
    "model": "random_forest",
    "window_days": 30,
    "users": 640,
    "base_rate": 0.25,
    "auc": 0.8,
    "calibration_error": 0.02,
    "lift": 3.1,
    "spearman": None,
    "mean_absolute_error": None,
    "level": None,
}
AMOUNTS = {
    **CHANCES,
    "target": "spend",
    "model": "past_spend",
    "auc": None,
    "calibration_error": None,
    "lift": None,
    "spearman": 0.4,
    "mean_absolute_error": 12.0,
    "level": 0.97,
}
DAYS = pd.to_datetime(["2025-09-01", "2025-09-08"])
TIMES = pd.DataFrame(
    {
        "as_of_date": [DAYS[0], DAYS[0], DAYS[1], DAYS[1]],
        "segment_id": [1, 2, 1, 2],
        "segment_name": ["Owls <i>", "Few"] * 2,
        "users": [700, 9, 880, 7],
        "share": [0.95, 0.05, 0.98, 0.02],
        "mean_monetary_value": [10.0, 3.0, 12.5, 3.0],
        "buyers_share": [0.3, 0.2, 0.4, 0.2],
    }
)


def gallery(**changes) -> Gallery:
    values = {
        "name": "shop",
        "configuration": "",
        "consent": "listed",
        "has_events": True,
        "as_of": "2025-09-30",
        "timezone": "Europe/Rome",
        "currency": "EUR",
        "log": Log(),
        "horizon_days": 30,
        "lifetime_days": 180,
        "alike": frozenset(),
        "leaving": "silence",
        "lifetime_model": "past_spend",
        "first": [Pointer("value_held", 1, {"share": 0.16, "value": 0.51}), Pointer("not_held", None, {"absent": 3, "all": 57})],
        "glance": GLANCE,
        "unplaced": None,
        "without": 0,
        "cards": [CARD, SMALL],
        "places": np.array([[0.0, 1.0], [2.0, 3.0]]),
        "groups": np.array([0, 0]),
        "times": TIMES,
        "stages": pd.DataFrame({"new": [30, 3], "loyal": [0, 500]}, index=[1, 2]),
        "grid": pd.DataFrame([[5, 40, 0, 0, 0]] * 4, index=[1, 2, 3, 5], columns=[0, 7, 30, 90, 180]),
        "cohorts": pd.DataFrame([[40.0, 20.0], [5.0, np.nan]], index=["2025-08", "2025-09"]),
        "funnel": [("item_view", 800), ("purchase", 200)],
        "movement": MOVES,
        "accounting": pd.DataFrame([{"source": "web", "records_read": 10, "events": 8, "rejects": 1, "duplicates": 1, "filtered": 0}]),
        "predictions": [CHANCES],
        "amounts": [AMOUNTS],
        "drivers": {"churn": [("recency_days", 0.4), ("sessions", -0.2)]},
        "segment_quality": {"algorithm": "k_means", "silhouette": 0.3, "stability": 0.9},
        "split": "global time",
        "unusual_days": pd.DataFrame([{"day": dt.date(2025, 9, 3), "events": 900, "usual": 100.0}]),
        "support": pd.DataFrame({"feature": ["sessions", "recency_days", "ratings"], "support": ["inferred", "measured", "absent"]}),
        "people": pd.DataFrame(columns=["segment_id"]),
        "minimum": 20,
    }
    return Gallery(**{**values, **changes})


def seen(text: str) -> str:
    """What a person sees of a page, in one line."""
    plain = re.sub(r"<style>.*?</style>|<title>.*?</title>", "", text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", plain)).split())


class Reader(html.parser.HTMLParser):
    """Tags that are open, addresses that would be loaded, and pictures without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.nameless = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.loaded += [str(given[name]) for name in ("src", "srcset", "data", "poster") if name in given]
        if tag == "link" or (tag == "a" and not str(given.get("href", "#")).startswith("#")):
            self.loaded.append(str(given.get("href")))
        self.nameless += tag == "svg" and "aria-label" not in given and given.get("aria-hidden") != "true"
        if tag not in ("meta", "br", "rect", "circle", "polygon", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_loads_nothing_and_names_every_drawing(language: Language) -> None:
    text = page(gallery(), language)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.loaded == []
    assert reader.nameless == 0
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert f'<html lang="{language}">' in text
    assert texts_of(language)("title") in text
    assert text == page(gallery(), language)


def test_texts_of_the_data_are_never_markup() -> None:
    text = page(gallery(), "en")
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>Books</b>" not in text
    assert "Owls &lt;i&gt;" in text
    assert "Owls <i>" not in text


def test_what_people_have_written_about_a_segment_stands_on_its_card() -> None:
    noted = dataclasses.replace(CARD, details=dataclasses.replace(DETAILS, note="Ask <b>Ann</b> first."))
    assert "Note: Ask <b>Ann</b> first." in seen(page(gallery(cards=[noted]), "en"))
    assert "备注：" in seen(page(gallery(cards=[noted]), "zh"))
    assert "Note:" not in seen(page(gallery(), "en"))


@pytest.mark.parametrize(
    ("bounds", "users", "english", "chinese"),
    [
        ((-0.15, -0.01), 30, "Lists for this segment: worse than the most popular items, for the 30", "不如最热门的商品"),
        ((-0.15, 0.01), 30, "Lists for this segment: no better than the most popular items, as far as the 30", "并不优于最热门的商品"),
        ((0.01, 0.05), 30, "", ""),
        ((-0.15, -0.01), 9, "", ""),
    ],
)
def test_a_segment_that_the_most_popular_items_serve_as_well_is_told(
    bounds: tuple[float, float], users: int, english: str, chinese: str
) -> None:
    popular = {"advantage": sum(bounds) / 2, "low": bounds[0], "high": bounds[1], "users": users}
    card = dataclasses.replace(CARD, details=dataclasses.replace(DETAILS, popular=popular))
    for language, words in zip(LANGUAGES, (english, chinese), strict=True):
        told = seen(page(gallery(cards=[card]), language))
        assert words in told
        assert ("nDCG" in told) == bool(words)


def test_a_card_links_the_file_of_its_audience_only_where_one_was_written() -> None:
    files = {1: Download("persona-audiences/segment-1.csv", 600, of_own_list=False)}
    for language, words in zip(LANGUAGES, ("Download segment-1.csv (600 people)", "下载 segment-1.csv（600 人）"), strict=True):
        text = page(gallery(), language, files)
        assert f'<a href="persona-audiences/segment-1.csv" download>{words}</a>' in text
        assert text.count(" download>") == 1
        assert "default-src 'none'; style-src 'unsafe-inline'" in text
        assert " download>" not in page(gallery(), language)
    own = page(gallery(), "en", {1: Download("persona-audiences/segment-1.csv", 1, of_own_list=True)})
    assert "Download segment-1.csv (1 row of your own list)" in own


def test_what_tells_namesakes_apart_stands_in_their_names_in_both_languages() -> None:
    told = Name("Average visitors who spend more", (), "Average visitors", ("monetary_value", 1))
    cards = [dataclasses.replace(CARD, name=told, apart_zh="消费较高"), dataclasses.replace(SMALL, name=Name("Average visitors"))]
    names = [re.findall(r"</svg> (.*?)</h3>", page(gallery(cards=cards), language)) for language in LANGUAGES]
    assert names == [["Average visitors who spend more"], ["普通访客（其中消费较高）"]]


def test_a_small_segment_has_no_details_and_small_moves_and_cells_are_left_out() -> None:
    text = page(gallery(), "en")
    told = seen(text)
    assert "Fewer than 20 users: not shown" in told
    assert "<td>Few</td>" not in text
    assert "500 users stayed in their segment, 43 moved, 25 are new" in told
    assert "Owls <i> Larks 40" in told
    assert "(new) Owls <i> 20" in told, "that 3 have moved to a small segment would follow from 25"
    assert "<td>Few</td>" not in text
    assert "fewer than 20" in told
    assert not re.search(r"1 purchase day 5\b", told)
    assert "1 purchase day fewer than 20 40" in told


def test_who_went_to_no_segment_is_told_in_the_words_of_the_page() -> None:
    moves = MOVES.head(2).assign(to_segment=["Owls <i>", UNPLACED[1]])
    assert "Owls <i> In no segment 40" in seen(page(gallery(movement=moves), "en"))
    chinese = seen(page(gallery(movement=moves), "zh"))
    assert f"{texts_of('zh')('unplaced')} 40" in chinese
    assert UNPLACED[1] not in chinese


def test_of_a_small_segment_no_figure_stands_in_the_comparison() -> None:
    told = seen(page(gallery(), "en"))
    row = re.search(r"Few 7 1% -3\.0 (.*?) All 900 100% none", told)
    assert row is not None
    assert set(row[1].replace("fewer than 20", "").split()) <= {"none"}


def test_who_is_in_no_segment_has_a_line_in_the_comparison_and_among_the_stages() -> None:
    unplaced = dataclasses.replace(GLANCE, users=45, total=900.0)
    stages = pd.DataFrame({"new": [30, 3, 21], "loyal": [30, 500, 24]}, index=[1, 2, 0])
    told = seen(page(gallery(unplaced=unplaced, stages=stages), "en"))
    assert "In no segment 45 5%" in told
    assert "In no segment 20 20" in told
    assert "In no segment People who are like those of no segment" in told
    assert "In no segment" not in seen(page(gallery(), "en"))


def test_where_a_number_is_not_told_no_other_of_its_table_is_told_exactly() -> None:
    """Users of a segment are told, and so are those of other tables: what is left over would be the number."""
    stages = pd.DataFrame({"new": [43], "active": [7], "loyal": [852]}, index=[1])
    told = seen(page(gallery(stages=stages), "en"))
    assert "Owls <i> 40 fewer than 20 850" in told
    assert "Numbers of people are rounded to multiples of 10, as some are of too few to be told." in told
    exact = seen(page(gallery(stages=stages.assign(active=0), movement=MOVES.head(2), grid=pd.DataFrame(), cohorts=pd.DataFrame()), "en"))
    assert "Owls <i> 43 0 852" in exact
    assert "are rounded" not in exact


def test_cohorts_tell_nothing_of_few_who_did_it_or_did_not() -> None:
    cohorts = pd.DataFrame([[100.0, 40.0, 7.0, 95.0], [30.0, 30.0, 0.0, np.nan]], index=["2025-08", "2025-09"])
    told = seen(page(gallery(cohorts=cohorts), "en"))
    assert "2025-08 100 100 40 fewer than 20 fewer than 20 2025-09 30 100 100 0" in told


def test_a_heat_map_counts_people_and_none_where_they_are_few() -> None:
    told = seen(page(gallery(), "en"))
    assert "Users 0-3 3-6 6-9 9-12 12-15 15-18 18-21 21-24 Mon fewer than 20 10 20" in told
    assert "of fewer than 20 nothing is told" in told


def test_a_log_of_days_names_no_time_zone() -> None:
    told = seen(page(gallery(support=pd.DataFrame({"feature": ["night_share", "sessions"], "support": ["absent", "absent"]})), "en"))
    assert "As of 2025-09-30." in told
    assert "Europe/Rome" not in told
    assert "As of 2025-09-30, times in Europe/Rome." in seen(page(gallery(), "en"))


def test_of_a_log_without_purchases_no_stage_speaks_of_them_and_of_nobody_how_much_is_spent() -> None:
    told = seen(page(gallery(stages=pd.DataFrame({"new": [800], "active": [100]}, index=[1])), "en"))
    assert "new: first active within 14 days; active: within 30 days" in told
    bought = DETAILS.typical | {"frequency": 0.0, "spent": 0.0}
    card = dataclasses.replace(CARD, details=dataclasses.replace(DETAILS, typical=bought))
    assert "In the middle of them has not bought; last active 1 day ago" in seen(page(gallery(cards=[card]), "en"))
    assert "bought on 2 days; spent about 120 EUR; last active 1 day ago; chance of buying within 30 days 0.3" in seen(
        page(gallery(), "en")
    )


def test_one_segment_of_all_is_not_compared_with_itself() -> None:
    everyone = Card(1, Name("Everyone"), True, 1.0, 1.0, None, GLANCE, dataclasses.replace(DETAILS, apart=[]))
    told = seen(page(gallery(cards=[everyone], stages=pd.DataFrame(), movement=MOVES.head(0)), "en"))
    compared = told[told.index("Segments compared", 400) : told.index("Ordered by their share")]
    assert compared.count("900") == 1
    assert " All " not in compared
    assert "Standard deviation" not in told


def test_cohorts_of_nobody_and_of_one_month_are_not_shown() -> None:
    assert "Cohorts" not in seen(page(gallery(cohorts=pd.DataFrame([[40.0], [50.0]], index=["2025-08", "2025-09"])), "en"))
    assert "Cohorts" not in seen(page(gallery(cohorts=pd.DataFrame([[0.0, 0.0]], index=["2025-09"])), "en"))


def test_a_figure_that_nothing_foretells_says_so_and_tells_no_segment_apart() -> None:
    none = dataclasses.replace(CARD, glance=dataclasses.replace(GLANCE, leaving=None))
    everybody = dataclasses.replace(GLANCE, lifetime=40.0)
    told = seen(page(gallery(alike=frozenset({"churn", "lifetime value"}), glance=everybody, cards=[none], lifetime_model="mean"), "en"))
    assert "no own event within 30 days, on average; nothing foretold it better than the mean of all" in told
    assert "within 180 days, refunds not taken off; nothing foretold it better" in told
    assert "Leave, of 100" not in told
    assert "nothing foretold" not in seen(page(gallery(), "en"))


def test_a_card_says_how_far_its_figures_look_ahead() -> None:
    card = dataclasses.replace(CARD, glance=dataclasses.replace(GLANCE, likely=0.2))
    told = seen(page(gallery(cards=[card]), "en"))
    assert re.search(r"of 100 Expected to buy \(30 days\)", told)
    assert re.search(r"of 100 Expected to leave \(30 days\)", told)
    by_rhythm = seen(page(gallery(cards=[card], leaving="rhythm"), "en"))
    assert "Expected to leave (" not in by_rhythm


def test_a_window_shorter_than_what_is_asked_for_is_named() -> None:
    value = {**AMOUNTS, "target": "lifetime value", "window_days": 23}
    assert "judged on 23 days, the longest that the log reaches back for" in seen(page(gallery(amounts=[value]), "en"))
    assert "the longest" not in seen(page(gallery(amounts=[{**value, "window_days": 180}]), "en"))


def test_empty_tables_have_words_instead_of_gaps() -> None:
    nothing = {
        "movement": MOVES.head(0),
        "cards": [],
        "places": np.zeros((0, 2)),
        "groups": np.zeros(0, dtype=int),
        "times": TIMES.head(0),
        "stages": pd.DataFrame(),
        "grid": pd.DataFrame(),
        "cohorts": pd.DataFrame(),
        "funnel": [],
        "predictions": [],
        "amounts": [],
        "drivers": {},
        "segment_quality": {},
        "split": None,
        "first": [],
    }
    told = seen(page(gallery(**nothing), "en"))
    assert "who moved is not known yet" in told
    assert "There are none yet" in told
    assert "there is one segment" in told
    assert not re.search(r"\bnan\b|None", told)


def test_a_log_without_dates_has_no_word_of_time() -> None:
    undated = Log(visits=False, dated=False, people="raters", interest="ratings")
    details = dataclasses.replace(
        DETAILS,
        description="Critics: 98% of all users. Compared with the others, they give lower ratings.",
        apart=[{**APART, "feature": "average_rating", "phrase": "give lower ratings", "advice": None}],
        rhythm=None,
        typical=dict.fromkeys(DETAILS.typical) | {"purchases": 3.0},
        rule=None,
    )
    told = seen(
        page(
            gallery(
                as_of=None,
                log=undated,
                leaving=None,
                lifetime_model=None,
                glance=dataclasses.replace(GLANCE, leaving=None, sessions=None, buyers=None, value=None, total=None),
                cards=[
                    dataclasses.replace(
                        CARD,
                        name=Name("Critics", (("average_rating", -1),)),
                        change=None,
                        details=details,
                        glance=dataclasses.replace(GLANCE, leaving=None, sessions=None, value=None, total=None),
                    )
                ],
                first=[],
                stages=pd.DataFrame(),
                grid=pd.DataFrame(),
                cohorts=pd.DataFrame(),
                funnel=[],
                predictions=[],
                amounts=[],
                drivers={},
                split="record order",
                support=pd.DataFrame({"feature": ["ratings"], "support": ["measured"]}),
            ),
            "en",
        )
    )
    assert "The log has no dates; the order of its records stands for time." in told
    assert [word[0] for word in re.finditer(TIME_WORDS, told, re.I)] == []
    assert [word[0] for word in re.finditer(VISIT_WORDS, told, re.I)] == []


def test_a_chance_is_not_told_as_a_share_of_people_and_every_figure_has_its_meaning() -> None:
    told = seen(page(gallery(), "en"))
    assert "20 of 100 Expected to leave no own event within 30 days, on average" in told
    assert "Amounts in EUR, of purchases and bookings alone; what was paid back is taken off unless said otherwise." in told
    assert "12.50 Mean spent so far less what was paid back, so it may be below 0" in told
    assert "50% of the 40 of them who were judged had a hit: one of the 10 items foremost in their list, before the business rules," in told
    expected = dataclasses.replace(GLANCE, lifetime=30.0)
    assert "what they spent so far, brought to 180 days; no forecast was better beyond doubt" in seen(page(gallery(glance=expected), "en"))
    assert "within 180 days, refunds not taken off" in seen(page(gallery(glance=expected, lifetime_model="beta_geometric"), "en"))


def test_measures_of_predictions_are_those_that_a_model_has() -> None:
    told = seen(page(gallery(), "en"))
    assert re.search(r"leaving no own event within 30 days random forest 640 0\.80 0\.02 3\.10", told)
    assert re.search(r"spend spent within 30 days, refunds not taken off past spend 640 0\.40 12 0\.97", told)
    assert "–" not in told
    assert "Counts most for leaving: recency days + and sessions -." in told


@pytest.mark.parametrize(
    ("count", "language", "expected"),
    [(1, "en", "1 user"), (2, "en", "2 users"), (0, "en", "0 users"), (1, "zh", "1 位用户"), (2, "zh", "2 位用户")],
)
def test_numbers_and_words_agree(count: int, language: Language, expected: str) -> None:
    assert texts_of(language).count("users", count) == expected


def test_the_chinese_page_is_wholly_chinese() -> None:
    """But for names of models, of places, and what comes from the data."""
    told = seen(page(gallery(), "zh"))
    assert "夜间来访较多" in told
    words = set(re.findall(r"[A-Za-z]{3,}", told))
    assert words <= {
        *("shop", "Books", "Wine", "more", "script", "alert", "Tea", "Few", "Larks", "Europe", "Rome", "EUR", "AUC", "web", "English"),
        *("random", "forest", "past", "spend", "means", "persona", "audience", "export", "save", "rule", "where", "segment", "csv"),
        *("night", "share", "and", "attributes", "city", "features", "feature", "support"),
    }, words


@pytest.mark.parametrize("interest", INTEREST_VERBS)
def test_what_people_do_is_told_by_the_same_verb_in_description_and_on_the_page(interest: str) -> None:
    log = Log(interest=interest)
    assert sentence(DETAILS.statement, log).startswith(f"Most of what they {INTEREST_VERBS[interest].plural} is ")
    assert f"{INTEREST_VERBS[interest].chinese}主要集中在" in page(gallery(log=log), "zh")


def test_every_language_has_every_text_with_the_same_figures() -> None:
    english, chinese = (texts_of(language).entries for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key, entry in english.items():
        assert isinstance(entry, dict) == isinstance(chinese[key], dict)
        of = [set(re.findall(r"\{(\w+)\}", str(texts[key]))) for texts in (english, chinese)]
        assert of[0] == of[1], key


def test_every_chart_has_its_numbers_as_a_table() -> None:
    text = page(gallery(), "en")
    drawn = len(re.findall(r'<svg viewBox="[^"]+" role="img"', text))
    assert text.count('<details class="numbers">') == drawn - 1  # points of a map are no numbers


def test_unusual_days_stand_out_of_their_weekday() -> None:
    days = pd.DataFrame(
        {"day": pd.date_range("2025-09-01", periods=42), "events": [100 + 3 * (n % 5) + (80 if n % 7 > 4 else 0) for n in range(42)]}
    )
    assert unusual_days(days).empty
    days.loc[20, "events"] = 900
    assert unusual_days(days)["events"].tolist() == [900]
    assert unusual_days(days.head(5)).empty


def test_the_commands_of_a_card_name_the_configuration_that_is_not_found_by_itself() -> None:
    assert "--config" not in page(gallery(), "en")
    text = page(gallery(configuration="my shop.yaml"), "en")
    assert text.count("--config &#39;my shop.yaml&#39;") == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_only_taken_for_consenting_is_not_said_to_have_consented(language: Language) -> None:
    texts = texts_of(language)
    kinds = ("listed", "assumed", "partly", "nobody")
    for kind in kinds:
        text = page(gallery(consent=kind), language)
        assert [f"<small>{texts(f'glance_reachable_{other}')}</small>" in text for other in kinds] == [other == kind for other in kinds]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_model_and_algorithm_has_a_name_on_the_page(language: Language) -> None:
    names = {*classifiers(1), *regressors(1), *BASELINES, *ALGORITHMS, BASE_RATE, MEAN, "combined", "modified_beta_geometric"}
    assert {f"model_{name}" for name in names} <= set(texts_of(language).entries)
    assert {f"feature_{name}" for name in DERIVED} <= set(texts_of(language).entries)


@pytest.mark.parametrize(
    ("error", "english", "chinese"), [(0.17, "0.17, too much to take the chances as they stand", "误差过大"), (0.1, "0.10", "")]
)
def test_chances_that_are_far_from_what_happened_are_told_so(error: float, english: str, chinese: str) -> None:
    for language, words in zip(LANGUAGES, (english, chinese), strict=True):
        told = seen(page(gallery(predictions=[CHANCES | {"calibration_error": error}]), language))
        assert words in told
        assert (("too much" in told) or ("误差过大" in told)) == (error > 0.1)


@pytest.mark.parametrize(("users", "base_rate", "most"), [(640, 0.5, "2.00"), (640, 0.02, "10.00"), (95, 0.05, "10.56")])
def test_beside_a_lift_stands_the_most_that_it_could_be(users: int, base_rate: float, most: str) -> None:
    assert f"3.10 of {most}" in seen(page(gallery(predictions=[CHANCES | {"users": users, "base_rate": base_rate}]), "en"))


def test_that_all_have_bought_is_no_figure() -> None:
    assert seen(page(gallery(), "en")).count("Have bought") == 2
    bought = dataclasses.replace(GLANCE, buyers=1.0)
    assert "Have bought" not in seen(page(gallery(glance=bought, cards=[dataclasses.replace(CARD, glance=bought)]), "en"))


@pytest.mark.parametrize(("middle", "told"), [(8.0, True), (10.0, False), (0.0, False), (None, False)])
def test_where_few_hold_most_the_median_stands_beside_the_mean(middle: float | None, told: bool) -> None:
    text = seen(page(gallery(glance=dataclasses.replace(GLANCE, middle=middle)), "en"))
    assert ("so it may be below 0; in the middle of them about 8" in text) == told
    assert ("so it may be below 0; in the middle of them" in text) == told


def test_a_step_of_few_people_follows_from_no_share() -> None:
    told = seen(page(gallery(funnel=[("item_view", 804), ("purchase", 7)]), "en"))
    assert "opened an item 800 100% bought fewer than 20 fewer than 20" in told
    assert "opened an item 804 100% bought 200 25%" in seen(page(gallery(funnel=[("item_view", 804), ("purchase", 200)]), "en"))


def test_of_a_day_on_which_a_segment_was_small_its_chart_tells_nothing() -> None:
    times = TIMES.assign(users=[7, 9, 880, 7])
    told = seen(page(gallery(times=times), "en"))
    assert "2025-09-01 none 2025-09-08 12.50" in told
    assert "2025-09-01 10 2025-09-08 12.50" in seen(page(gallery(), "en"))
