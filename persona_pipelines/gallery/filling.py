"""Templates of the pages filled in: what both have in common stands in ``frame.html``."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from persona_pipelines.gallery.content import Gallery
from persona_pipelines.gallery.texts import Texts


def asset_text(name: str) -> str:
    """A file of this package that goes into a page."""
    return resources.files("persona_pipelines.gallery").joinpath(name).read_text(encoding="utf-8")


def filled(template: str, gallery: Gallery, texts: Texts, **values: Any) -> str:
    """A template with its values. Texts are escaped; what is markup already comes as ``Markup``."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(asset_text)
    )
    style = Markup(asset_text("page.css"))  # noqa: S704 - a file of this package
    return environment.get_template(template).render(gallery=gallery, texts=texts, style=style, **values)
