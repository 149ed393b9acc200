"""Settings of the recommenders: one class a method, the comparison, the gate, and the rules for lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from persona_pipelines.settings.own_methods import own_recommender
from persona_pipelines.settings.strict import NAME_PATTERN, Seed, Strict

MAXIMUM_DENSE = 12_000
"""Most entities of which a dense square matrix is made: 12,000 by 12,000 numbers of 8 bytes are 1.2 GB."""


@dataclass(frozen=True)
class Searched:
    """Bounds between which tuning looks for a parameter, on a logarithmic scale; in whole numbers where both are."""

    low: float
    high: float


class MethodSettings(Strict):
    """What every method has: a name of its own in tables and MLflow, by default made of the method and what sets it apart."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        "", description="Name in tables and MLflow; by default made of the method and what sets it apart."
    )
    variant: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("name"):
            return value
        parts = [value.get("method", cls.model_fields["method"].default)]
        for field in cls.variant:
            found = value.get(field, cls.model_fields[field].default)
            if found not in (None, True):
                parts.append(f"without_{field}" if found is False else f"{found}_days" if field == "recent_days" else str(found))
        return {**value, "name": "_".join(str(part) for part in parts)}

    @classmethod
    def space(cls) -> dict[str, Searched]:
        """The parameters that tuning looks for; none where there is nothing to tune."""
        bounds = {
            name: next((entry for entry in field.metadata if isinstance(entry, Searched)), None) for name, field in cls.model_fields.items()
        }
        return {name: found for name, found in bounds.items() if found}

    def parameters(self) -> dict[str, Any]:
        """Everything but the names, for logging."""
        return self.model_dump(exclude={"name"})


class MostPopularSettings(MethodSettings):
    """Items by the number of users who turned to them; in the last ``recent_days``, or over all time."""

    variant = ("recent_days",)
    method: Literal["most_popular"] = Field("most_popular", description="The method.")
    recent_days: float | None = Field(
        None, gt=0, description="Only what happened in the last days before the training's end; without it, all time."
    )


class SegmentPopularSettings(MethodSettings):
    """Items by the share of the user's segment that turned to them, drawn to the share of all users by ``prior_users``."""

    variant = ("recent_days",)
    method: Literal["segment_popular"] = Field("segment_popular", description="The method.")
    recent_days: float | None = Field(
        None, gt=0, description="Only what happened in the last days before the training's end; without it, all time."
    )
    prior_users: Annotated[float, Searched(1.0, 200.0)] = Field(
        10, ge=0, description="So many users of average taste are added to each segment."
    )


class UserNeighbourhoodSettings(MethodSettings):
    variant = ("similarity",)
    method: Literal["user_neighbourhood"] = Field("user_neighbourhood", description="The method.")
    similarity: Literal["cosine", "pearson"] = Field("cosine", description="How alike two users are.")
    neighbours: Annotated[int, Searched(10, 400)] = Field(80, ge=1, description="Most neighbours of a user that count.")
    shrinkage: Annotated[float, Searched(0.5, 100.0)] = Field(
        10, ge=0, description="Similarities are multiplied by n / (n + shrinkage), n the number of common items."
    )


class ItemNeighbourhoodSettings(MethodSettings):
    variant = ("similarity",)
    method: Literal["item_neighbourhood"] = Field("item_neighbourhood", description="The method.")
    similarity: Literal["cosine", "jaccard", "tfidf", "bm25"] = Field("cosine", description="How alike two items are.")
    neighbours: Annotated[int, Searched(10, 400)] = Field(100, ge=1, description="Most neighbours of an item that count.")
    shrinkage: Annotated[float, Searched(0.5, 100.0)] = Field(
        10, ge=0, description="Similarities are multiplied by n / (n + shrinkage), n the number of common users."
    )


class FollowedSettings(MethodSettings):
    method: Literal["followed"] = Field("followed", description="The method.")
    shrinkage: Annotated[float, Searched(0.1, 50.0)] = Field(
        2, ge=0, description="A circle of n counts n / (n + shrinkage) against what all users turn to."
    )


class ContentBasedSettings(MethodSettings):
    method: Literal["content_based"] = Field("content_based", description="The method.")
    maximum_terms: int = Field(20_000, ge=1, description="Most different words of titles, categories and brands that are looked at.")


class ContentToTasteSettings(MethodSettings):
    """Who wants an item, by ridge regression from its texts, attributes and numbers; items that nobody has turned to yet among them."""

    variant = ("attributes",)
    method: Literal["content_to_taste"] = Field("content_to_taste", description="The method.")
    regularisation: float | None = Field(
        None, gt=0, description="Penalty on large weights; without it the one that finds items best which were left out."
    )
    attributes: bool = Field(True, description="Whether categories, brand, price and other attributes are used beside the texts.")
    maximum_terms: int = Field(
        3_000, ge=1, le=20_000, description="Most different words that are looked at: a dense square matrix is made of them."
    )
    validation_users: int = Field(500, ge=10, description="The penalty is chosen on at most so many people.")


class LightFMSettings(MethodSettings):
    variant = ("loss", "features")
    method: Literal["lightfm"] = Field("lightfm", description="The method.")
    loss: Literal["warp", "bpr", "logistic"] = Field("warp", description="What is learned by.")
    features: bool = Field(True, description="Whether attributes of users and items are used.")
    components: Annotated[int, Searched(8, 128)] = Field(24, ge=1, description="Numbers by which each user and item is described.")
    epochs: Annotated[int, Searched(5, 60)] = Field(30, ge=1, description="Passes over the interactions.")
    learning_rate: Annotated[float, Searched(0.005, 0.2)] = Field(0.05, gt=0, description="Size of the steps.")
    max_sampled: Annotated[int, Searched(5, 60)] = Field(
        30, ge=1, description="WARP: most items drawn in search of one that is ranked wrongly."
    )
    item_alpha: Annotated[float, Searched(1e-08, 0.001)] = Field(0.0, ge=0, description="Penalty on the factors of items.")
    user_alpha: Annotated[float, Searched(1e-08, 0.001)] = Field(0.0, ge=0, description="Penalty on the factors of users.")
    identity_weight: Annotated[float, Searched(0.25, 16.0)] = Field(
        4.0, gt=0, description="How much an entity's own factors count against one shared feature."
    )


class ALSSettings(MethodSettings):
    method: Literal["als"] = Field("als", description="The method.")
    factors: Annotated[int, Searched(8, 128)] = Field(16, ge=1, description="Numbers by which each user and item is described.")
    regularisation: Annotated[float, Searched(0.1, 100.0)] = Field(5.0, ge=0, description="Penalty on large factors.")
    alpha: Annotated[float, Searched(0.1, 40.0)] = Field(
        1.0, gt=0, description="Confidence of an interaction is 1 + alpha * square root of (weight / mean weight)."
    )
    iterations: Annotated[int, Searched(5, 30)] = Field(15, ge=1, description="Passes of alternating least squares.")


class BPRSettings(MethodSettings):
    method: Literal["bpr"] = Field("bpr", description="The method.")
    factors: Annotated[int, Searched(8, 128)] = Field(32, ge=1, description="Numbers by which each user and item is described.")
    learning_rate: Annotated[float, Searched(0.002, 0.1)] = Field(0.01, gt=0, description="Size of the steps.")
    regularisation: Annotated[float, Searched(0.001, 0.2)] = Field(0.03, ge=0, description="Penalty on large factors.")
    iterations: Annotated[int, Searched(20, 200)] = Field(100, ge=1, description="Passes over the interactions.")


class TruncatedSVDSettings(MethodSettings):
    method: Literal["truncated_svd"] = Field("truncated_svd", description="The method.")
    components: Annotated[int, Searched(4, 256)] = Field(16, ge=1, description="Singular values that are kept.")


class BiasedFactorsSettings(MethodSettings):
    method: Literal["biased_factors"] = Field("biased_factors", description="The method.")
    factors: Annotated[int, Searched(4, 32)] = Field(12, ge=1, description="Numbers by which each user and item is described.")
    iterations: Annotated[int, Searched(40, 200)] = Field(100, ge=1, description="Draws of the sampler, those of the burn-in among them.")
    burn_in: int = Field(10, ge=0, description="First draws that are thrown away.")
    draws: int = Field(20, ge=1, description="Draws that are kept, spread over the iterations after the burn-in.")


class EASESettings(MethodSettings):
    variant = ("over",)
    method: Literal["ease"] = Field("ease", description="The method.")
    over: Literal["items", "users"] = Field("items", description="Whether weights stand between items or between users.")
    regularisation: Annotated[float, Searched(10.0, 5000.0)] = Field(400, gt=0, description="Penalty on large weights.")
    maximum_size: int = Field(
        MAXIMUM_DENSE,
        ge=1,
        le=50_000,
        description="With more items (or users) the method is left out: it makes a dense square matrix of them.",
    )


class RecentEASESettings(MethodSettings):
    """EASE over items, asked by a history in which the newest items count most."""

    method: Literal["recent_ease"] = Field("recent_ease", description="The method.")
    regularisation: Annotated[float, Searched(10.0, 5000.0)] = Field(400, gt=0, description="Penalty on large weights.")
    decay: Annotated[float, Searched(0.4, 1.0)] = Field(
        0.8, gt=0, le=1, description="Each item of the history counts this to the power of its place from the newest."
    )
    maximum_size: int = Field(
        MAXIMUM_DENSE, ge=1, le=50_000, description="With more items the method is left out: it makes a dense square matrix of them."
    )


class TransitionsSettings(MethodSettings):
    """What people turn to soon after the items of the history."""

    method: Literal["transitions"] = Field("transitions", description="The method.")
    window: int = Field(10, ge=1, le=100, description="Most places between two items of one person of which one leads to the other.")
    distance_decay: Annotated[float, Searched(0.3, 1.0)] = Field(
        0.9, gt=0, le=1, description="Each place between the two makes the step count this much less."
    )
    shrinkage: Annotated[float, Searched(1.0, 200.0)] = Field(
        10, ge=0, description="The steps from an item are divided by their sum plus this, so that few say little."
    )
    decay: Annotated[float, Searched(0.4, 1.0)] = Field(
        0.8, gt=0, le=1, description="Each item of the history counts this to the power of its place from the newest."
    )
    neighbours: int = Field(200, ge=1, description="Most items to which one leads.")


class LiveBlendSettings(MethodSettings):
    """Which items go together, blended with what comes after what: a table so small that a list can be made from it at every click."""

    method: Literal["live_blend"] = Field("live_blend", description="The method.")
    regularisation: Annotated[float, Searched(10.0, 5000.0)] = Field(400, gt=0, description="Penalty on large weights of EASE.")
    window: int = Field(10, ge=1, le=100, description="As of `transitions`.")
    distance_decay: float = Field(0.9, gt=0, le=1, description="As of `transitions`.")
    shrinkage: float = Field(10, ge=0, description="As of `transitions`.")
    neighbours: int = Field(200, ge=1, description="Most items that are kept of each.")
    maximum_size: int = Field(
        MAXIMUM_DENSE, ge=1, le=50_000, description="With more items cosine similarities stand in the place of EASE's dense weights."
    )
    validation_users: int = Field(1_000, ge=10, description="The blend is chosen on the last items of at most so many people.")


class AssociationRulesSettings(MethodSettings):
    method: Literal["association_rules"] = Field("association_rules", description="The method.")
    minimum_support: Annotated[float, Searched(0.001, 0.1)] = Field(
        0.003, gt=0, lt=1, description="Least share of baskets in which the items of a rule stand together."
    )
    minimum_confidence: Annotated[float, Searched(0.01, 0.5)] = Field(
        0.02, ge=0, le=1, description="Least share of baskets with the left side that have the right side too."
    )
    minimum_lift: float = Field(1.0, ge=0, description="Least factor by which the left side makes the right side more frequent.")
    maximum_length: int = Field(2, ge=2, le=5, description="Most items of a rule, both sides together.")
    maximum_items: int = Field(1_000, ge=2, description="Only the most frequent items are looked at: the number of sets grows steeply.")
    maximum_pairs: int = Field(10_000, ge=1, description="So many pairs, and sets of each further length, the most frequent ones.")


class HybridSettings(MethodSettings):
    """A blend of other methods of the list, by name; empty for all but those made for the next click (recent_ease, transitions, live_blend)."""

    method: Literal["hybrid"] = Field("hybrid", description="The method.")
    members: list[str] = Field([], description="Names of the methods that are blended; empty for all but those made for the next click.")
    validation_users: int = Field(2_000, ge=10, description="Weights are learned on at most so many users of the validation window.")
    candidates: int = Field(100, ge=10, description="How many of the best items of each member are weighed.")
    short_history: float = Field(10.0, gt=0, description="A new user's n interactions count n / (n + short_history) against the rules.")


BuiltIn = Annotated[
    MostPopularSettings
    | SegmentPopularSettings
    | UserNeighbourhoodSettings
    | ItemNeighbourhoodSettings
    | FollowedSettings
    | ContentBasedSettings
    | ContentToTasteSettings
    | LightFMSettings
    | ALSSettings
    | BPRSettings
    | TruncatedSVDSettings
    | BiasedFactorsSettings
    | EASESettings
    | RecentEASESettings
    | TransitionsSettings
    | LiveBlendSettings
    | AssociationRulesSettings
    | HybridSettings,
    Field(discriminator="method"),
]


METHOD_NAMES = frozenset(name for one in get_args(get_args(BuiltIn)[0]) for name in get_args(one.model_fields["method"].annotation))


def _own(value: Any, built_in: ValidatorFunctionWrapHandler) -> MethodSettings:
    """Settings of a method of this package, or of one that another package has (``own_methods``)."""
    method = value.get("method") if isinstance(value, dict) else None
    found = own_recommender(method) if isinstance(method, str) and method not in METHOD_NAMES else None
    return built_in(value) if found is None else found.settings_class.model_validate(value)


Method = Annotated[SerializeAsAny[BuiltIn], WrapValidator(_own)]


DEFAULT_METHODS: tuple[MethodSettings, ...] = (
    MostPopularSettings(),
    MostPopularSettings(recent_days=30),
    MostPopularSettings(recent_days=7),
    SegmentPopularSettings(),
    UserNeighbourhoodSettings(),
    ItemNeighbourhoodSettings(),
    FollowedSettings(),
    ContentBasedSettings(),
    ContentToTasteSettings(),
    AssociationRulesSettings(),
    TruncatedSVDSettings(),
    BiasedFactorsSettings(),
    ALSSettings(),
    BPRSettings(),
    LightFMSettings(),
    EASESettings(),
    EASESettings(over="users"),
    RecentEASESettings(),
    TransitionsSettings(),
    LiveBlendSettings(),
    HybridSettings(),
)


class GateSettings(Strict):
    """When a challenger takes the champion's place."""

    margin: float = Field(0.0, ge=0, description="The lower bound of the paired advantage in nDCG has to be above it.")
    minimum_users: int = Field(30, ge=2, description="Fewer known users in the newest window decide nothing.")
    minimum_coverage: float = Field(0.5, ge=0, description="Coverage at least this share of the champion's.")
    maximum_segment_loss: float = Field(0.05, ge=0, description="No segment's nDCG may fall by more, beyond doubt.")
    maximum_ms_per_user: float = Field(50.0, gt=0, description="Longest time for one list, measured in the comparison.")


class TuningSettings(Strict):
    """How long to search for better parameters, and of which methods (by name)."""

    minutes: float = Field(0.0, ge=0, description="0 turns tuning off.")
    trials: int | None = Field(None, ge=1, description="Most trials a method; with it and time enough, a search repeats exactly.")
    methods: list[str] = Field([], description="Names of the methods to tune; empty for all that have something to tune.")


class RulesSettings(Strict):
    """What a list may hold, beside the model's scores."""

    repurchase_categories: list[str] = Field([], description="Owned items of these categories stay in lists: what is used up.")
    only_in_stock: bool = Field(True, description="Items out of stock are left out, where the catalogue maps `in_stock`.")
    maximum_per_category: int | None = Field(None, ge=1, description="Most items of one category in one list.")
    category_caps: dict[str, Annotated[int, Field(ge=0)]] = Field({}, description="Most items of a category in one list, by its name.")
    diversity: float = Field(0.0, ge=0, le=1, description="0 ranks by score alone, 1 by being unlike what is already in the list.")
    candidates: int = Field(50, ge=1, description="How many of the best items the rules choose from.")
    new_days: float = Field(14, gt=0, description="For how long after its first event an item is called new.")


class RecommendationsSettings(Strict):
    k: int = Field(10, ge=1, le=1000, description="Items in a list, and the k of all metrics at k.")
    exclude_seen: bool = Field(True, description="What the user has already is left out of lists.")
    split: Literal["global time", "last item out", "random by user"] = Field(
        "global time", description="How training and test are parted; all but `global time` exist to compare with literature."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of all interactions that judge, and of those before them that choose.")
    minimum_interactions: int = Field(100, ge=2, description="With fewer interactions no recommender is trained.")
    seed: Seed = Field(20, description="Seed of everything that is drawn here.")
    methods: list[Method] = Field(
        [*DEFAULT_METHODS],  # type: ignore[list-item]
        min_length=1,
        description="The methods that are compared, each with its settings; by default the twenty-one of the list in recommenders.md.",
    )
    gate: GateSettings = Field(GateSettings(), description="When a challenger becomes champion.")
    tuning: TuningSettings = Field(TuningSettings(), description="The search for better parameters.")
    rules: RulesSettings = Field(RulesSettings(), description="What lists may hold.")
    related_items: int = Field(10, ge=1, le=100, description="Most similar items, and items bought together, of each item.")

    @model_validator(mode="after")
    def _consistent(self) -> RecommendationsSettings:
        names = [method.name for method in self.methods]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"methods: {name!r} is there twice; give each a name of its own (name: ...)")
        singles = {method.name for method in self.methods if not isinstance(method, HybridSettings)}
        for number, method in enumerate(self.methods):
            if isinstance(method, HybridSettings) and (unknown := set(method.members) - singles):
                raise ValueError(
                    f"methods[{number}].members: {sorted(unknown)[0]!r} is no other method of the list; expected some of {sorted(singles)}"
                )
        if unknown := set(self.tuning.methods) - singles:
            raise ValueError(f"tuning.methods: {sorted(unknown)[0]!r} is no method of the list; expected some of {sorted(singles)}")
        if not any(isinstance(method, MostPopularSettings) for method in self.methods):
            raise ValueError("methods: expected a most_popular among them: new users are answered by it, and the others have to beat it")
        return self
