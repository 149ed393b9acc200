"""Every recommender on public data, by protocols that others have published figures for, or that a company would use.

    python benchmarks/recommenders.py --protocol stratified-75-25
    python benchmarks/recommenders.py --protocol time --data movielens      (or online-retail)
    python benchmarks/recommenders.py --protocol last-click --data movielens (or online-retail)
    python benchmarks/recommenders.py --protocol new-users
    python benchmarks/recommenders.py --protocol new-items
    python benchmarks/recommenders.py --protocol last-item
    python benchmarks/recommenders.py --protocol throughput

The data are looked for below PERSONA_SHARED_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.features.interactions import InteractionRules, interactions
from persona_pipelines.intervals import interval
from persona_pipelines.recommendations.data import Audience, Interactions, band_edges, banded, build, positions
from persona_pipelines.recommendations.evaluation.audit import TEST, Known, audit, require_clean
from persona_pipelines.recommendations.evaluation.comparison import ALL, NEW_ITEM, WARM, Task, blend_all, compare, fit_all, task
from persona_pipelines.recommendations.evaluation.metrics import score
from persona_pipelines.recommendations.evaluation.replay import LastItems, chosen_share, replayed
from persona_pipelines.recommendations.evaluation.splits import Sources, Split, by_time, cut_of, last_items_out, random_pairs
from persona_pipelines.recommendations.last_click import SHARES
from persona_pipelines.recommendations.models import LearnedModel
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.recipes import recipe_of
from persona_pipelines.settings.recommendations import (
    DEFAULT_METHODS,
    ContentToTasteSettings,
    HybridSettings,
    ItemNeighbourhoodSettings,
    LightFMSettings,
    MethodSettings,
    MostPopularSettings,
    SegmentPopularSettings,
    UserNeighbourhoodSettings,
)
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

warnings.filterwarnings("ignore")
DATA = Path(os.environ.get("PERSONA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
K = 10
PUBLISHED = {
    # Microsoft Recommenders, comparison of algorithms on MovieLens 100K: nDCG@10, precision@10, recall@10, MAP.
    "BiVAE": (0.4751, 0.4118, 0.2191, 0.1461),
    "BPR": (0.4420, 0.3882, 0.2125, 0.1325),
    "LightGCN": (0.4198, 0.3796, 0.1443, 0.0885),
    "NCF": (0.3961, 0.3473, 0.1808, 0.1077),
    "SAR": (0.3825, 0.3308, 0.1764, 0.1106),
    "FastAI": (0.1479, 0.1303, 0.0538, 0.0255),
    "SVD": (0.0959, 0.0912, 0.0328, 0.0129),
    "Spark ALS": (0.0442, 0.0485, 0.0178, 0.0047),
}
COLUMNS = ("ndcg_at_k", "precision_at_k", "recall_at_k", "map_at_k")


def movielens() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Events, users, items."""
    folder = DATA / "movielens-100k"
    events = pd.read_csv(folder / "ml-100k.inter.gz", sep="\t", dtype={0: str, 1: str})
    events.columns = ["user_id", "item_id", "value", "seconds"]
    events["timestamp"] = pd.to_datetime(events["seconds"], unit="s")
    events["source_line"], events["source_part"] = np.arange(len(events)) + 2, 0
    items = pd.read_csv(folder / "ml-100k.item", sep="\t", dtype=str)
    items.columns = ["item_id", "title", "year", "categories"]
    items["category"] = items["categories"].str.split(" ").str[0]
    items["categories"] = items["categories"].str.replace(" ", "|")
    items["numbers.year"] = pd.to_numeric(items["year"], errors="coerce")
    items["attributes.year"] = banded(items["numbers.year"].to_numpy(), band_edges(items["numbers.year"].to_numpy()))
    users = pd.read_csv(folder / "ml-100k.user", sep="\t", dtype=str)
    users.columns = ["user_id", "age_group", "gender", "occupation", "zip"]
    users["age_group"] = users["age_group"].str[:-1]
    return (
        events.assign(event_type="rating", session_id=events["user_id"]),
        users,
        items[["item_id", "title", "category", "categories", "numbers.year", "attributes.year"]],
    )


def online_retail() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Events, users, items: purchases of known customers, fees and postage left out."""
    frame = pd.read_parquet(DATA / "online-retail" / "online_retail_531k.parquet").drop_duplicates()
    fees = r"^(?:POST|DOT|M|m|D|S|C2|B|PADS|CRUK|AMAZONFEE|BANK CHARGES|gift_.*)$"
    frame = frame[frame["CustomerID"].notna() & ~frame["StockCode"].str.match(fees)]
    events = pd.DataFrame(
        {
            "user_id": frame["CustomerID"].astype(float).astype(int).astype(str),
            "item_id": frame["StockCode"],
            "value": frame["Quantity"] * frame["UnitPrice"],
            "timestamp": pd.to_datetime(frame["InvoiceDate"]),
            "event_type": "purchase",
            "session_id": frame["InvoiceNo"].astype(str),
        }
    )
    items = frame.groupby("StockCode")["Description"].first().rename("title").rename_axis("item_id").reset_index()
    items["category"] = items["title"].str.extract(r"(\w+)\W*$")
    return events, pd.DataFrame({"user_id": []}), items


def sources(
    store: Warehouse, events: pd.DataFrame, users: pd.DataFrame, items: pd.DataFrame, weight: float, half_life_days: float
) -> Sources:
    events = events.reset_index(drop=True).assign(event_id=[str(number) for number in range(len(events))])
    found = from_frame(events)
    empty = {column.name: ibis.null(column.type) for column in contracts.EVENTS.columns if column.name not in events.columns}
    table = store.keep("events", found.mutate(**empty))
    rules = InteractionRules({events["event_type"].iloc[0]: weight}, half_life_days)
    return Sources(store, table, rules, lambda _: users, lambda _: items)


def pairs_of(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings as interactions that all weigh the same."""
    return (
        ratings[["user_id", "item_id", "value", "timestamp"]]
        .rename(columns={"value": "rating", "timestamp": "last_time"})
        .assign(weight=1.0)
    )


def random_split(ratings: pd.DataFrame, users: pd.DataFrame, items: pd.DataFrame, share: float, seed: int) -> Split:
    end = ratings["timestamp"].max() + pd.Timedelta(seconds=1)
    return random_pairs(pairs_of(ratings), users, items, end.to_pydatetime(), 1 - share, seed)


STRATIFIED: tuple[MethodSettings, ...] = (
    MostPopularSettings(),
    MostPopularSettings(recent_days=30),
    UserNeighbourhoodSettings(),
    UserNeighbourhoodSettings(similarity="pearson"),
    *(ItemNeighbourhoodSettings(similarity=name) for name in ("cosine", "jaccard", "tfidf", "bm25")),
    *(
        method
        for method in DEFAULT_METHODS
        if not isinstance(
            method, (MostPopularSettings, SegmentPopularSettings, UserNeighbourhoodSettings, ItemNeighbourhoodSettings, HybridSettings)
        )
    ),
    LightFMSettings(features=False),
    LightFMSettings(loss="bpr"),
    LightFMSettings(loss="logistic"),
    HybridSettings(members=["most_popular", "ease_items", "ease_users", "lightfm_warp", "als", "truncated_svd"]),
)


def require_no_leak(outer: Task, pairs: pd.DataFrame, end: dt.datetime, models: dict[str, LearnedModel]) -> None:
    """The leakage audit of the window that decides; ``pairs`` could be known before it, or with the test that was drawn from them."""
    if not outer.split.by_time:
        tested = pd.MultiIndex.from_frame(outer.split.test[["user_id", "item_id"]])
        pairs = pairs[~pd.MultiIndex.from_frame(pairs[["user_id", "item_id"]]).isin(tested)]
    require_clean(audit(TEST, outer, Known(pairs, end, None, {}, {}), models))


def fitted(
    inner: Task, outer: Task, methods: tuple[MethodSettings, ...], seed: int
) -> tuple[dict[str, LearnedModel], dict[str, dict[str, float]]]:
    """Models of the outer training, hybrids with weights of the inner one's test."""
    validated, _ = fit_all([method for method in methods if _is_member(method, methods)], inner.training, seed)
    models, failed = fit_all(methods, outer.training, seed)
    weights, not_blended = blend_all(methods, validated, inner.window(), models, outer.training, K, seed)
    for name, reason in (failed | not_blended).items():
        print(f"left out: {name}: {reason}")
    return models, weights


def _is_member(method: MethodSettings, methods: tuple[MethodSettings, ...]) -> bool:
    hybrids = [other for other in methods if isinstance(other, HybridSettings)]
    return any(not hybrid.members or method.name in hybrid.members for hybrid in hybrids)


def stratified(seeds: int) -> None:
    ratings, users, items = movielens()
    rows: list[dict[str, Any]] = []
    began = time.perf_counter()
    for seed in range(1, seeds + 1):
        outer_split = random_split(ratings, users, items, 0.75, seed)
        left = ratings.merge(outer_split.pairs[["user_id", "item_id"]], on=["user_id", "item_id"])
        inner = task(random_split(left, users, items, 0.75, seed + 100), users, True)
        outer = task(outer_split, users, True)
        models, weights = fitted(inner, outer, STRATIFIED, seed)
        require_no_leak(outer, pairs_of(ratings), outer_split.cut, models)
        judged, _ = compare(models, outer, K)
        rows += [
            {"model": entry.model, "seed": seed, **entry.scores.means(), **entry.errors}
            for entry in judged
            if (entry.case, entry.segment) == (WARM, ALL)
        ]
        print(f"seed {seed}: weights of the hybrid", {name: round(weight, 3) for name, weight in weights["hybrid"].items() if weight})
    minutes = (time.perf_counter() - began) / 60
    means = pd.DataFrame(rows).groupby("model").mean().drop(columns="seed").sort_values("ndcg_at_k", ascending=False)
    published = pd.DataFrame.from_dict(PUBLISHED, orient="index", columns=list(COLUMNS)).rename(index=lambda name: f"published: {name}")
    shown = pd.concat([means, published]).sort_values("ndcg_at_k", ascending=False)
    print(shown[[*COLUMNS, "mrr_at_k", "coverage", "novelty", "diversity", "gini", "rmse", "mae"]].round(4).to_string(na_rep=""))
    best = published.max()
    above = [name for name in means.index if (means.loc[name, list(COLUMNS)] > best[list(COLUMNS)]).all()]
    print(f"\nabove every published row in all four metrics: {', '.join(above)}")
    print(f"{minutes:.1f} minutes for {seeds} seeds, {minutes / seeds:.1f} each")


def windows_of(store: Warehouse, name: str) -> tuple[Sources, Task, Task, dt.datetime]:
    """Interactions, the validation window, the test window, and the end of the latter."""
    if name == "movielens":
        known = sources(store, *movielens(), 4.0, 365.0)
        end = store.value(known.events.timestamp.max()) + dt.timedelta(seconds=1)
        cut = cut_of(known, end, 0.2, 100)
        inner_cut = cut_of(known, cut, 0.2, 100)
    else:
        known = sources(store, *online_retail(), 5.0, 90.0)
        end = store.value(known.events.timestamp.max()) + dt.timedelta(seconds=1)
        cut = dt.datetime(2011, 11, 9)
        inner_cut = cut - dt.timedelta(days=30)
    splits = by_time(known, inner_cut, cut), by_time(known, cut, end)
    inner, outer = (task(split, known.users(split.cut), True) for split in splits)
    return known, inner, outer, end


def over_time(name: str) -> None:
    with Warehouse(None) as store:
        known, inner, outer, end = windows_of(store, name)
        cut = outer.split.cut
        models, weights = fitted(inner, outer, DEFAULT_METHODS, 20)
        require_no_leak(outer, store.frame(interactions(known.events, known.rules, cut)), end, models)
    judged = {entry.model: entry for entry in compare(models, outer, K)[0] if (entry.case, entry.segment) == (WARM, ALL)}
    print(
        f"{name}: cut {cut}, {len(judged['hybrid'].users)} known users; weights",
        {n: round(w, 3) for n, w in weights["hybrid"].items() if w},
    )
    hybrid = judged["hybrid"].scores.by_user["ndcg_at_k"]
    rows = []
    for model, entry in judged.items():
        own = interval(entry.scores.by_user["ndcg_at_k"], 20)
        ahead = interval(hybrid - entry.scores.by_user["ndcg_at_k"], 20)
        rows.append(
            {
                "model": model,
                "ndcg_at_k": own.mean,
                "low": own.low,
                "high": own.high,
                "hybrid is ahead by": ahead.mean,
                "from": ahead.low,
                "to": ahead.high,
                **{n: v for n, v in entry.scores.means().items() if n != "ndcg_at_k"},
            }
        )
    print(pd.DataFrame(rows).sort_values("ndcg_at_k", ascending=False).round(4).to_string(index=False))


def last_click(name: str) -> None:
    """What the last items of a person are worth beside the list of each model that reads no history of items."""
    with Warehouse(None) as store:
        _, inner, outer, _ = windows_of(store, name)
    (validated, _), (models, _) = (fit_all(DEFAULT_METHODS, window.training, 20) for window in (inner, outer))
    weights, _ = blend_all(DEFAULT_METHODS, validated, inner.window(), models, outer.training, K, 20)
    lasts = [LastItems.of(window.training, DEFAULT_METHODS, fitted, 20) for window, fitted in ((inner, validated), (outer, models))]
    rows = []
    for model in sorted(models):
        if isinstance(models[model], HistoryModel):
            continue
        began = time.perf_counter()
        recipe = recipe_of(DEFAULT_METHODS, model, models[model], weights.get(model, {}), {})
        before = replayed(recipe.fit(inner.training, 20, validated), lasts[0], inner, K, 20)
        choice, after = chosen_share(before, K, 30, 20), replayed(models[model], lasts[1], outer, K, 20)
        ahead = after.advantage(SHARES.index(choice.share), 0, 20)
        figures = {"gain on the test": ahead.mean, "from": ahead.low, "to": ahead.high, "people": len(after.ndcg), "lists": after.lists}
        rows.append({"model": model, "share": choice.share, **figures, "seconds": time.perf_counter() - began})
    print(pd.DataFrame(rows).round(4).to_string(index=False))


def new_users() -> None:
    """A fifth of the users is unknown in training; each is answered after their first one, two, three interactions."""
    ratings, users, items = movielens()
    ids = np.array(sorted(ratings["user_id"].unique()), dtype=object)
    new = set(np.random.default_rng(20).permutation(ids)[: len(ids) // 5])
    order = ratings.sort_values(["timestamp", "item_id"], kind="stable")
    training = ratings[~ratings["user_id"].isin(new)]
    end = ratings["timestamp"].max() + pd.Timedelta(seconds=1)
    learned = build(pairs_of(training), users, items, end)
    split = random_split(training, users, items, 0.75, 20)
    inner = task(split, users, True)
    methods = tuple(
        method
        for method in DEFAULT_METHODS
        if method.name
        in {
            "most_popular",
            "ease_items",
            "als",
            "lightfm_warp",
            "truncated_svd",
            "item_neighbourhood_cosine",
            "content_based",
            "hybrid",
        }
    )
    models, _ = fit_all(methods, learned, 20)
    validated, _ = fit_all(methods, split.training, 20)
    blend_all(methods, validated, inner.window(), models, learned, K, 20)
    rows = []
    for first in range(4):
        mine = order[order["user_id"].isin(new)].copy()
        mine["place"] = mine.groupby("user_id").cumcount()
        history, rest = mine[mine["place"] < first], mine[mine["place"] >= 3]
        audience = _answered(learned, users, np.array(sorted(new), dtype=object), history)
        relevant = _matrix(rest, audience.ids, learned.items)
        for name, model in models.items():
            best, _ = model.top(audience, K, audience.history)
            found = score(best, relevant, K, inner.catalogue)
            rows.append({"model": name, "interactions": first, "ndcg_at_k": found.by_user["ndcg_at_k"].mean()})
    print(f"{len(new)} users unknown in training; the test is what follows their first three interactions")
    print(pd.DataFrame(rows).pivot(index="model", columns="interactions", values="ndcg_at_k").round(4).to_string())


def _answered(learned: Interactions, users: pd.DataFrame, ids: np.ndarray, history: pd.DataFrame) -> Audience:
    return replace(learned.audience(ids, users), history=_matrix(history, ids, learned.items))


def _matrix(frame: pd.DataFrame, ids: np.ndarray, items: np.ndarray) -> sp.csr_matrix:
    row, column = positions(ids, frame["user_id"].to_numpy()), positions(items, frame["item_id"].to_numpy())
    return sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=(len(ids), len(items)))


def new_items() -> None:
    """A fifth of the items with 20 ratings and more is held out of training, and ranked among itself for known users."""
    ratings, users, items = movielens()
    counts = ratings["item_id"].value_counts()
    candidates = np.array(sorted(counts[counts >= 20].index), dtype=object)
    rows: list[dict[str, Any]] = []
    gains: list[np.ndarray] = []
    for seed in (1, 2, 3):
        new = set(np.random.default_rng(seed).permutation(candidates)[: len(candidates) // 5])
        training = ratings[~ratings["item_id"].isin(new)]
        end = ratings["timestamp"].max() + pd.Timedelta(seconds=1)
        pairs = pairs_of(training)
        test = pairs_of(ratings[ratings["item_id"].isin(new)]).assign(first_time=lambda tested: tested["last_time"])
        split = Split("random by user", end.to_pydatetime(), pairs, build(pairs, users, items, end), test)
        judged_by = task(split, users, True)
        named = {"content_based", "lightfm_warp", "most_popular", *NEW_ITEM_METHODS}
        methods = (*(method for method in DEFAULT_METHODS if method.name in named), ContentToTasteSettings(attributes=False))
        models, _ = fit_all(methods, split.training, seed)
        inner = task(random_split(training, users, items, 0.75, seed), users, True)
        validated, _ = fit_all(methods, inner.training, seed)
        blend_all(methods, validated, inner.window(), models, split.training, K, seed)
        judged = [entry for entry in compare(models, judged_by, K)[0] if entry.case == NEW_ITEM]
        rows += [{"model": entry.model, "ndcg_at_k": entry.scores.means()["ndcg_at_k"]} for entry in judged]
        by_user = {entry.model: entry.scores.by_user["ndcg_at_k"] for entry in judged}
        gains.append(by_user["content_to_taste"] - by_user["content_to_taste_without_attributes"])
        print(f"seed {seed}: penalty {float(models['content_to_taste'].state['regularisation']):g}, chosen on items of the training")
        newcomers = np.flatnonzero(split.training.item_users() == 0)
        relevant = judged_by.relevant[:, newcomers]
        relevant = sp.csr_matrix(relevant[np.diff(sp.csr_matrix(relevant).indptr) > 0])
        generator = np.random.default_rng(seed)
        drawn = np.stack([generator.permutation(len(newcomers))[:K] for _ in range(relevant.shape[0])])
        rows.append({"model": "random order", "ndcg_at_k": score(drawn, relevant, K, judged_by.catalogue).by_user["ndcg_at_k"].mean()})
    print(pd.DataFrame(rows).groupby("model")["ndcg_at_k"].mean().sort_values(ascending=False).round(4).to_string())
    ahead = interval(np.concatenate(gains), 20)
    print(
        f"attributes and numbers beside the texts: ahead by {ahead.mean:.4f} ({ahead.low:.4f} to {ahead.high:.4f}, paired over people and seeds)"
    )


NEW_ITEM_METHODS = ("ease_items", "als", "hybrid", "content_to_taste")


def last_item() -> None:
    for in_order_of_the_file in (False, True):
        _last_item(in_order_of_the_file)


def _last_item(in_order_of_the_file: bool) -> None:
    """Each person's last item is to be found from all before it, among all items that the person has not had.

    Ratings of one second have no order: the last of them is drawn (``last_items_out``), or is the last of the file. Everything is chosen within
    the training.
    """
    events, users, items = movielens()
    if in_order_of_the_file:
        events["timestamp"] += pd.to_timedelta(events["source_line"], unit="us")
    with Warehouse(None) as store:
        known = sources(store, events, users, items, 4.0, 365.0)
        end = store.value(known.events.timestamp.max()) + dt.timedelta(seconds=1)
        judged_by = task(last_items_out(known, end), known.users(end), True)
    names = {"most_popular", "most_popular_7_days", "ease_items", "item_neighbourhood_cosine", "recent_ease", "transitions", "live_blend"}
    models, failed = fit_all([method for method in DEFAULT_METHODS if method.name in names], judged_by.training, 20)
    for name, reason in failed.items():
        print(f"left out: {name}: {reason}")
    judged = {entry.model: entry for entry in compare(models, judged_by, K)[0] if (entry.case, entry.segment) == (WARM, ALL)}
    live = judged["live_blend"].scores.by_user["ndcg_at_k"]
    state = models["live_blend"].state
    order = "in the order of the file" if in_order_of_the_file else "drawn"
    print(
        f"{len(live)} people, of ratings of one second the last {order}; live_blend chose share {float(state['share']):.2f} of transitions, decay {float(state['decay']):.1f}"
    )
    rows = []
    for name, entry in judged.items():
        own, ahead = entry.scores.by_user["ndcg_at_k"], interval(live - entry.scores.by_user["ndcg_at_k"], 20)
        hits = entry.scores.means()["hit_rate_at_k"]
        rows.append(
            {
                "model": name,
                "ndcg_at_k": own.mean(),
                "hit_rate_at_k": hits,
                "live_blend is ahead by": ahead.mean,
                "from": ahead.low,
                "to": ahead.high,
            }
        )
    print(pd.DataFrame(rows).sort_values("ndcg_at_k", ascending=False).round(4).to_string(index=False))


def throughput() -> None:
    """Top 10 for 100,000 users over 20,000 items with 64 factors, beside the library implicit's own."""
    from implicit.cpu.topk import topk

    from persona_pipelines.recommendations.data import Audience
    from persona_pipelines.recommendations.evaluation.metrics import Catalogue
    from persona_pipelines.recommendations.models.factors import FactorModel

    generator = np.random.default_rng(20)
    users, items, factors = 100_000, 20_000, 64
    of_users, of_items = (generator.normal(size=(count, factors)).astype(np.float32) for count in (users, items))
    seen = sp.random_array((users, items), density=0.001, format="csr", rng=generator, dtype=np.float32)
    names = np.arange(users).astype(str).astype(object), np.arange(items).astype(str).astype(object)
    model = FactorModel(
        "factors", *names, "", {"user_factors": of_users, "item_factors": of_items, "item_biases": np.zeros(items, np.float32)}
    )
    audience = Audience(
        names[0], np.arange(users), sp.csr_matrix((users, items), dtype=np.float32), seen, [[]] * users, np.zeros(users, int)
    )
    vectors = sp.random_array((items, 40), density=0.05, format="csr", rng=generator)
    catalogue = Catalogue(generator.random(items), sp.csr_matrix(vectors))
    test = sp.csr_matrix(sp.random_array((users, items), density=0.0005, format="csr", rng=generator))
    ratios = []
    for _ in range(3):
        began = time.perf_counter()
        topk(of_items, of_users, K, filter_query_items=sp.csr_matrix(seen))
        library = time.perf_counter() - began
        began = time.perf_counter()
        best, _ = model.top(audience, K, sp.csr_matrix(seen))
        own = time.perf_counter() - began
        began = time.perf_counter()
        score(best, test, K, catalogue)
        judging = time.perf_counter() - began
        ratios.append((library / own, judging / own))
        print(
            f"implicit {users / library:,.0f} users a second, FactorModel.top {users / own:,.0f}: ratio {library / own:.2f}; "
            f"metrics take {judging / own:.3f} of the time of the lists"
        )
    print("median ratio of throughput {:.2f}, of judging to scoring {:.3f}".format(*np.median(ratios, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--protocol", required=True, choices=["stratified-75-25", "time", "last-click", "new-users", "new-items", "last-item", "throughput"]
    )
    parser.add_argument("--data", choices=["movielens", "online-retail"], default="movielens")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.protocol == "stratified-75-25":
        stratified(chosen.seeds)
    elif chosen.protocol == "time":
        over_time(chosen.data)
    elif chosen.protocol == "last-click":
        last_click(chosen.data)
    else:
        {
            "new-users": new_users,
            "new-items": new_items,
            "last-item": last_item,
            "throughput": throughput,
        }[chosen.protocol]()


if __name__ == "__main__":
    main()
