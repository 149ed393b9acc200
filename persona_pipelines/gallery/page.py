"""The gallery as one page of HTML: no script, no font, no picture from anywhere else."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from persona_pipelines.features.support import ABSENT, INFERRED, MEASURED
from persona_pipelines.gallery import drawings
from persona_pipelines.gallery.content import Card, Details, Gallery, Glance, by_support
from persona_pipelines.gallery.filling import filled
from persona_pipelines.gallery.first import Pointer
from persona_pipelines.gallery.panels import movement, panels
from persona_pipelines.gallery.texts import WEEKDAYS, Language, Texts, decimal, numeral, of_100, percent, texts_of
from persona_pipelines.profiles.checks import CALIBRATED
from persona_pipelines.profiles.forecasting import CHURN, LIFETIME, PURCHASE
from persona_pipelines.profiles.predictions import highest_lift
from persona_pipelines.recommendations.verdict import NO_BETTER, WORSE, against_popular
from persona_pipelines.segments.interests import LEADING, MORE_THAN_OTHERS, NOTHING, SPREAD
from persona_pipelines.segments.naming import PHRASES, TOLD_APART
from persona_pipelines.warehouse.described import CHINESE, ENGLISH, FEATURES, INTEREST_VERBS

if TYPE_CHECKING:
    from persona_pipelines.gallery.downloads import Download

ADVICE = 4
MOST_DEVIATIONS = 3.0
"""What fills the bar of a difference."""
FEW_HOLD_MOST = 1.5
"""From how many times the median on a mean is not what most people spend."""
GUESSES = ("past_spend", "past_rate")
"""Models of lifetime value that say no more than what was spent so far."""
PLAIN_NAMES = {f"Average {people}": f"average_{people}" for people in ("visitors", "customers", "raters", "users")} | {
    "Everyone": "everyone"
}
"""Names that rest on no trait, by their keys in the texts."""


def page(gallery: Gallery, language: Language, downloads: Mapping[int, Download] = MappingProxyType({})) -> str:
    """The whole page. What comes from the data is escaped; the same data give the same bytes.

    Args:
        downloads: files of audiences beside the page by the ids of their segments; without any, no card has a link to one.
    """
    texts = texts_of(language)
    names = names_of(gallery, texts)
    shown = [card for card in gallery.cards if card.details is not None]
    titles = [names[card.segment_id] for card in shown]
    tables = panels(gallery, texts, names)
    return filled(
        "page.html",
        gallery,
        texts,
        dates=dates_of(gallery, texts),
        amounts=texts("amounts_in", currency=gallery.currency) if gallery.currency else "",
        contents=_contents(gallery, texts, tables),
        first=[_pointed(pointer, texts, names) for pointer in gallery.first],
        glance=_glance(gallery, gallery.glance, texts, whole=True),
        without=texts.count("glance_without", gallery.without) if gallery.without else "",
        compare=_compared(gallery, texts, names),
        cards=[_card(gallery, card, number, texts, names, downloads.get(card.segment_id)) for number, card in enumerate(gallery.cards)],
        names=titles,
        marks=[_safe(drawings.legend_mark(number)) for number in range(len(titles))],
        map=_safe(drawings.scatter(gallery.places, gallery.groups, titles, texts("map"))) if len(gallery.places) else "",
        times=_times(gallery, shown, texts, names),
        movement=movement(gallery, texts, names),
        panels=tables,
        predictions=_predictions(gallery, texts),
        drivers=[
            texts(
                "drivers",
                target=_target(target, texts),
                features=texts.listed([f"{_label(name, texts)} {sign}" for name, sign in _signed(rows)]),
            )
            for target, rows in gallery.drivers.items()
        ],
        split=texts("recommendations_split", split=texts(f"split_{gallery.split}")) if gallery.split else "",
        accounting={
            "header": [(texts(name), "") for name in ("source", "read", "events", "rejects", "duplicates", "filtered")],
            "rows": [
                [row["source"], *(numeral(row[name]) for name in ("records_read", "events", "rejects", "duplicates", "filtered"))]
                for row in gallery.accounting.to_dict("records")
            ],
        },
        unusual=[
            texts("anomaly", day=f"{pd.Timestamp(row['day']):%Y-%m-%d}", events=numeral(row["events"]), usual=numeral(row["usual"]))
            for row in gallery.unusual_days.to_dict("records")
        ],
        segment_quality=_segment_quality(gallery, texts),
        holds=[
            (texts(kind), texts("comma").join(_label(name, texts) for name in features))
            for kind in (MEASURED, INFERRED)
            if (features := by_support(gallery.support).get(kind))
        ],
        glossary=_glossary(gallery, texts),
    )


def _safe(markup: str) -> Markup:
    return Markup(markup)  # noqa: S704 - drawings of this package, which escape what comes from the data


def dates_of(gallery: Gallery, texts: Texts) -> str:
    """As of which day the page is, or that the log has none."""
    if gallery.as_of is None:
        return texts("undated")
    if "night_share" in by_support(gallery.support).get(ABSENT, ()):
        return texts("as_of_day", date=gallery.as_of)
    return texts("as_of", date=gallery.as_of, zone=gallery.timezone)


def _contents(gallery: Gallery, texts: Texts, tables: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    anchors = ["first", "glance", "compare", "segments", *(["map"] if len(gallery.places) else [])]
    anchors += ["time", "movement"] if gallery.as_of else []
    anchors += [table["anchor"] for table in tables]
    return [(anchor, texts(anchor)) for anchor in (*anchors, "predictions", "quality", "glossary")]


def names_of(gallery: Gallery, texts: Texts) -> dict[int, str]:
    """Names of the segments by their ids, no two alike; in Chinese made of the same traits."""
    names: dict[int, str] = {}
    for card in gallery.cards:
        name = card.name.text
        if texts.language == CHINESE and card.details is not None and card.name.traits:
            phrases = {row["feature"]: row["phrase_zh"] for row in card.details.apart}
            told = [phrases[feature] for feature, _ in reversed(card.name.traits) if phrases.get(feature)]
            name = "·".join(told) or f"{texts('segment')} {card.segment_id}"
        elif texts.language == CHINESE and card.name.stem in PLAIN_NAMES:
            name = texts(PLAIN_NAMES[card.name.stem])
        if texts.language == CHINESE and card.apart_zh:
            name = TOLD_APART[CHINESE].format(name=name, phrase=card.apart_zh)
        names[card.segment_id] = name if name not in names.values() else f"{name} {card.segment_id}"
    return names


def _pointed(pointer: Pointer, texts: Texts, names: dict[int, str]) -> str:
    figures = dict(pointer.figures)
    for name in ("share", "value", "before", "now"):
        if name in figures:
            figures[name] = percent(figures[name])
    if "leaving" in figures:
        figures["leaving"] = of_100(figures["leaving"])
    for name in ("reachable", "users"):
        if name in figures:
            figures[name] = numeral(figures[name])
    return texts(f"first_{pointer.key}", name=names.get(pointer.segment_id or 0, ""), **figures)


def _glance(gallery: Gallery, glance: Glance, texts: Texts, *, whole: bool) -> list[dict[str, str]]:
    """Figures with their names and meanings; those that the log does not hold are left out."""
    few = texts("few", minimum=gallery.minimum)
    found: list[tuple[str, str | None, str]] = [
        (
            "glance_users",
            numeral(glance.users) if whole else None,
            texts("glance_users_means" if gallery.has_events else "glance_users_listed"),
        ),
        ("glance_segments", numeral(len(gallery.cards)) if whole else None, texts("glance_segments_means")),
        (
            "glance_reachable",
            numeral(glance.reachable),
            texts(f"glance_reachable_{gallery.consent}"),
        ),
        # Where all have bought, as in a log of orders, it tells nobody from anybody.
        ("glance_buyers", _told(glance.buyers, percent) if gallery.glance.buyers != 1 else None, texts("glance_buyers_means")),
        ("glance_total", _told(glance.total, numeral) if whole else None, texts("glance_total_means")),
        ("glance_value", _told(glance.value, numeral), _value_means(glance, texts)),
        ("glance_lifetime", _told(glance.lifetime, numeral), foreseen_means(gallery, LIFETIME, texts)),
        ("glance_likely", _told(glance.likely, of_100), foreseen_means(gallery, PURCHASE, texts)),
        (
            "glance_left" if gallery.leaving == "rhythm" else "glance_leaving",
            _told(glance.leaving, of_100),
            foreseen_means(gallery, CHURN, texts),
        ),
        (
            "glance_sessions",
            _told(glance.sessions, numeral),
            texts("glance_sessions_means")
            if glance.seen == glance.users
            else texts("glance_sessions_seen", n=numeral(glance.seen) if glance.seen >= gallery.minimum else few),
        ),
    ]
    chances = ("glance_likely", "glance_leaving", "glance_left")
    # A card has no room for meanings; how far ahead a figure looks it has to say.
    days = {"glance_lifetime": gallery.lifetime_days, "glance_likely": gallery.horizon_days}
    days |= {"glance_leaving": gallery.horizon_days} if gallery.leaving == "silence" else {}

    def name(key: str) -> str:
        return texts(key) if whole or key not in days else texts("glance_within", name=texts(key), days=days[key])

    return [
        {"name": name(key), "value": texts("of_100", n=value) if key in chances else value, "meaning": meaning}
        for key, value, meaning in found
        if value is not None
    ]


def _value_means(glance: Glance, texts: Texts) -> str:
    """What the mean of what was spent means; where few hold most of it, what is spent in the middle as well."""
    said = texts("glance_value_means")
    if glance.value is None or glance.middle is None or not glance.value >= FEW_HOLD_MOST * glance.middle > 0:
        return said
    return texts("glance_value_middle", meaning=said, middle=numeral(glance.middle))


def foreseen_means(gallery: Gallery, target: str, texts: Texts) -> str:
    """What a figure that looks ahead means: how far, of what, and where nothing foretells it better than the mean."""
    if target == CHURN:
        said = texts(f"glance_leaving_{gallery.leaving}", days=gallery.horizon_days) if gallery.leaving else ""
    elif target == PURCHASE:
        said = texts("glance_likely_means", days=gallery.horizon_days)
    else:
        key = "glance_lifetime_guess" if gallery.lifetime_model in GUESSES else "glance_lifetime_means"
        said = texts(key, days=gallery.lifetime_days)
    return texts("glance_alike", meaning=said) if target in gallery.alike else said


def _compared(gallery: Gallery, texts: Texts, names: dict[int, str]) -> dict[str, Any]:
    """The segments in one table; columns that the log holds nothing for are left out."""
    everyone, total = gallery.glance, gallery.glance.total
    # The names are escaped here, as the links around them are markup.
    groups: list[tuple[str, Glance, float | None]] = [
        (Markup('<a href="#segment-{}">{}</a>').format(card.segment_id, names[card.segment_id]), card.glance, card.change)
        for card in gallery.cards
    ]
    if gallery.unplaced is not None:
        groups.append((texts("unplaced"), gallery.unplaced, None))
    columns: list[tuple[str, str, Callable[[Glance], str | None]]] = [
        ("compare_reachable", "", lambda glance: numeral(glance.reachable)),
        ("compare_total", "", lambda glance: _told(glance.total, numeral)),
        (
            "compare_value_share",
            "",
            lambda glance: _told(glance.total / total, percent) if total and total > 0 and glance.total is not None else None,
        ),
        ("compare_value", "", lambda glance: _told(glance.value, numeral)),
        ("compare_likely", texts("compare_within", days=gallery.horizon_days), lambda glance: _told(glance.likely, of_100)),
        (
            "compare_leaving",
            texts(f"compare_{gallery.leaving}", days=gallery.horizon_days) if gallery.leaving else "",
            lambda glance: _told(glance.leaving, of_100),
        ),
        ("compare_lifetime", texts("compare_within", days=gallery.lifetime_days), lambda glance: _told(glance.lifetime, numeral)),
    ]
    few = texts("few", minimum=gallery.minimum)
    kept = [(key, note, told) for key, note, told in columns if any(told(glance) is not None for _, glance, _ in groups)]
    if len(groups) > 1:
        groups.append((texts("compare_all"), everyone, None))
    moved = any(change is not None for _, _, change in groups)
    header = [(texts("segment"), ""), (texts("user"), ""), (texts("compare_share"), "")]
    header += [(texts("compare_change"), texts("compare_change_means"))] if moved else []
    rows = [
        [
            name,
            numeral(glance.users),
            percent(glance.users / max(everyone.users, 1)),
            *([_told(change, lambda value: f"{100 * value:+.1f}") or texts("none")] if moved else []),
            *((few if 0 < glance.users < gallery.minimum else told(glance) or texts("none")) for _, _, told in kept),
        ]
        for name, glance, change in groups
    ]
    return {"header": [*header, *((texts(key), note) for key, note, _ in kept)], "rows": rows}


def _card(gallery: Gallery, card: Card, number: int, texts: Texts, names: dict[int, str], download: Download | None) -> dict[str, Any]:
    name, details = names[card.segment_id], card.details
    people = texts.count(f"people_{gallery.log.people}", card.glance.users)
    found: dict[str, Any] = {
        "segment_id": card.segment_id,
        "name": name,
        "colour": drawings.colour(number),
        "mark": _safe(drawings.legend_mark(number)),
        "size": texts("comma").join([people, texts("of_all", share=percent(card.share))]),
        "shown": details is not None,
    }
    if details is None:
        return found
    advice = [text for row in details.apart if isinstance(text := row["advice" if texts.language == ENGLISH else "advice_zh"], str)]
    rule = details.rule
    return found | {
        "description": _description(gallery, card, details, texts, name),
        "note": details.note,
        "facts": _glance(gallery, card.glance, texts, whole=False),
        "charts": _charts(gallery, details, number, texts, name),
        "advice": list(dict.fromkeys(advice))[:ADVICE],
        "typical": _typical(gallery, details.typical, texts),
        "recommender": _recommender(details, texts),
        "rule": rule
        and {
            "rule": rule["rule"],
            "quality": texts("rule_quality", precision=percent(rule["precision"]), coverage=percent(rule["coverage"])),
        },
        "act": _act(gallery.configuration, card, details, texts, download),
    }


def _description(gallery: Gallery, card: Card, details: Details, texts: Texts, name: str) -> str:
    """The table's paragraph in English; the same in the page's language."""
    if texts.language == ENGLISH:
        return details.description
    said, verb = details.statement, INTEREST_VERBS[gallery.log.interest].of_people(texts.language)
    phrases = [row["phrase_zh"] for row in details.apart][:PHRASES]
    sentences = [f"{name}：{texts('description_size', share=percent(card.share))}"]
    sentences += [] if card.holds else [texts("description_stale")]
    if phrases or card.share < 1:  # of everybody there are no others
        sentences.append(texts("description_apart", phrases=texts.listed(phrases)) if phrases else texts("description_alike"))
    if said.kind == SPREAD:
        sentences.append(texts("interests_spread", verb=verb, share=percent(said.categories[0][1])))
    elif said.kind != NOTHING:
        key = {LEADING: "with_share", MORE_THAN_OTHERS: "against"}[said.kind]
        told = [texts(key, name=category, share=percent(share), others=percent(others)) for category, share, others in said.categories]
        sentences.append(texts(f"interests_{said.kind}", verb=verb, categories=texts.listed(told)))
    return "".join(sentences)


def _charts(gallery: Gallery, details: Details, number: int, texts: Texts, name: str) -> list[dict[str, Any]]:
    """The drawings of a card, each with its numbers."""
    charts = []
    if details.interests:
        title = texts(f"interests_{gallery.log.interest}")
        told = [(category, share, percent(share)) for category, share in details.interests]
        charts.append(
            {
                "title": title,
                "svg": _safe(drawings.bars(told, f"{name}: {title}", number)),
                "note": texts("interests_note"),
                "header": [title, texts("share")],
                "rows": [[category, share] for category, _, share in told],
            }
        )
    if details.rhythm is not None:
        title, days = texts("rhythm_visits" if gallery.log.visits else "rhythm_other"), WEEKDAYS[texts.language]
        few = texts("few", minimum=gallery.minimum)
        hours = 24 // details.rhythm.shape[1]
        charts.append(
            {
                "title": title,
                "svg": _safe(drawings.heat_map(details.rhythm, days, f"{name}: {title}", number)),
                "note": texts("rhythm_note", minimum=gallery.minimum),
                "header": [texts("user"), *(f"{hours * part}-{hours * (part + 1)}" for part in range(details.rhythm.shape[1]))],
                "rows": [
                    [day, *(numeral(count) if count else few for count in counts)] for day, counts in zip(days, details.rhythm, strict=True)
                ],
            }
        )
    if details.apart:
        title = texts("apart")
        apart = [(row["phrase" if texts.language == ENGLISH else "phrase_zh"], abs(row["deviation"])) for row in details.apart]
        charts.append(
            {
                "title": title,
                "svg": _safe(
                    drawings.bars([(phrase, far / MOST_DEVIATIONS, f"{far:.1f}") for phrase, far in apart], f"{name}: {title}", number)
                ),
                "note": texts("apart_note"),
                "header": [title, texts("word_deviation")],
                "rows": [[phrase, f"{far:.1f}"] for phrase, far in apart],
            }
        )
    return charts


def _typical(gallery: Gallery, middle: Mapping[str, float | None], texts: Texts) -> str:
    """The medians of a segment in words: no figure of it is that of a person who could be found by it."""
    parts = []
    bought = next((name for name in ("frequency", "purchases") if middle[name] is not None), None)
    if bought is not None:
        parts.append(texts.count(f"typical_{bought}", middle[bought] or 0.0) if middle[bought] else texts("typical_no_purchase"))
    if middle["spent"] is not None and (bought is None or middle[bought]):
        parts.append(texts("typical_spent", amount=f"{numeral(middle['spent'])} {gallery.currency}".strip()))
    if middle["recency_days"] is not None:
        parts.append(texts.count("typical_recency", middle["recency_days"]))
    if middle["likely"] is not None:
        parts.append(texts("typical_likely", chance=f"{middle['likely']:.1f}", days=gallery.horizon_days))
    if middle["leaving"] is not None:
        parts.append(texts("typical_leaving", chance=f"{middle['leaving']:.1f}"))
    return texts("semicolon").join(parts)


def _recommender(details: Details, texts: Texts) -> list[str]:
    found = [texts("recommended_most", titles=texts.listed(details.recommended))] if details.recommended else []
    if details.hits:
        figures = details.hits
        found.append(texts("hits", share=percent(figures["hit_rate_at_k"]), n=numeral(figures["users"]), k=figures["k"]))
    if (kind := _popular(details)) and details.popular:
        figures = details.popular
        shown = {name: f"{figures[name]:+.3f}" for name in ("advantage", "low", "high")}
        found.append(texts({WORSE: "lists_worse", NO_BETTER: "lists_no_better"}[kind], n=numeral(figures["users"]), **shown))
    return found


def _popular(details: Details) -> str:
    """What may be said of the segment's lists beside the most popular items (``recommendations.verdict``); empty where nothing."""
    return against_popular(details.popular["low"], details.popular["high"], details.popular["users"]) if details.popular else ""


def _act(configuration: str, card: Card, details: Details, texts: Texts, download: Download | None) -> dict[str, Any]:
    """What can be done with a segment: its audience and its rule, as commands; a link to the file of the audience, where there is one."""
    name, of = f"segment-{card.segment_id}", f" --config {shlex.quote(configuration)}" if configuration else ""
    commands = [(texts("act_export"), f"persona audience export {name} {name}.csv{of}")]
    if details.rule:
        commands.append((texts("act_rule"), f"persona audience save {name}-rule --where {shlex.quote(details.rule['rule'])}{of}"))
    link = None
    if download:
        key = "act_download_own" if download.of_own_list else "act_download"
        link = {"address": download.address, "text": texts.count(key, download.rows, file=download.name)}
    return {"reach": texts("act_reach", reachable=numeral(card.glance.reachable)), "link": link, "commands": commands}


def _times(gallery: Gallery, shown: Sequence[Card], texts: Texts, names: dict[int, str]) -> dict[str, Any]:
    """Size, value and conversion of the segments over the days that were scored."""
    days = sorted(gallery.times["as_of_date"].unique()) if gallery.as_of else []
    if len(days) < 2:
        return {"charts": []}
    steps = [f"{pd.Timestamp(day):%Y-%m-%d}" for day in days]
    charts = []
    enough = gallery.times[gallery.times["users"] >= gallery.minimum]
    for key, column, written in (
        ("time_users", "users", numeral),
        ("time_value", "mean_monetary_value", numeral),
        ("time_buyers", "buyers_share", percent),
    ):
        wide = enough.pivot_table(index="as_of_date", columns="segment_id", values=column, aggfunc="first").reindex(days)
        series = [
            [None if pd.isna(value) else float(value) for value in wide.get(card.segment_id, pd.Series(np.nan, wide.index))]
            for card in shown
        ]
        known = [value for values in series for value in values if value is not None]
        if not known:
            continue
        limits = [written(min([*known, 0.0])), written(max([*known, 0.0]))]
        charts.append(
            {
                "title": texts(key),
                "svg": _safe(drawings.lines(steps, series, f"{texts('time')}: {texts(key)}", limits)),
                "header": [texts("time_scoring"), *(names[card.segment_id] for card in shown)],
                "rows": [
                    [step, *(texts("none") if (value := values[place]) is None else written(value) for values in series)]
                    for place, step in enumerate(steps)
                ],
            }
        )
    return {"charts": charts, "note": texts("time_note", n=len(steps), **{"from": steps[0], "to": steps[-1]})}


def _predictions(gallery: Gallery, texts: Texts) -> list[dict[str, Any]]:
    """Chances and amounts, each with the measures that it has."""

    def plain(column: str, written: Callable[[float], str]) -> tuple[str, Callable[[dict[str, Any]], str]]:
        return column, lambda row: written(row[column])

    def calibration(row: dict[str, Any]) -> str:
        error = decimal(row["calibration_error"])
        return texts("calibration_poor", error=error) if row["calibration_error"] > CALIBRATED else error

    def lift(row: dict[str, Any]) -> str:
        if row["target"] == CHURN and gallery.leaving == "rhythm":
            return texts("none")  # judged are the purchases that it implies: the tenth would be of buyers
        return texts("lift_of", lift=decimal(row["lift"]), most=decimal(highest_lift(row["users"], row["base_rate"])))

    parts = []
    for title, rows, columns in (
        (
            "chances",
            gallery.predictions,
            (
                ("judged", *plain("users", numeral)),
                ("auc", *plain("auc", decimal)),
                ("calibration", "calibration_error", calibration),
                ("lift", "lift", lift),
            ),
        ),
        (
            "amounts",
            gallery.amounts,
            (
                ("judged", *plain("users", numeral)),
                ("spearman", *plain("spearman", decimal)),
                ("mae", *plain("mean_absolute_error", numeral)),
                ("level", *plain("level", decimal)),
            ),
        ),
    ):
        if not rows:
            continue
        kept = [(key, column, written) for key, column, written in columns if any(row[column] is not None for row in rows)]
        days = sorted({int(row["window_days"]) for row in rows if row["window_days"] is not None})
        means = {"auc", "calibration", "lift", "spearman", "level"}
        parts.append(
            {
                "title": texts(title),
                "note": texts("predictions_note", days=texts("and").join(map(str, days))) if days else "",
                "header": [
                    (texts("target"), ""),
                    (texts("definition"), ""),
                    (texts("model"), ""),
                    *((texts(key), texts(f"{key}_means") if key in means else "") for key, _, _ in kept),
                ],
                "rows": [
                    [
                        _target(row["target"], texts),
                        _definition(gallery, row, texts),
                        _named("model", row["model"], texts),
                        *(texts("none") if row[column] is None else written(row) for _, column, written in kept),
                    ]
                    for row in rows
                ],
            }
        )
    return parts


def _target(name: str, texts: Texts) -> str:
    key = f"target_{name.replace(' ', '_')}"
    return texts(key) if key in texts.entries else name


def _definition(gallery: Gallery, row: dict[str, Any], texts: Texts) -> str:
    """What is foreseen; of the configuration's own targets as the table has it."""
    key = f"definition_{row['target'].replace(' ', '_')}" + (f"_{gallery.leaving}" if row["target"] == CHURN else "")
    days = gallery.lifetime_days if row["target"] == LIFETIME else gallery.horizon_days
    said = texts(key, days=days) if key in texts.entries else texts("definition_own", definition=row["definition"])
    # A log may not reach back far enough to judge what is asked for.
    shorter = row["target"] == LIFETIME and row["window_days"] is not None and row["window_days"] < days
    return texts("definition_shorter", meaning=said, days=int(row["window_days"])) if shorter else said


def _signed(rows: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    return [(name, "+" if correlation > 0 else "-" if correlation < 0 else "") for name, correlation in rows]


def _segment_quality(gallery: Gallery, texts: Texts) -> str:
    found = gallery.segment_quality
    if not found or found["silhouette"] is None:
        return texts("quality_segments_one")
    stability = texts("none") if found["stability"] is None else decimal(found["stability"])
    return texts(
        "quality_segments_told",
        algorithm=_named("model", found["algorithm"], texts),
        silhouette=decimal(found["silhouette"]),
        stability=stability,
    )


def _glossary(gallery: Gallery, texts: Texts) -> list[tuple[str, str]]:
    found = [(texts("word_segment"), texts("means_segment"))]
    if gallery.unplaced is not None:
        found.append((texts("unplaced"), texts("means_unplaced")))
    if gallery.leaving:
        found.append((texts("word_churn"), texts(f"means_churn_{gallery.leaving}", days=gallery.horizon_days)))
    if gallery.predictions:
        found.append((texts("word_chance"), texts("means_chance")))
    if any(card.details and card.details.interests for card in gallery.cards):
        kind = "attention" if gallery.log.interest == "attention" else "events"
        found.append((texts("word_interest"), texts(f"means_interest_{kind}")))
    if any(card.details and _popular(card.details) for card in gallery.cards):
        found.append((texts("word_ndcg"), texts("means_ndcg")))
    if any(card.details and card.details.apart for card in gallery.cards):
        found.append((texts("word_deviation"), texts("means_deviation")))
    if INFERRED in by_support(gallery.support):
        found.append((texts("word_inferred"), texts("means_inferred")))
    return found


def _label(feature: str, texts: Texts) -> str:
    return FEATURES[feature].labels[texts.language] if feature in FEATURES else _named("feature", feature, texts)


def _named(kind: str, name: str, texts: Texts) -> str:
    """What a model or a derived feature is called; as it is written where the texts do not know it."""
    key = f"{kind}_{name}"
    return texts(key) if key in texts.entries else name.replace("_", " ")


def _told(value: float | None, written: Any) -> str | None:
    return None if value is None else str(written(value))
