"""Abbreviations of time zones, which the engine knows by other names than people, and lengths of years, as macros of a connection."""

from __future__ import annotations

ZONES = {
    "UTC": "+00:00",
    "UT": "+00:00",
    "GMT": "+00:00",
    "EST": "-05:00",
    "EDT": "-04:00",
    "CDT": "-05:00",
    "MST": "-07:00",
    "MDT": "-06:00",
    "PST": "-08:00",
    "PDT": "-07:00",
    "WET": "+00:00",
    "WEST": "+01:00",
    "CET": "+01:00",
    "CEST": "+02:00",
    "EET": "+02:00",
    "EEST": "+03:00",
    "MSK": "+03:00",
    "JST": "+09:00",
    "AEST": "+10:00",
    "AEDT": "+11:00",
    "NZST": "+12:00",
    "NZDT": "+13:00",
    "SAST": "+02:00",
}
"""Those that mean one thing: of RFC 5322 (but CST, which is China's too), of Europe, Japan, Australia, New Zealand and South Africa."""
AMBIGUOUS = (
    "CST",
    "BST",
    "IST",
    "AST",
    "ADT",
    "NST",
    "ECT",
    "SST",
    "ACT",
    "AET",
    "AGT",
    "ART",
    "BET",
    "CAT",
    "CNT",
    "CTT",
    "EAT",
    "IET",
    "MIT",
    "NET",
    "PLT",
    "PNT",
    "PRT",
    "VST",
    "HST",
    "HKT",
    "SGT",
    "PKT",
    "BRT",
    "CLT",
    "AKST",
    "AKDT",
    "ICT",
)
"""Others that logs have: they stand for several zones, or the engine takes them for another one."""

_TABLE = "MAP {" + ", ".join(f"'{name}': '{offset}'" for name, offset in ZONES.items()) + "}"
_ANYWHERE = rf"(?:^|[^A-Za-z/_])({'|'.join((*ZONES, *AMBIGUOUS))})(?:[^A-Za-z/_]|$)"

_NO_OFFSET = r"(?::[0-9.]+|T[0-9.]+|[AaPp][Mm])\s*[+-](?:1[5-9]|[2-9][0-9]|[0-9]{2}:?[6-9][0-9])"
"""Further from UTC than any clock on earth (-12:00 to +14:00), or with more than 59 minutes: the engine would count on."""

# A lambda takes its text once: an expression that stands there several times would be computed, and written, as often.
MACROS = {
    # The text where its offset from UTC is one, or where it has none.
    "with_possible_offset(moment)": f"list_transform([moment], lambda text: CASE WHEN NOT regexp_matches(text, '{_NO_OFFSET}') THEN text END)[1]",
    # A text of ISO 8601 with the offset in place of an abbreviation at its end; null where that is unknown, or where its offset is none.
    # Most texts end in one of two ways, and need no look.
    "with_offset(moment)": (
        "CASE WHEN ends_with(moment, 'Z') OR ends_with(moment, '+00:00') THEN moment ELSE list_transform([moment], lambda text: "
        f"CASE WHEN regexp_matches(text, '{_NO_OFFSET}') THEN NULL WHEN upper(right(text, 1)) NOT BETWEEN 'A' AND 'Z' THEN text ELSE "
        r"list_transform([regexp_extract(text, '[0-9]\s*([A-Za-z]{2,5})$', 1)], lambda word: CASE WHEN word = '' THEN text ELSE "
        rf"regexp_replace(text, '\s*[A-Za-z]+$', '') || {_TABLE}[upper(word)] END)[1] END)[1] END"
    ),
    # The same of a text in the basic form, with a comma before fractions or a blank before the offset.
    "with_offset_extended(moment)": (
        r"list_transform([regexp_replace(regexp_replace(regexp_replace(moment, '^([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})', '\1-\2-\3T\4:\5:\6'), "
        r"'(:[0-9]{2}),([0-9])', '\1.\2'), '([0-9])\s+([+-][0-9]{2}:?[0-9]{2})$', '\1\2')], lambda extended: with_offset(extended))[1]"
    ),
    # The same of an abbreviation anywhere, without a colon in the offset; null without one.
    "offset_within(moment)": (
        f"list_transform([moment], lambda text: list_transform([regexp_extract(text, '{_ANYWHERE}', 1)], lambda word: "
        f"CASE WHEN word <> '' THEN replace(text, word, replace({_TABLE}[word], ':', '')) END)[1])[1]"
    ),
    # The text where it has none.
    "without_abbreviation(moment)": f"list_transform([moment], lambda text: CASE WHEN NOT regexp_matches(text, '{_ANYWHERE}') THEN text END)[1]",
    "days_of_year(year)": "CASE WHEN year BETWEEN 1 AND 9998 THEN dayofyear(make_date(year, 12, 31)) END",
    # The 28th of December is always in the last week.
    "iso_weeks_of_year(year)": "CASE WHEN year BETWEEN 1 AND 9998 THEN weekofyear(make_date(year, 12, 28)) END",
    "weeks_of_year(year, code)": "CASE WHEN year BETWEEN 1 AND 9998 THEN strftime(make_date(year, 12, 31), code)::INTEGER END",
    # A year of two digits where four are meant is another format's.
    "of_four_digits(moment)": "list_transform([moment], lambda found: CASE WHEN found >= TIMESTAMP '1000-01-01' THEN found END)[1]",
}
