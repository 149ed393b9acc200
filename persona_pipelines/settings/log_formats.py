"""Format strings of web servers -> patterns with named fields.

Apache's are described at httpd.apache.org/docs/2.4/mod/mod_log_config.html, nginx's at nginx.org/en/docs/http/ngx_http_log_module.html; the
layouts of the load balancers and of S3 in the documents of Amazon Web Services, HAProxy's in its configuration manual
(section 8.2.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from persona_pipelines.settings.patterns import checked_pattern, groups
from persona_pipelines.vocabulary import LOG_FORMATS

# What a value may look like. A request is taken apart into method, address and protocol.
WORD = r"\S+"
LIST = r"\S+(?:(?:,| :) \S+)*"  # of the proxies or servers that a request went through
MARKS = "|;\t"
"""What parts values and does not stand in them, so that these may hold blanks."""
ADDRESS = r"[^\s\"\[\]]+"
HOST = r"[^\s:\"]+"
IDENTITY = r"-|[^\s\"\[\].:]+"  # never an address of the network: a line with a host name before it is another layout
STATUS = r"[0-9]{3}|-1?"
NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?|-"
TIME = r"[^\[\]\"]+"
QUOTED = r"(?:[^\"\\]|\\.)*"
# Cut at a blank and a protocol at its end, an address with blanks is an address.
REQUEST = r"([A-Z][A-Z_-]*) ((?:/|[a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\"\\]|\\.)*?)(?: ([A-Z]+/[0-9.]+))? ?"
NO_REQUEST = ("", "-", "- - - ", "- - -", "<BADREQ>")
"""Request lines of connections on which none was made."""
NO_PAGE = r"(?:[A-Z]+ \*|CONNECT \S+)(?: [A-Z]+/[0-9.]+)?"
"""Request lines that ask for nothing of the site: of the server itself (OPTIONS *, PRI *), or for a tunnel."""

SYSLOG = (
    r"(?:<[0-9]{1,3}>)?(?:(?:[A-Z][a-z]{2} [ 0-9]?[0-9](?: [0-9]{4})? [0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+) (?:\S+ )?[^\s:]+: "
    r"|1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) "
    "\ufeff?)?"
)
"""What syslog writes before a line: as of RFC 3164, with a time of ISO 8601 in it, or as of RFC 5424; or nothing."""
APACHE = {
    "h": ("address", ADDRESS),
    "a": ("address", ADDRESS),
    "l": ("identity", IDENTITY),
    "u": ("user", WORD),
    "t": ("time", TIME),
    "r": ("request", REQUEST),
    "s": ("status", STATUS),
    "b": ("bytes", NUMBER),
    "B": ("bytes", NUMBER),
    "O": ("bytes", NUMBER),
    "I": ("bytes_received", NUMBER),
    "S": ("bytes_transferred", NUMBER),
    "v": ("host", HOST),
    "V": ("host", HOST),
    "p": ("port", r"[0-9]+|-"),
    "D": ("duration_us", NUMBER),
    "T": ("duration_seconds", NUMBER),
    "m": ("method", r"[A-Z][A-Z_-]*|-"),
    "U": ("url", WORD),
    "q": ("query", r"\S*"),
    "H": ("protocol", WORD),
    "f": ("file", WORD),
    "k": ("keepalive_requests", NUMBER),
    "L": ("log_id", WORD),
    "P": ("process", WORD),
    "X": ("connection", r"[X+-]"),
    "R": ("handler", WORD),
    "A": ("server_address", ADDRESS),
}
NGINX = {
    "remote_addr": ("address", ADDRESS),
    "remote_user": ("user", WORD),
    "time_local": ("time", TIME),
    "time_iso8601": ("time", WORD),
    "msec": ("time", NUMBER),
    "request": ("request", REQUEST),
    "status": ("status", STATUS),
    "body_bytes_sent": ("bytes", NUMBER),
    "bytes_sent": ("bytes", NUMBER),
    "http_referer": ("referrer", WORD),
    "http_user_agent": ("user_agent", WORD),
    "http_x_forwarded_for": ("forwarded_for", LIST),
    "host": ("host", WORD),
    "http_host": ("host", WORD),
    "server_name": ("server_name", WORD),
    "request_method": ("method", r"[A-Z][A-Z_-]*|-"),
    "request_uri": ("url", WORD),
    "uri": ("url", WORD),
    "server_protocol": ("protocol", WORD),
    "request_time": ("duration_seconds", NUMBER),
    "args": ("query", r"\S*"),
    "query_string": ("query", r"\S*"),
    "captured_headers": ("captured_headers", r"(?:\{[^}]*\} ){0,2}"),
    "syslog_header": ("syslog_header", SYSLOG),
}
HEADERS = {"referer": "referrer", "user_agent": "user_agent", "x_forwarded_for": "forwarded_for", "host": "host"}
PARTS_OF_TIME = ("sec", "msec", "usec", "msec_frac", "usec_frac")
MAY_BE_EMPTY = ("syslog_header", "captured_headers")
APACHE_DIRECTIVE = re.compile(r"%(?:[<>]|!?[0-9,]+)?(?:\{([^}]*)\})?(\^t[io]|[a-zA-Z%])")
NGINX_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class LinePattern:
    """A pattern over whole lines, the field of each of its groups, and a looser pattern that lets any request line pass."""

    pattern: str
    loose: str
    fields: tuple[str, ...]
    loose_fields: tuple[str, ...]


@lru_cache(maxsize=256)
def line_pattern(log_format: str | None, pattern: str | None, further_columns: bool) -> LinePattern:
    """The pattern of a format string, of a usual format's name, or of a pattern with named groups.

    Raises:
        ValueError: it is none, in words for the person who wrote it.
    """
    if pattern is not None:
        try:
            checked_pattern(pattern)
        except ValueError as error:
            raise ValueError(f"pattern: {error}") from None
        names = groups(pattern)
        if not names or None in names:
            raise ValueError("pattern: expected named groups only, such as (?P<url>\\S+), with (?:...) for what is no field")
        fields = tuple(name for name in names if name)
        _refuse_double(fields)
        plain = re.sub(r"\(\?P?<\w+>", "(", pattern)
        return LinePattern(f"^(?:{plain})$", f"^(?:{plain})$", fields, fields)
    assert log_format is not None
    text = LOG_FORMATS.get(log_format) or _as_written(log_format)
    further = further_columns or text.endswith(" ...")
    text = text.removesuffix(" ...")
    directive = NGINX_VARIABLE if "$" in text and "%" not in NGINX_VARIABLE.sub("", text).replace("%%", "") else APACHE_DIRECTIVE
    if directive is APACHE_DIRECTIVE and "$" in text and NGINX_VARIABLE.search(APACHE_DIRECTIVE.sub("", text)):
        raise ValueError("log_format: found variables of nginx ($status) beside directives of Apache (%h); expected one of them")
    if not directive.search(text):
        raise ValueError(
            f"log_format: found {log_format!r}; expected a format string of Apache (%h %l %u ...) or nginx ($remote_addr ...), or one of {', '.join(LOG_FORMATS)}"
        )
    exact, fields = _compiled(text, directive, REQUEST)
    loose, loose_fields = _compiled(text, directive, f"({QUOTED})")
    end = r"(?:[ \t].*)?\s*$" if further else r"\s*$"
    checked_pattern(exact)
    return LinePattern(f"^{exact}{end}", f"^{loose}{end}", fields, loose_fields)


def _as_written(log_format: str) -> str:
    """A format string without what is around it in a server's configuration: LogFormat, log_format, pieces in quotes, escapes."""
    text = log_format.strip()
    if found := re.fullmatch(r"LogFormat\s+\"((?:[^\"\\]|\\.)*)\"(?:\s+\S+)?", text):
        text = found[1]
    elif found := re.fullmatch(r"(?:log_format\s+\S+\s+(?:escape=\S+\s+)?)?('.*')\s*;?", text, re.DOTALL):
        text = "".join(re.findall(r"'([^']*)'", found[1]))
    return text.replace('\\"', '"').replace("\\t", "\t")


def _compiled(text: str, directive: re.Pattern[str], request: str) -> tuple[str, tuple[str, ...]]:
    """A pattern for a format string; literal text in it stands for itself, a blank for blanks and tabs."""
    made, fields, position = "", [], 0
    if "$syslog_header" in text and not re.match(r"\$syslog_header(?! )", text):
        raise ValueError(
            "log_format: expected $syslog_header at the begin, and nothing between it and what follows: it ends in its own blank"
        )
    matches = list(directive.finditer(text))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        marked = any(text[:position].endswith(f"${name}") or match[0] == f"${name}" for name in MAY_BE_EMPTY)
        if match.start() == position > 0 and "%%" not in (match[0], text[position - 2 : position]) and not marked:
            raise ValueError(
                f"log_format: nothing stands between {text[:position].split()[-1]!r} and {match[0]!r}: where one ends cannot be told"
            )
        made += _literal(text[position : match.start()])
        before, after = text[: match.start()][-1:], text[match.end() : following.start() if following else None]
        position = match.end()
        if match[0] == "%%":
            made += "%"
            continue
        name, shape = _apache(match) if directive is APACHE_DIRECTIVE else _nginx(match)
        if name == "request":
            made += request
            fields += ["method", "url", "protocol"] if request is REQUEST else ["request"]
            continue
        if name == "time" and directive is APACHE_DIRECTIVE and not match[1]:
            made += rf"\[?({TIME})\]?" if before == "[" else rf"\[({TIME})\]"  # %t has brackets of its own
        elif name == "user_agent" and following is None and not after and before != '"':
            made += "(.*?)"  # to the end of the line, blanks and marks in it
        else:
            made += f"({_shape(shape, before, after)})"
        fields.append(name)
    return made + _literal(text[position:]), _numbered(fields)


def _shape(shape: str, before: str, after: str) -> str:
    """Args: before, after: the character before a value, and the text up to the next one."""
    end = after[:1]
    if before == '"' and end == '"':
        return QUOTED
    if shape not in (WORD, LIST) or not end or end.isspace():
        return shape
    if end in MARKS:
        return rf"[^{re.escape(end)}]*"
    # A mark with a blank behind it ends the value, and may stand inside of it without one: 10.0.0.1:80: GET.
    inside = r"\S" if re.fullmatch(r"\S+\s.*", after, re.DOTALL) else rf"[^\s{re.escape(end)}]"
    return rf"(?:{inside}+(?:(?:,| :) {inside}+)*)?" if shape is LIST else f"{inside}*"


def _literal(text: str) -> str:
    return "".join(r"[ \t]+" if part.isspace() else re.escape(part).replace("\\-", "-") for part in re.findall(r"\s+|\S+", text))


def _apache(match: re.Match[str]) -> tuple[str, str]:
    argument, letter = match[1], match[2]
    if argument is None:
        if letter not in APACHE:
            raise ValueError(f"log_format: {match[0]} is no directive of mod_log_config")
        return APACHE[letter]
    named = re.sub(r"\W+", "_", argument).strip("_").lower()
    if letter in ("i", "o", "e", "n", "C", "x") or letter.startswith("^"):
        field = HEADERS.get(named, named) if letter == "i" else named
        return field, LIST if field == "forwarded_for" else WORD
    if letter == "t":
        return "time", NUMBER if argument.removeprefix("begin:").removeprefix("end:") in PARTS_OF_TIME else TIME
    if letter in APACHE:
        return APACHE[letter]
    raise ValueError(f"log_format: {match[0]} is no directive of mod_log_config")


def _nginx(match: re.Match[str]) -> tuple[str, str]:
    name = match[1] or match[2]
    return NGINX.get(name, (name, LIST if name.startswith("upstream_") else WORD))


def _numbered(fields: list[str]) -> tuple[str, ...]:
    """The names with ``_2``, ``_3`` ... behind those that stand there once more."""
    counted = [(name, fields[: place + 1].count(name)) for place, name in enumerate(fields)]
    return tuple(name if number == 1 else f"{name}_{number}" for name, number in counted)


def _refuse_double(fields: tuple[str, ...]) -> None:
    double = next((name for name in fields if fields.count(name) > 1), None)
    if double:
        raise ValueError(f"the field {double!r} stands there twice; describe the lines by pattern with named groups instead")
