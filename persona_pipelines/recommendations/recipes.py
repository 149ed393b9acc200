"""A recipe: everything that makes a model again from other interactions. It is stored beside the model, as JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from persona_pipelines.errors import StoredModelError
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.comparison import fit_all
from persona_pipelines.recommendations.models import Hybrid
from persona_pipelines.recommendations.models.hybrid import BlendModel
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.settings.recommendations import HybridSettings, Method, MethodSettings

FILE = "recipe.json"
_METHOD: TypeAdapter[Method] = TypeAdapter(Method)


@dataclass(frozen=True)
class Recipe:
    """A method with its settings; of a hybrid also its members and weights.

    Attributes:
        until: the newest event that the weights were learned from.
        tuned: the newest event that parameters were tuned on, by the name of each tuned method.
    """

    settings: MethodSettings
    members: tuple[MethodSettings, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    until: dt.datetime | None = None
    tuned: Mapping[str, dt.datetime] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.settings.name

    def fit(self, training: Interactions, seed: int, already: Mapping[str, LearnedModel] | None = None) -> LearnedModel:
        """The model of other interactions.

        Args:
            already: models of these methods that were fitted on the same training; they are not fitted once more.
        Raises:
            ModelError: the method, or every member of a hybrid, cannot be fitted.
        """
        wanted, known = self.members or (self.settings,), dict(already or {})
        found, failed = fit_all([method for method in wanted if method.name not in known], training, seed)
        fitted = {method.name: (known | found)[method.name] for method in wanted if method.name in known or method.name in found}
        if not isinstance(self.settings, HybridSettings):
            if self.name not in fitted:
                raise ModelError(f"{self.name}: {failed[self.name]}")
            return fitted[self.name]
        if missing := [name for name in failed if self.weights.get(name, 0) > 0]:
            raise ModelError("; ".join(f"{name}: {failed[name]}" for name in missing))
        if self.until is None:
            raise ModelError(f"{self.name}: weights without the window that they were learned on")
        return Hybrid(self.settings, seed).blend(fitted, self.weights, self.until, training)

    def save(self, folder: Path) -> None:
        content = {
            "settings": self.settings.model_dump(),
            "members": [member.model_dump() for member in self.members],
            "weights": dict(self.weights),
            "until": self.until.isoformat() if self.until else None,
            "tuned": {name: until.isoformat() for name, until in self.tuned.items()},
        }
        (folder / FILE).write_text(json.dumps(content, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Recipe:
        """Raises StoredModelError where the folder holds none that this version understands."""
        try:
            content = json.loads((folder / FILE).read_text())
        except OSError:
            raise StoredModelError(f"{folder}: no {FILE}: the model was made by another version; train it again") from None
        settings, *members = (_METHOD.validate_python(entry) for entry in (content["settings"], *content["members"]))
        until = dt.datetime.fromisoformat(content["until"]) if content["until"] else None
        tuned = {name: dt.datetime.fromisoformat(moment) for name, moment in content.get("tuned", {}).items()}
        return cls(settings, tuple(members), content["weights"], until, tuned)


def recipe_of(
    methods: Sequence[MethodSettings], name: str, model: LearnedModel, weights: Mapping[str, float], tuned: Mapping[str, dt.datetime]
) -> Recipe:
    """The recipe of a fitted model of a comparison; of a hybrid with the members that it kept.

    Args:
        tuned: as ``Recipe.tuned``, of all methods.
    """
    settings = next(method for method in methods if method.name == name)
    if not isinstance(settings, HybridSettings) or not isinstance(model, BlendModel):
        return Recipe(settings, tuned={name: tuned[name]} if name in tuned else {})
    kept = model.members()
    return Recipe(
        settings,
        tuple(method for method in methods if method.name in kept),
        dict(weights),
        model.weights_learned_until.to_pydatetime(),
        {name: until for name, until in tuned.items() if name in kept},
    )
