"""Records that are no act of a person: bots by their user agent, and static assets by their address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ibis
import ibis.expr.types as ir

# Programs that the list of crawlers leaves out, because they are tools: no customer shops with them.
TOOLS = (r"^curl/", r"^Wget/", r"^python-", r"^Go-http-client", r"^Java/", r"^libwww-perl", r"^Ruby", r"^HTTPie/", r"(?i)bot\b", r"(?i)crawl",
         r"(?i)spider", r"(?i)\bfeed\b|rss", r"(?i)headless", r"(?i)monitor")  # fmt: skip


def bot_agents(agents: Iterable[str | None], patterns: Sequence[str] = ()) -> list[str]:
    """The user agents that belong to bots.

    Args:
        agents: different user agents.
        patterns: regular expressions in addition to the maintained list of the package ``crawler-user-agents``
            (github.com/monperrus/crawler-user-agents, 1,200 patterns) and ``TOOLS``.
    """
    import re

    import crawleruseragents

    own = [re.compile(pattern) for pattern in (*TOOLS, *patterns)]
    return [agent for agent in agents if agent and (crawleruseragents.is_crawler(agent) or any(pattern.search(agent) for pattern in own))]


def filter_reason(records: ir.Table, bots: Sequence[str], static_extensions: Sequence[str]) -> ir.StringValue:
    """Why a record is filtered, or null: ``dropped: ...``, ``bot``, ``static asset``.

    Args:
        records: columns ``dropped``, ``user_agent`` and ``url`` (without query string).
    """
    extension = records.url.lower().re_extract(r"\.([a-z0-9]{1,5})$", 1)
    return ibis.cases(
        (records.dropped.notnull(), records.dropped),
        (records.user_agent.isin(list(bots)) if bots else ibis.literal(False), "bot"),
        (extension.isin([name.lower() for name in static_extensions]), "static asset"),
        else_=ibis.null("string"),
    )
