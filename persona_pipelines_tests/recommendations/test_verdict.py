"""What a comparison has decided, in sentences."""

from __future__ import annotations

import pandas as pd

from persona_pipelines.recommendations.verdict import verdict

SCORES = {"ease": 0.31, "als": 0.30, "hybrid": 0.33, "most_popular": 0.1, "random": 0.05}


def compared(champion: str, segment: str = "all") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": model,
                "case": "warm",
                "segment": segment,
                "k": 10,
                "users": 1200,
                "ndcg_at_k": score,
                "ndcg_low": score - 0.01,
                "ndcg_high": score + 0.01,
                "validation_ndcg": {"hybrid": 0.25}.get(model, 0.26),
                "champion": model == champion,
            }
            for model, score in SCORES.items()
        ]
    )


def ahead(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["model", "against", "advantage", "low", "high"])


AGAINST_EASE = ahead(
    ("als", "ease", -0.01, -0.02, 0.005),
    ("hybrid", "ease", 0.02, 0.01, 0.03),
    ("most_popular", "ease", -0.21, -0.25, -0.17),
    ("random", "ease", -0.26, -0.3, -0.2),
    ("ease", "most_popular", 0.21, 0.17, 0.25),
)


def by_segment(*rows: tuple[str, int, float, float, float]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["segment", "users", "advantage", "low", "high"])
    return found.assign(model="ease", against="most_popular")


NO_SEGMENTS = by_segment()


def clicks(share: float, alone: float, last_items: float, reach: float = 0.01) -> pd.DataFrame:
    rows = [("the list alone", alone), ("the last items alone", last_items)]
    return pd.DataFrame(
        [
            {"model": "ease", "window": "test", "share": share, "against": against, "chosen": True, "lists": 2405, "users": 473}
            | {"advantage": advantage, "low": advantage - reach, "high": advantage + reach}
            for against, advantage in rows
        ]
    )


NO_CLICKS = clicks(0, 0, 0).head(0)


def test_whether_the_last_click_helps_is_told_with_what_it_is_compared_with() -> None:
    def last(*found: float) -> str:
        return verdict(compared("ease"), AGAINST_EASE, NO_SEGMENTS, clicks(*found))[-1]

    assert last(0.4, 0.03, -0.005) == (
        "Once somebody has done something, what they did last counts 0.4 of the list, by the validation window: on this test that is ahead of the list "
        "alone by 0.030 (+0.020 to +0.040), and behind, but not beyond doubt, the last items alone by 0.005 (-0.015 to +0.005), nDCG of the next item in "
        "2,405 lists of 473 people."
    )
    assert "the last items alone" not in last(1.0, 0.03, 0.0)
    assert last(0.0, 0.0, 0.1) == (
        "What a person did last does not count beside its lists: on the validation window no share of it was ahead beyond doubt."
    )
    others = clicks(0.4, 0.03, 0.01).assign(model="als")
    assert verdict(compared("ease"), AGAINST_EASE, NO_SEGMENTS, others) == verdict(compared("ease"), AGAINST_EASE, NO_SEGMENTS, NO_CLICKS)


def test_segments_that_the_most_popular_items_serve_as_well_are_told() -> None:
    found = by_segment(
        ("Owls", 40, 0.2, 0.1, 0.3), ("Quick", 30, -0.08, -0.15, -0.01), ("Rare", 30, 0.02, -0.05, 0.09), ("Few", 9, -0.2, -0.3, -0.1)
    )
    assert verdict(compared("ease"), AGAINST_EASE, found, NO_CLICKS)[-2:] == [
        "For these segments most_popular serves better beyond doubt: Quick (-0.080, -0.150 to -0.010, 30 users).",
        "For these segments it is not to be told from most_popular: Rare (+0.020, -0.050 to +0.090, 30 users).",
    ]


def test_the_first_sentence_decides() -> None:
    first, second, third = verdict(compared("ease"), AGAINST_EASE, NO_SEGMENTS, NO_CLICKS)
    assert first == (
        "Champion: ease, nDCG@10 0.310 (0.300 to 0.320) for 1,200 known users; ahead of most_popular by 0.210 (+0.170 to +0.250)."
    )
    assert second == "Of the 4 others it beats 2 beyond doubt; not to be told from als."
    assert third == (
        "Ahead of it on this test: hybrid (by 0.020, 0.010 to 0.030; on the validation window, which chooses the challenger, 0.2500 against 0.2600)."
    )
    unknown = compared("ease").assign(validation_ndcg=None)
    assert verdict(unknown, AGAINST_EASE, NO_SEGMENTS, NO_CLICKS)[2] == "Ahead of it on this test: hybrid (by 0.020, 0.010 to 0.030)."


def test_a_champion_that_is_the_most_popular_is_compared_with_what_it_beats() -> None:
    only = ahead(("ease", "most_popular", 0.01, -0.01, 0.03))
    assert verdict(compared("most_popular"), only, NO_SEGMENTS, NO_CLICKS) == [
        "Champion: most_popular, nDCG@10 0.100 (0.090 to 0.110) for 1,200 known users.",
        "Of the 1 others it beats 0 beyond doubt; not to be told from ease.",
    ]


def test_where_nobody_could_be_judged_nothing_is_said() -> None:
    assert verdict(compared("ease").head(0), AGAINST_EASE.head(0), NO_SEGMENTS, NO_CLICKS) == []
    assert verdict(compared("ease", segment="Night owls"), AGAINST_EASE, NO_SEGMENTS, NO_CLICKS) == []
    assert verdict(compared("nobody"), AGAINST_EASE, NO_SEGMENTS, NO_CLICKS) == []
