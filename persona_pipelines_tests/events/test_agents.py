"""Bots and devices by user agent."""

import pytest

from persona_pipelines.events.agents import described

ANDROID = "Mozilla/5.0 (Linux; Android 12; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 {}Safari/537.36"
PEOPLE = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36": "desktop",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko": "desktop",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36": "desktop",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Mobile/15E148 Safari/604.1": "mobile",
    "Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148": "tablet",
    ANDROID.format("SM-T827R4", ""): "tablet",
    ANDROID.format("Pixel 8", "Mobile "): "mobile",
    ANDROID.format("CUBOT X19", "Mobile "): "mobile",
    ANDROID.format("M BOT TAB 101", ""): "tablet",
    "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0 Safari/537.36": "tv",
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/5.0 TV Safari/537.36": "tv",
    "Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)": "console",
    "okhttp/4.9.0": "app",
    "MyShop/1 CFNetwork/1408.0.4 Darwin/22.5.0": None,
    "something else": None,
}
BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "python-requests/2.32",
    "FeedFetcher-Google",
    "Mozilla/5.0 (compatible; NeverHeardOfBot/1.0; +http://example.com)",
    "UptimeRobot/2.0",
    "Java/1.8.0_201",
]


def test_people_are_no_bots_and_their_devices_are_told_apart() -> None:
    found = described(PEOPLE)
    assert (
        dict(zip(found["user_agent"], [value if isinstance(value, str) else None for value in found["agent_device"]], strict=True))
        == PEOPLE
    )
    assert not found["bot"].any()


def test_bots_are_known_by_their_agent() -> None:
    found = described([*BOTS, None, ""])
    assert found["user_agent"].tolist() == BOTS
    assert found["bot"].all()


@pytest.mark.parametrize(
    ("agent", "settings", "bot"),
    [
        ("OwnChecker 1.0", {}, False),
        ("OwnChecker 1.0", {"bot_patterns": ["^OwnChecker"]}, True),
        ("okhttp/4.9.0", {"bot_patterns": ["^okhttp"]}, True),
        ("curl/8.5.0", {"not_bots": ["^curl"]}, False),
        ("OwnChecker 1.0", {"bot_patterns": ["^Own"], "not_bots": ["Checker"]}, False),
    ],
)
def test_the_configuration_adds_bots_and_exempts_agents(agent: str, settings: dict[str, list[str]], bot: bool) -> None:
    assert described([agent], **settings)["bot"].tolist() == [bot]
