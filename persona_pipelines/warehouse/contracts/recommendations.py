"""Tables of recommenders and their lists."""

from __future__ import annotations

from dataclasses import replace

from persona_pipelines.warehouse.contracts.parts import AS_OF, ITEM, MODEL, USER, Column, Table, count, number, share

CASE = Column(
    "case",
    "string",
    "warm: users known in training; new user: users first seen after the cut; new item: only items that nobody "
    "knew in training, ranked among themselves.",
    required=True,
)

TUNED_PARAMETERS = Table(
    "recommendations",
    "tuned_parameters",
    "Parameters that a search on the validation window found better than the configured ones.",
    (
        MODEL,
        Column("parameters", "string", "The best found, as JSON.", required=True),
        Column("configured", "string", "Those of the configuration, as JSON: where they change, the search is void.", required=True),
        share("ndcg_configured", "nDCG on the validation window with the configured ones."),
        share("ndcg_tuned", "nDCG on the validation window with the best found."),
        count("trials", "Trials made in the time given."),
        Column(
            "tuned_until",
            "timestamp",
            "The newest event of the validation window searched on, UTC: later tests alone may judge them.",
            required=True,
        ),
        Column("mlflow_run_id", "string", "MLflow run whose children are the trials."),
    ),
    ("model",),
    history=True,
)

MODEL_COMPARISON = Table(
    "recommendations",
    "model_comparison",
    "How each model ranks what users did after the cut, learned from what they did before.",
    (
        MODEL,
        Column(
            "split",
            "string",
            "How training and test were separated: global time; record order, of logs without a clock; last items out; random by user.",
            required=True,
        ),
        CASE,
        Column("segment", "string", "all, or the name of the segment whose users are judged.", required=True),
        Column("cut", "timestamp", "Training ends before, the test begins here, UTC.", required=True),
        Column("k", "int64", "Length of the list that is judged.", required=True, minimum=1),
        count("users", "Users judged.", "users"),
        share(
            "answered", "Share of them for whom the model's order means anything; of others the list is the first items of the catalogue."
        ),
        share("ndcg_at_k", "Normalised discounted cumulative gain: hits count 1 / log2(rank + 1), over the best that was possible."),
        share("ndcg_low", "Lower bound of its 95 % confidence interval, by the bootstrap over users."),
        share("ndcg_high", "Upper bound of its 95 % confidence interval."),
        share("recall_at_k", "Share of the user's test items in the list."),
        share("precision_at_k", "Share of the list that is in the user's test items."),
        share("map_at_k", "Mean average precision: precision at the rank of each hit, summed, over the user's test items."),
        share("mrr_at_k", "Mean reciprocal rank of the first hit."),
        share("hit_rate_at_k", "Share of users with any hit."),
        share("coverage", "Share of the catalogue that appears in any list."),
        number("novelty", "Mean of -log2 of the share of users who had turned to an item of the list.", "bits"),
        number("diversity", "Mean of 1 - cosine similarity over pairs of a list, by categories, brand and price band."),
        share("gini", "Inequality of how often items are recommended: 0 all equally, 1 a few alone."),
        number("rmse", "Root mean squared error of predicted ratings, of models that predict any.", "rating"),
        number("mae", "Mean absolute error of predicted ratings.", "rating"),
        share("validation_ndcg", "nDCG on the validation window before the cut, by which the challenger is chosen."),
        Column("champion", "boolean", "Whether this model makes the recommendations after this comparison.", required=True),
        Column("model_version", "string", "Version in the MLflow registry, where registered."),
        Column("mlflow_run_id", "string", "MLflow run with parameters, metrics and plots."),
    ),
    ("model", "split", "case", "segment"),
)

PAIRED = (
    count("users", "Users judged.", "users"),
    number("advantage", "Mean difference in nDCG, user by user.", "", -1),
    number("low", "Lower bound of its 95 % confidence interval, by the paired bootstrap over users.", "", -1),
    number("high", "Upper bound of its 95 % confidence interval.", "", -1),
)
"""How far one model is ahead of another for the same users."""

MODEL_ADVANTAGES = Table(
    "recommendations",
    "model_advantages",
    "How far one model is ahead of another for the same known users, and how sure that is.",
    (
        MODEL,
        Column("against", "string", "The model that it is compared with.", required=True),
        *PAIRED,
    ),
    ("model", "against"),
)

SEGMENT_ADVANTAGES = Table(
    "recommendations",
    "segment_advantages",
    "How far the champion is ahead of the most popular items for the known users of each segment; no rows where these are the champion.",
    (
        Column("segment", "string", "Name of the segment.", required=True),
        MODEL,
        Column("against", "string", "The most popular items, as the configuration has them first.", required=True),
        *PAIRED,
    ),
    ("segment",),
)

LAST_CLICK = Table(
    "recommendations",
    "last_click",
    "What a person's last items are worth beside the list of a model that does not follow them, each window replayed click by click.",
    (
        MODEL,
        Column("window", "string", "validation, on which the share is chosen, or test, which judges it.", required=True),
        replace(share("share", "How much the last items count: 0 is the model's list alone, 1 the last items alone."), required=True),
        Column("against", "string", "What it is compared with: the list alone, or the last items alone.", required=True),
        Column("chosen", "boolean", "Whether live lists count the last items so.", required=True),
        count("lists", "Lists judged: before each of a person's first ten events in the window, but those of the first moment."),
        share("ndcg_at_k", "nDCG of the next item in them, mean over the lists of each user, then over users."),
        *PAIRED,
    ),
    ("model", "window", "share", "against"),
)

LEAKAGE_AUDIT = Table(
    "recommendations",
    "leakage_audit",
    "What was checked so that no model has seen what it is judged by.",
    (
        Column(
            "window",
            "string",
            "validation, on which weights are learned and the challenger is chosen, or test, which decides.",
            required=True,
        ),
        Column("check", "string", "What has to hold.", required=True),
        Column("passed", "boolean", "Whether it does.", required=True),
        Column("found", "string", "What was found."),
        Column("expected", "string", "What is expected."),
    ),
    ("window", "check"),
)

SIMILAR_ITEMS = Table(
    "recommendations",
    "similar_items",
    "For each item those that the same users turn to.",
    (
        replace(ITEM, required=True),
        Column("rank", "int64", "1 is the most similar.", required=True, minimum=1),
        Column("similar_item_id", "string", "The other item.", required=True),
        share("similarity", "Cosine of who turned to them, shrunk where few users are common."),
        count("common_users", "Users who turned to both.", "users"),
        AS_OF,
    ),
    ("item_id", "rank"),
    references={"item_id": ("events", "items", "item_id"), "similar_item_id": ("events", "items", "item_id")},
)

BOUGHT_TOGETHER = Table(
    "recommendations",
    "bought_together",
    "For each item those that are often in the same basket.",
    (
        replace(ITEM, required=True),
        Column("rank", "int64", "1 has the highest confidence.", required=True, minimum=1),
        Column("other_item_id", "string", "The other item.", required=True),
        count("baskets", "Baskets with both.", "baskets"),
        share("support", "Their share of all baskets."),
        share("confidence", "Share of the baskets with the item that hold the other too."),
        number("lift", "Confidence over the other's share of all baskets: above 1, more often than by chance."),
        AS_OF,
    ),
    ("item_id", "rank"),
    references={"item_id": ("events", "items", "item_id"), "other_item_id": ("events", "items", "item_id")},
)

RECOMMENDATIONS = Table(
    "recommendations",
    "recommendations",
    "The top items for every consenting user, each with its reason.",
    (
        replace(USER, required=True),
        Column("rank", "int64", "1 is the best.", required=True, minimum=1),
        replace(ITEM, required=True),
        number("score", "Score of the model; comparable within one user's list only.", "", None),
        Column("reason", "string", "Why this item: by the part of the model that counted most for it.", required=True),
        MODEL,
        Column("case", "string", "warm: has interactions; new user: answered from attributes, segment or popularity.", required=True),
        Column("model_version", "string", "Version of the model in MLflow.", required=True),
        AS_OF,
    ),
    ("user_id", "rank"),
    personal_rows=True,
    references={"user_id": ("events", "users", "user_id"), "item_id": ("events", "items", "item_id")},
)
