"""Settings of streams: what is wrong is named, and passwords are never shown."""

import pytest

from persona_pipelines.settings import ConfigurationError

LOG = {
    "name": "clicks",
    "kind": "events",
    "path": "c.csv",
    "format": "csv",
    "fields": {"timestamp": "at", "user_id": "u", "event_type": "t"},
}
REDIS = {"type": "redis", "url": "redis://ann:hunter2@127.0.0.1:6379/0", "stream": "clicks"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://ann:hunter2@h"}, "url: found 'http://***@h'; expected an address of redis, such as redis://127.0.0.1:6379/0"),
        ({"url": "redis://ann:hunter2@h:many"}, "url: found 'redis://***@h:many'; expected an address of redis with the number of a port"),
        ({"type": "nats"}, "url: found 'redis://***@127.0.0.1:6379/0'; expected an address of nats"),
        ({"type": "rabbit"}, "type: found 'rabbit'; expected 'redis', 'nats' or 'kafka'"),
        ({"stream": "redis://ann:hunter2@h"}, "stream: found 'redis://***@h'; expected a name of at most 200"),
        ({"stream": ""}, "stream: found ''; expected a name of at most 200"),
        ({"batch": 0}, "batch: found 0; expected"),
        ({"subject": "shop.clicks"}, "subject: found 'shop.clicks'; expected none: subjects are of NATS, and this is redis"),
        ({"type": "nats", "url": "nats://h", "group": "a.b"}, "group: found 'a.b'; expected a name without . and :, as nats has them"),
        ({"type": "kafka", "url": "kafka://h", "stream": "a:b"}, "stream: found 'a:b'; expected a name without :, as kafka has them"),
        ({"grup": "x"}, "grup: found 'x'; not a setting known here; expected group?"),
    ],
)
def test_a_wrong_setting_is_named_and_no_password_shown(configure, change: dict, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configure(LOG, serving={"streams": [{**REDIS, **change}]})
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_streams_of_one_name_need_names_of_their_own(configure) -> None:
    with pytest.raises(ConfigurationError, match=r"streams\[1\].name: 'clicks' is taken"):
        configure(LOG, serving={"streams": [REDIS, {**REDIS, "url": "redis://other"}]})
    named = configure(LOG, serving={"streams": [REDIS, {**REDIS, "url": "redis://other", "name": "others"}]}).serving.streams
    assert [stream.known_as for stream in named] == ["clicks", "others"]
    assert named[1].dead_letter_stream == "clicks-dead-letters"


def test_a_password_comes_from_the_environment_and_is_not_shown(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "hunter2")
    settings = configure(LOG, serving={"publish": {**REDIS, "url": "redis://:${BROKER_PASSWORD}@127.0.0.1"}})
    assert settings.serving.publish.url.get_secret_value() == "redis://:hunter2@127.0.0.1"
    assert "hunter2" not in repr(settings) + settings.model_dump_json()
