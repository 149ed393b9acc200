"""The pages of the service: one to try it, one that describes its addresses, and the client for browsers. They hold no data."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page may load (Content-Security-Policy): files of this service, and nothing from elsewhere."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # pages and client are of the version that answers
}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

OURS, SWAGGER = "persona_pipelines.serving", "fastapi_offline"
FILES = {
    "/": (OURS, "page/try.html"),
    "/try.css": (OURS, "page/try.css"),
    "/try.js": (OURS, "page/try.js"),
    "/persona.js": (OURS, "page/persona.js"),
    "/docs": (OURS, "page/docs.html"),
    "/docs.js": (OURS, "page/docs.js"),
    "/swagger-ui.css": (SWAGGER, "static/swagger-ui.css"),
    "/swagger-ui-bundle.js": (SWAGGER, "static/swagger-ui-bundle.js"),
}
"""The file behind each address: its package, and where it is in there."""
ADDRESSES = frozenset(FILES)
"""What is answered without a token: nothing in it is about anybody."""


def routes() -> list[Route]:
    """One route for each file; all are read now, so that no request waits for the disk."""
    return [_route(address, package, file) for address, (package, file) in FILES.items()]


def _route(address: str, package: str, file: str) -> Route:
    content, kind = resources.files(package).joinpath(file).read_bytes(), KINDS[file.rpartition(".")[2]]

    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return Route(address, answer)
