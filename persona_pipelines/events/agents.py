"""What user agents say: whether a bot sent them, and from which kind of device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd

TOOLS = (
    r"^curl/",
    r"^Wget/",
    r"^python-",
    r"^Go-http-client",
    r"^Java/",
    r"^libwww-perl",
    r"^Ruby",
    r"^HTTPie/",
    r"^PostmanRuntime/",
    r"(?i)headless",
    r"(?i)^feedfetcher",
)
"""Programs that the lists of crawlers leave out, because they are tools: no customer shops with them."""
APPS = (r"^okhttp/", r"^Dalvik/")
"""What applications on people's phones send. Crawlers use these libraries too: ``bot_patterns`` tells them from one's own."""

TELEVISIONS = re.compile(r"(?i)smart-?tv|hbbtv|apple ?tv|google ?tv|android tv|bravia|crkey|\baft[a-z]|roku|netcast|web0s|viera|dtv\b")
CONSOLES = re.compile(r"(?i)playstation|xbox|nintendo")
TABLETS = re.compile(r"(?i)ipad|tablet(?! pc)|kindle|\bsilk/|playbook")
PHONES = re.compile(r"(?i)mobi|iphone|ipod|windows phone|blackberry|opera mini|kaios")
DESKTOP_SYSTEMS = ("Windows", "Mac OS X", "Linux", "Ubuntu", "Debian", "Fedora", "Chrome OS", "FreeBSD", "OpenBSD")


def described(agents: Iterable[str | None], bot_patterns: Sequence[str] = (), not_bots: Sequence[str] = ()) -> pd.DataFrame:
    """What each user agent says.

    A bot is what the maintained lists of ``crawler-user-agents`` (github.com/monperrus/crawler-user-agents) or ``ua-parser``
    (github.com/ua-parser) know as one, a tool of ``TOOLS``, or what a pattern of the configuration names; an agent that a
    pattern of ``not_bots`` names is none, nor are ``APPS`` without a pattern.

    Args:
        agents: different user agents.
        bot_patterns: regular expressions of further bots.
        not_bots: regular expressions of agents that are people's.
    Returns:
        Columns ``user_agent``, ``bot`` (boolean), ``agent_device`` (``desktop``, ``mobile``, ``tablet``, ``tv``, ``console``, ``app``,
        or None where the agent does not say).
    """
    import crawleruseragents
    import ua_parser

    added, exempt, tools, apps = ([re.compile(pattern) for pattern in patterns] for patterns in (bot_patterns, not_bots, TOOLS, APPS))
    rows = []
    for agent in agents:
        if not agent:
            continue
        parsed = ua_parser.parse(agent)
        brand = parsed.device.brand if parsed.device else None
        system = parsed.os.family if parsed.os else None
        listed = crawleruseragents.is_crawler(agent) or brand == "Spider" or _matches(agent, tools)
        bot = not _matches(agent, exempt) and (_matches(agent, added) or (listed and not _matches(agent, apps)))
        rows.append((agent, bot, _device(agent, system)))
    return pd.DataFrame(rows, columns=["user_agent", "bot", "agent_device"]).astype({"user_agent": "string", "agent_device": "string"})


def _matches(agent: str, patterns: Sequence[re.Pattern[str]]) -> bool:
    return any(pattern.search(agent) for pattern in patterns)


def _device(agent: str, system: str | None) -> str | None:
    if CONSOLES.search(agent):
        return "console"
    if TELEVISIONS.search(agent):
        return "tv"
    if TABLETS.search(agent):
        return "tablet"
    if PHONES.search(agent):
        return "mobile"
    if any(re.match(pattern, agent) for pattern in APPS):
        return "app"
    if "Android" in agent:  # Google's rule: phones say Mobile, tablets do not
        return "tablet"
    if "CFNetwork" in agent or system is None:
        return None
    return "desktop" if system in DESKTOP_SYSTEMS else None
