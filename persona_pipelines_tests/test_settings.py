import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.settings import ConfigurationError, load_settings
from persona_pipelines.settings.described import classes, settings_page, written
from persona_pipelines.settings.log_formats import line_pattern
from persona_pipelines.settings.recommendations import DEFAULT_METHODS
from persona_pipelines.settings.schedules import cron
from persona_pipelines.settings.whole import OWN_TABLES
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS, law

SOURCE = """
  - name: clicks
    path: clicks.csv
    format: csv
    fields: {timestamp: at, event_type: type, user_id: user}
"""


def load(tmp_path: Path, text: str):
    (tmp_path / "c.yaml").write_text(text)
    return load_settings(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_date: 2025-01-01\nsources: []", "sources: found .*at least 1"),
        ("sources:" + SOURCE, "start_date: not given; expected a value"),
        ("start_date: soon\nsources:" + SOURCE, "start_date: found 'soon'; .*date"),
        (
            "start_date: 2025-01-01\ncolour: red\nsources:" + SOURCE,
            "colour: found 'red'; not a setting known here; expected one of currencies, .*, warehouse$",
        ),
        ("start_date: 2025-01-01\nstart_dat: 2\nsources:" + SOURCE, "start_dat: found 2; not a setting known here; expected start_date\\?"),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", "format: {type: csv, delimeter: x}"),
            r"sources\[0\].format.delimeter: .*; expected delimiter\?",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", "format: {type: json, delimiter: x}"),
            "not a setting known here; expected one of comment, encoding, member, skip_lines, type",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {from: at, tmezone: UTC}"),
            r"fields.timestamp.tmezone: .*; expected timezone\?",
        ),
        (
            "start_date: 2025-01-01\nfeatures: {interaction_half_life_days: many}\nsources:" + SOURCE,
            "features.interaction_half_life_days: found 'many'; expected a number",
        ),
        ("start_date: 2025-01-01\npredictions: 3\nsources:" + SOURCE, "predictions: found 3; expected settings: names and values$"),
        (
            "start_date: 2025-01-01\nrecommendations: {methods: [most_popular]}\nsources:" + SOURCE,
            r"methods\[0\]: found 'most_popular'; expected settings: names and values, such as \{method: most_popular\}$",
        ),
        (
            "start_date: 2025-01-01\nrecommendations: {methods: [most_populr]}\nsources:" + SOURCE,
            r"methods\[0\]: found 'most_populr'; expected settings: names and values$",
        ),
        ("start_date: 2025-01-01\nname: A B\nsources:" + SOURCE, "name: found 'A B'; expected a name of at most 48 small letters"),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {from: at, timezone: Mars}"),
            r"sources\[0\].fields.timestamp.timezone: found 'Mars'; expected a time zone",
        ),
        ("start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at, ", ""), r"sources\[0\]: fields.timestamp: missing"),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("user_id: user", "user_id: user, shoe_size: s"),
            "fields.shoe_size: not a column of events",
        ),
        ("start_date: 2025-01-01\nsources:" + SOURCE + SOURCE, r"sources\[1\].name: 'clicks' is taken"),
        ("start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", "format: xml"), r"sources\[0\].format.type: found 'xml'"),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {from: at, pattern: '('}"),
            "expected a regular expression",
        ),
        (
            "start_date: 2025-01-01\nfeatures: {interaction_weights: {teleport: 1}}\nsources:" + SOURCE,
            "features.interaction_weights.teleport: not an event type",
        ),
        ("start_date: 2025-13-01\nsources:" + SOURCE, "start_date: found '2025-13-01'; expected a date"),
        ("start_date: 20250101\nsources:" + SOURCE, "start_date: found 20250101; expected a date such as 2026-01-31"),
        (
            "start_date: 2025-01-01\nfeatures: {timezone: Mars/Phobos}\nsources:" + SOURCE,
            "features.timezone: found 'Mars/Phobos'; expected a time zone",
        ),
        (
            "start_date: 2025-01-01\nschedules: {timezone: CEST}\nsources:" + SOURCE,
            "schedules.timezone: found 'CEST'; expected a time zone",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", "format: {type: csv, number: {decimal: ','}}"),
            "format.number: not a setting known here; it is one of those a level above",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("user_id: user", "user_id: user, dwell_ms: {from: d, unit: seconds}"),
            "fields.dwell_ms.unit: is for columns that are a time, and this is a number; .* say scale",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {from: at, scale: 2}"),
            "fields.timestamp.scale: is for columns that are a number, and this is a time",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("user_id: user", "user_id: {from: user, absolute: true}"),
            "fields.user_id.absolute: is for columns that are a number, and this is a text",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("user_id: user", "userid: user"),
            "fields.userid: not a column of events; expected user_id",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {from: at, since: 2024-01-01}"),
            "fields.timestamp.since: is of times that are numbers; expected unit",
        ),
        (
            "start_date: 2025-01-01\nsources:"
            + SOURCE.replace("timestamp: at", "timestamp: {from: at, unit: seconds, timezone: Europe/Berlin}"),
            "timezone Europe/Berlin: counts of seconds are since 1970, which began in UTC; expected",
        ),
        (
            "start_date: 2025-01-01\nsources:"
            + SOURCE.replace(
                "timestamp: at", "timestamp: {from: at, unit: days, since: 2024-01-01T00:00:00+02:00, timezone: Europe/Berlin}"
            ),
            "timezone Europe/Berlin: counts of days are since 2024-01-01 00:00.0200; expected",
        ),
        (
            "start_date: 2025-01-01\nlogs: {max_reject_share: nan}\nsources:" + SOURCE,
            "logs.max_reject_share: found 'nan'; expected a finite number",
        ),
        ("a: [1, 2", r"c.yaml, line 1: not readable as YAML"),
        ("a: &a [x]\nb: *a", r"c.yaml, line 2: not readable as YAML: aliases"),
        ("start_date: 2025-01-01\nstart_date: 2025-01-02", "line 2: .*stands here twice"),
        ("name: x\n? [a, b]\n: 3", "c.yaml, line 2: not readable as YAML: a list or object stands for a key; expected a text"),
        ("logs: {x: {{a: b}: c}}", "c.yaml, line 1: .*a list or object stands for a key"),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("name: clicks", "name: files"),
            r"sources\[0\].name: 'files' is the name of a table of this package; expected another",
        ),
        (
            "start_date: 2025-01-01\npredictions: {horizon_days: 99999999999}\nsources:" + SOURCE,
            "predictions.horizon_days: found .*36500",
        ),
        (
            "start_date: 2025-01-01\nrecommendations: {minimum_interactions: 99999999999}\nsources:" + SOURCE,
            "minimum_interactions: found 99999999999; expected at most 2,147,483,647",
        ),
        *(
            (f"start_date: 2025-01-01\n{setting}\nsources:" + SOURCE, message)
            for setting, message in (
                ("recommendations: {seed: -1}", "recommendations.seed: found -1; expected greater than or equal to 0"),
                ("predictions: {seed: -1}", "predictions.seed: found -1; expected greater than or equal to 0"),
                ("segments: {seed: -1}", "segments.seed: found -1; expected greater than or equal to 0"),
                ("events: {session_gap_minutes: 1.0e+30}", "session_gap_minutes: found 1e.30; expected at most 52,560,000, a century"),
                ("events: {max_dwell_minutes: 1.0e+30}", "max_dwell_minutes: found 1e.30; expected at most 52,560,000, a century"),
                ("logs: {settle_seconds: 1.0e+30}", "settle_seconds: found 1e.30; expected at most 3,153,600,000, a century"),
                (
                    "features: {interaction_half_life_days: 36501}",
                    "interaction_half_life_days: found 36501; expected at most 36,500, a century",
                ),
                ("features: {as_of: 9999-12-31}", "as_of: found 9999-12-31; expected a year up to 9899"),
                ("logs: {earliest_timestamp: 9999-12-31}", "earliest_timestamp: found 9999-12-31.*; expected a year up to 9899"),
                ('events: {bot_patterns: [""]}', r"events.bot_patterns\[0\]: found ''; expected at least 1 character"),
                (
                    "recommendations: {methods: [{method: als, foo: 1}]}",
                    "als.foo: found 1; not a setting known here; expected one of alpha, factors, iterations, method, name, regularisation$",
                ),
            )
        ),
        *(
            ("start_date: 2025-01-01\nsources:" + SOURCE.replace("user_id: user", f"user_id: {mapping}"), message)
            for mapping, message in (
                ("[]", r"fields.user_id.from: found \[\]; expected at least 1 item$"),
                ("{first_of: []}", r"fields.user_id.first_of: found \[\]; expected at least 1 item$"),
                ("{first_of: [[]]}", r"fields.user_id.first_of\[0\].*; expected at least 1 item"),
                ('""', r"fields.user_id.from\[0\]: found ''; expected at least 1 character"),
                ("{cases: [{when: {field: a, one_of: []}, value: x}]}", r"one_of: found \[\]; expected at least 1 item"),
                (
                    '"@fiel"',
                    "'@fiel' is none of @file, @line, @part, @index, @within: expected @file, or '\"@fiel\"' for a field of that name",
                ),
            )
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {from: at, format: []}"),
            r"fields.timestamp.format: found \[\]; expected at least 1 item",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("timestamp: at", "timestamp: {order: {step_seconds: 1.0e+300}}"),
            "step_seconds: found '1.0e.300'; expected less than or equal to 86400",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("event_type: type", "event_type: {value: view}"),
            r"sources\[0\].fields.event_type.value: found 'view', which is no event type; declare it .* item_view",
        ),
        (
            "start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", "format: {type: access_log, pattern: '('}"),
            r"sources\[0\].format: .*pattern: expected a regular expression",
        ),
        ("start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", "format: 5"), r"format: found 5; expected settings: names"),
        *(
            (f"start_date: 2025-01-01\nsources:{SOURCE}    {setting}\n", f"{place}: found ''; expected at least 1 character")
            for setting, place in (
                ('each: ""', "each.path"),
                ('parse: {"": json}', "parse.''"),
                ('join: {source: "", on: user}', r"join\[0\].source"),
                ('join: {source: x, on: ""}', r"join\[0\].on.''"),
                ('join: {source: x, on: user, fields: [""]}', r"fields\[0\]"),
            )
        ),
        ("start_date: 2025-01-01\nsources: {}", "sources: found {}; expected a list"),
        ("just text", "found 'just text'; expected settings"),
        (
            "start_date: 2025-01-01\ndescription: ${NO_SUCH_VARIABLE_HERE}\nsources:" + SOURCE,
            "line 2: description: the environment variable NO_SUCH_VARIABLE_HERE",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, text)


@law(60)
@given(blanks=st.lists(st.integers(0, 3), min_size=7, max_size=7), wrong=st.sampled_from(["colour", "format", "tmezone", "usr", "weight"]))
def test_a_wrong_setting_is_named_with_its_line(tmp_path_factory, blanks: list[int], wrong: str) -> None:
    """Wherever it stands: at the top, inside of a list, inside of a field, in what a rule of the project refuses, behind comments and blank lines."""
    lines = [
        "start_date: 2025-01-01",
        "colour: red" if wrong == "colour" else "description: a shop",
        "sources:",
        "- name: clicks",
        "  path: clicks.csv",
        "  format: {type: csv, delimeter: x}" if wrong == "format" else "  format: csv",
        "  fields: {timestamp: "
        + ("{from: at, tmezone: UTC}" if wrong == "tmezone" else "at")
        + (", usr: u" if wrong == "usr" else "")
        + ", event_type: type}",
    ]
    if wrong == "weight":
        lines[1] = "recommendations: {half_life_days: often}"
    text = "\n".join("\n".join(["# a comment"] * count + [line]) for count, line in zip(blanks, lines, strict=True))
    place = {"colour": 1, "weight": 1, "format": 5, "tmezone": 6, "usr": 6}[wrong]
    expected = sum(blanks[: place + 1]) + place + 1
    with pytest.raises(ConfigurationError, match=rf"c\.yaml, line {expected}: "):
        load(tmp_path_factory.mktemp("lines"), text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_date: 2025-01-01\nsources:\n\t- name: x\n", r"c.yaml, line 3: not readable as YAML: found a tab; expected blanks"),
        ("start_date: 2025-01-01\nname: 'shop\nsources: []\n", r"expected a closing quote"),
        ("start_date: 2025-01-01\n---\nsources: []\n", r"found a second document after ---"),
        ("start_date: 2025-01-01\ndescription: a: b\n", r"line 2: not readable as YAML: found a second colon"),
        ("start_date: 01.03.2025\nsources:" + SOURCE, r"line 1: start_date: found '01.03.2025'; expected a date such as 2026-01-31"),
        (
            "start_date: 2025-01-01\nprivacy: {consent_when_unknown: maybe}\nsources:" + SOURCE,
            r"line 2: .*found 'maybe'; expected true or false",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words_of_who_writes_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, text)


def test_names_that_begin_with_an_at_sign_are_fields_where_they_are_no_slip(tmp_path: Path) -> None:
    for path in ("@timestamp", '"@fiel"', "@line"):
        settings = load(tmp_path, "start_date: 2025-01-01\nsources:" + SOURCE.replace("user_id: user", f"user_id: '{path}'"))
        assert path in settings.sources[0].paths()


def test_an_empty_name_of_a_configuration_is_not_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_CONFIG", "elsewhere.yaml")
    with pytest.raises(ConfigurationError, match="--config: found ''; expected a configuration file"):
        load_settings("")
    with pytest.raises(ConfigurationError, match=r"elsewhere.yaml: cannot be read"):
        load_settings()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    named = r"no.yaml: cannot be read \(No such file.*\(--config FILE or PERSONA_CONFIG names another\)"
    with pytest.raises(ConfigurationError, match=named):
        load_settings(tmp_path / "no.yaml")


def test_variables_of_the_environment_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FOLDER", "elsewhere")
    settings = load(tmp_path, "start_date: 2025-01-01\nsources:" + SOURCE.replace("clicks.csv", "${LOG_FOLDER}/${OTHER:-x}.csv"))
    assert settings.sources[0].path == "elsewhere/x.csv"


def test_own_event_types_carry_weights(tmp_path: Path) -> None:
    settings = load(tmp_path, "start_date: 2025-01-01\nevent_types: {test_drive: {weight: 3}}\nsources:" + SOURCE)
    assert settings.interaction_weights()["test_drive"] == 3
    assert "test_drive" in settings.known_event_types()
    assert "page_view" not in settings.interaction_weights()


@pytest.mark.parametrize(
    "word",
    [
        "NO",
        "yes",
        "off",
        "007",
        "1.50",
        "12:30:00",
        "2025-09-01",
        "1e5",
        "1_000",
        "0x1F",
        "0o17",
        "+5",
        ".5",
        "nan",
        "17",
        "true",
        "True",
        "FALSE",
    ],
)
def test_words_of_a_log_stay_as_they_are_written(tmp_path: Path, word: str) -> None:
    """YAML 1.1 would take most of them for something else."""
    said = f"campaign: {{value: {word}}}, channel: {{from: c, map: {{{word}: {word}}}, default: {word}}}"
    source = SOURCE.replace("user_id: user", f"user_id: user, {said}").rstrip()
    settings = load(
        tmp_path,
        f"start_date: 2025-01-01\nsources:{source}\n    missing_words: [{word}]\n    drop_when: [{{field: x, equals: {word}}}, {{field: y, one_of: [{word}]}}]",
    )
    found = settings.sources[0]
    assert (found.fields["campaign"].value, found.fields["channel"].map, found.fields["channel"].default) == (word, {word: word}, word)
    assert (found.drop_when[0].equals, found.drop_when[1].one_of, found.missing_words) == (word, [word], [word])


def test_settings_that_are_numbers_dates_and_switches_are_read_from_their_words(tmp_path: Path) -> None:
    text = "start_date: 2025-01-01\nlogs: {money: {minimum: -1_000, maximum: 1.0e+9}, earliest_timestamp: 2001-01-01}\nrecommendations: {exclude_seen: No, test_share: .25}\nsources:"
    settings = load(tmp_path, text + SOURCE)
    assert (settings.logs.money.minimum, settings.logs.money.maximum) == (-1000, 1e9)
    assert (settings.recommendations.exclude_seen, settings.recommendations.test_share) == (False, 0.25)
    assert settings.logs.earliest_timestamp.year == 2001


@pytest.mark.parametrize(("word", "meant"), [("no", False), ("False", False), ("yes", True), ("time", "time")])
def test_whether_a_file_has_a_header_is_said_in_any_word(tmp_path: Path, word: str, meant) -> None:
    columns = ", columns: [at, user]" if meant is False else ""
    settings = load(
        tmp_path, "start_date: 2025-01-01\nsources:" + SOURCE.replace("format: csv", f"format: {{type: csv, header: {word}{columns}}}")
    )
    assert settings.sources[0].format.header == meant


def test_a_key_called_on_or_yes_is_a_name(tmp_path: Path) -> None:
    """YAML 1.1 takes these words for true and false."""
    source = "{name: a, path: x, format: csv, join: {source: b, on: key}, fields: {timestamp: t, user_id: u, event_type: {from: e, map: {yes: purchase, no: login}}}}"
    text = f"start_date: 2025-01-01\nsources:\n  - {source}\n  - {{name: b, kind: lookup, path: y, format: csv, fields: {{key: k}}}}\n"
    (tmp_path / "persona.yaml").write_text(text)
    first = load_settings(tmp_path / "persona.yaml").sources[0]
    assert first.join[0].on == {"key": "key"}
    assert first.fields["event_type"].map == {"yes": "purchase", "no": "login"}


def test_what_may_stand_in_place_of_an_unknown_word_is_what_is_known_there(configure) -> None:
    with pytest.raises(ConfigurationError, match=r"methods\[0\].method: found 'lightfn'; expected one of most_popular, .*, hybrid$"):
        configure(recommendations={"methods": [{"method": "lightfn"}]})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("yyyy-MM-dd HH:mm:ss", r"expected codes of strptime such as .* found 'yyyy-MM-dd HH:mm:ss' without any"),
        ("%Y-%m-%d %H:%M:%S.%n", "%n .* is not known here"),
        ("%Y %i", "expected codes of strptime; found '%Y %i'"),
        ("%s", "%s .* expected unit: seconds"),
        ("%H:%M:%S", "has no year; expected %Y"),
        ("%d.%m.%Y %I:%M", r"hours of twelve without %p \(AM or PM\); expected %H"),
    ],
)
def test_a_format_of_times_is_tried_when_the_configuration_is_read(configure, wanted, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configure({**CLICKS, "fields": {**CLICKS["fields"], "timestamp": {"from": "at", "format": wanted}}})


@pytest.mark.parametrize("written", ["%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%S UTC"])
def test_a_zone_as_plain_text_is_refused_where_another_one_would_be_taken(configure, written: str) -> None:
    def source(**clock) -> dict:
        fields = {**CLICKS["fields"], "timestamp": {"from": "at", "format": written, **clock}}
        return {**CLICKS, "fields": fields}

    with pytest.raises(ConfigurationError, match=r"ends in a zone as plain text.*expected %z or %Z"):
        configure(source(timezone="America/New_York"))
    assert configure(source()).sources[0].fields["timestamp"].timezone is None


@pytest.mark.parametrize(
    ("file", "name"), [("My Shop.yaml", "my-shop"), ("shop_2.yaml", "shop_2"), ("Bücher & Co..yaml", "b-cher-co"), ("---.yaml", "persona")]
)
def test_a_configuration_is_called_like_its_file(configure, tmp_path: Path, file: str, name: str) -> None:
    configure(CLICKS)
    content = yaml.safe_load((tmp_path / "persona.yaml").read_text())
    (tmp_path / file).write_text(yaml.safe_dump({key: value for key, value in content.items() if key != "name"}))
    assert load_settings(tmp_path / file).name == name


def test_cases_without_a_condition_are_refused(configure) -> None:
    with pytest.raises(ConfigurationError, match=r"cases.*at least 1"):
        configure({**CLICKS, "fields": {**CLICKS["fields"], "value": {"cases": []}}})


@pytest.mark.parametrize(
    ("log_format", "message"),
    [
        ("%h $status", "variables of nginx .* beside directives of Apache"),
        ("$syslog_header $remote_addr", "it ends in its own blank"),
        ("$status $syslog_header$remote_addr", "expected .syslog_header at the begin"),
    ],
)
def test_a_log_format_that_no_line_could_have_is_refused(log_format: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        line_pattern(log_format, None, False)


def test_one_bound_of_amounts_leaves_the_other(configure) -> None:
    logs = configure(CLICKS, logs={"money": {"minimum": -5}, "ratings": {"maximum": 10}}).logs
    assert (logs.money.minimum, logs.money.maximum) == (-5, 1e9)
    assert (logs.ratings.minimum, logs.ratings.maximum) == (-1000, 10)


@pytest.mark.parametrize(
    ("log_format", "found"),
    [
        (
            r'LogFormat "%h %l %u %t \"%r\" %>s %b" common',
            ("address", "identity", "user", "time", "method", "url", "protocol", "status", "bytes"),
        ),
        ("log_format x escape=json '$remote_addr - '\n  '$remote_user';", ("address", "user")),
        ("'$remote_addr - ' '$remote_user'", ("address", "user")),
        (r"$remote_addr\t$remote_user", ("address", "user")),
        ("$remote_addr [$time_local] $msec $body_bytes_sent $bytes_sent", ("address", "time", "time_2", "bytes", "bytes_2")),
        ("%h [%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t]", ("address", "time", "time_2", "time_3")),
    ],
)
def test_a_log_format_may_be_pasted_as_the_server_has_it(log_format, found) -> None:
    assert line_pattern(log_format, None, False).fields == found


def test_variables_with_nothing_between_them_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing stands between '\\$remote_addr' and '\\$remote_user'"):
        line_pattern("$remote_addr$remote_user", None, False)


CRON_PIECES = st.one_of(
    st.just("*"),
    st.integers(-1, 62).map(str),
    st.builds("{}-{}".format, st.integers(0, 60), st.integers(0, 60)),
    st.builds("*/{}".format, st.integers(0, 9)),
    st.builds("{},{}".format, st.integers(0, 60), st.integers(0, 60)),
    st.builds("{}-{}/{}".format, st.integers(0, 30), st.integers(0, 60), st.integers(0, 4)),
    st.sampled_from(["mon", "MON-FRI", "jan", "L", "?", "1/2", "", "x", "5-1", "\u0665"]),
)


@law(1000)
@given(parts=st.lists(CRON_PIECES, min_size=4, max_size=6))
def test_times_of_schedules_are_those_that_dagster_takes_and_that_come(parts: list[str]) -> None:
    from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string

    text = " ".join(parts)
    try:
        cron(text)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - the other branch is the law
        return
    assert is_valid_cron_string(text)
    assert next(iter(cron_string_iterator(0.0, text, "UTC")))


@pytest.mark.parametrize(
    ("section", "name", "value", "expected"),
    [
        ("schedules", "daily", "61 * * * *", "minute: expected [*], or numbers from 0 to 59"),
        ("schedules", "weekly", "* * * *", "expected five fields: minute, hour"),
        ("schedules", "daily", "0 0 31 2 *", "expected a day that comes: no such month has a day 31"),
        ("schedules", "daily", "@reboot", "expected five fields"),
        ("warehouse", "memory_limit", "-1GB", "expected an amount of memory such as 4GB"),
        ("warehouse", "memory_limit", "80%", "expected an amount of memory"),
        ("warehouse", "threads", 10**9, "expected less than or equal to 1024"),
        ("warehouse", "wait_minutes", 1e308, "expected less than or equal to 1000000"),
        (None, "owner", "nobody at all", "expected an e-mail address, or team: and the name of a team"),
    ],
)
def test_what_only_dagster_or_the_engine_would_refuse_later_is_refused_here(configure, section, name, value, expected: str) -> None:
    given_settings = {section: {name: value}} if section else {name: value}
    with pytest.raises(ConfigurationError, match=f"{f'{section}.' if section else ''}{name}: found .*{expected}"):
        configure(CLICKS, **given_settings)


@pytest.mark.parametrize("method", DEFAULT_METHODS, ids=lambda method: method.name)
def test_whatever_tuning_may_choose_is_a_setting(method) -> None:
    space = type(method).space()
    assert bool(space) == (method.method not in ("most_popular", "content_based", "content_to_taste", "hybrid"))
    for name, bounds in space.items():
        assert bounds.low < bounds.high
        for value in (bounds.low, bounds.high):
            assert getattr(type(method).model_validate({**method.model_dump(), name: value}), name) == value


def test_no_source_may_have_the_name_of_a_table_of_this_package() -> None:
    assert tuple(table.name for table in contracts.TABLES if table.schema == "logs") == OWN_TABLES


def test_the_page_of_settings_is_current() -> None:
    file = Path(__file__).parents[1] / "docs" / "settings.md"
    assert file.read_text() == settings_page(), "run: make dictionary"


def test_every_setting_says_what_it_is_for() -> None:
    assert [f"{model.__name__}.{name}" for _, model in classes() for name, field in written(model) if not field.description] == []


def test_the_links_of_the_page_of_settings_lead_to_its_headings() -> None:
    page = settings_page()
    headings = {
        re.sub(r"[^a-z0-9_ -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    linked = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert len(linked) > 30
    assert linked <= headings


@pytest.mark.parametrize("content", [b"K\xfcnstler;1\n", b"customer;age\nc1;30\n"])
def test_a_log_in_place_of_a_configuration_is_told_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"where people.csv is a log: persona init makes a configuration for it"):
        load_settings(tmp_path / "people.csv")
    (tmp_path / "people.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(tmp_path / "people.yaml")
    assert "persona init" not in str(refused.value)
