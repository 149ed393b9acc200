"""The names that every room uses: the stages of the flow, and the event types with the weight each lends to a user's interest in an item.

The names follow the Segment and GA4 e-commerce vocabularies where these have a name for the action. A weight of zero
means that the event says nothing about the item (a page view) or nothing good about it (a refund is negative).
"""

from typing import NamedTuple

STAGES = ("logs", "events", "features", "segments", "profiles", "recommendations", "gallery", "serving")
"""The stages in the order of the flowchart, each with a room of its own."""


class EventType(NamedTuple):
    description: str
    weight: float


EVENT_TYPES: dict[str, EventType] = {
    # Web and application
    "page_view": EventType("A page or screen was shown.", 0.0),
    "search": EventType("A search was made.", 0.0),
    "sign_up": EventType("An account was created.", 0.0),
    "login": EventType("A person identified themselves.", 0.0),
    "logout": EventType("A person signed out.", 0.0),
    "form_submit": EventType("A form was sent.", 0.0),
    "interaction": EventType("Something was done with an item; the log does not say what.", 1.0),
    # Shop
    "item_view": EventType("An item's page was opened.", 1.0),
    "item_list_view": EventType("A list of items was shown.", 0.0),
    "add_to_wishlist": EventType("An item was put on a wish list.", 2.0),
    "add_to_cart": EventType("An item was put into the cart.", 3.0),
    "remove_from_cart": EventType("An item was taken out of the cart.", -1.0),
    "begin_checkout": EventType("The checkout was opened.", 0.0),
    "purchase": EventType("An item was bought; value is what was paid for the line.", 5.0),
    "refund": EventType("A purchase was returned or cancelled; value is what was paid back.", -2.0),
    "rating": EventType("An item was rated; value is the rating.", 4.0),
    "review": EventType("A review of an item was written.", 4.0),
    # What a person says of what is recommended
    "not_interested": EventType("A person does not want an item.", -2.0),
    "less_like_this": EventType("A person wants less of an item's kind.", -2.0),
    "personalisation": EventType("A person says whether lists may be made for them; value is 1 or 0.", 0.0),
    # Messages and advertising
    "impression": EventType("A message, advertisement or recommendation was shown.", 0.0),
    "click": EventType("A message, advertisement or recommendation was clicked.", 1.0),
    "email_open": EventType("An e-mail was opened.", 0.0),
    "unsubscribe": EventType("A person left a mailing list.", 0.0),
    # Social networks
    "like": EventType("An item or post was liked.", 2.0),
    "share": EventType("An item or post was shared.", 3.0),
    "comment": EventType("An item or post was commented on.", 2.0),
    "follow": EventType("A person, brand or topic was followed.", 2.0),
    "unfollow": EventType("A person, brand or topic was no longer followed.", -2.0),
    # Media
    "play": EventType("A film, song or article was played or read; dwell_ms is the time watched.", 2.0),
    "play_complete": EventType("A film, song or article was played to its end.", 3.0),
    "skip": EventType("A film, song or article was skipped.", -1.0),
    "subscribe": EventType("A subscription was taken out.", 3.0),
    # Finance and travel
    "quote": EventType("A quote for a product or journey was asked for.", 2.0),
    "application": EventType("A financial product was applied for.", 3.0),
    "booking": EventType("A journey, stay or service was booked; value is its price.", 5.0),
    "cancellation": EventType("A booking or application was cancelled; value is what was paid back.", -2.0),
    "deposit": EventType("Money was paid in.", 0.0),
    "withdrawal": EventType("Money was paid out.", 0.0),
    "transfer": EventType("Money was moved to another account.", 0.0),
}

SPENDING_TYPES = ("purchase", "booking")
"""Event types whose value counts as monetary value."""

REPAYMENT_TYPES = ("refund", "cancellation")
"""Event types whose value is taken off the monetary value."""

RESPONSE_TYPES = ("click",)
MESSAGE_TYPES = ("impression",)
"""Event types that others cause: no act of the person."""

SOCIAL_TYPES = ("like", "share", "comment", "follow")

VIEWING_TYPES = ("page_view", "search", "item_view", "item_list_view", "begin_checkout", "click", "play")
"""Event types that put something before the person's eyes: the time to what they do next is time that they may have looked at it. A line of an
order or a rating says nothing of the kind. Where one of them is, there is a visit."""

MOMENT, DAY, ORDER = "moment", "day", "order"
"""What the times of a source are worth: moments, days alone, or the order of the records."""

OF_DEVICES_ALONE = (
    "of devices alone there are sessions and items, but no segments, profiles, audiences or lists; where anonymous_id stands for a person, "
    "call it user_id"
)
"""What follows where no event names a person."""

LOG_FORMATS: dict[str, str] = {
    "combined": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "common": '%h %l %u %t "%r" %>s %b',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "host_combined": '%v %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "host_common": '%v %h %l %u %t "%r" %>s %b',
    "nginx_main": '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"',
    "icecast": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %T',
    "gandi": '%v %h %l %u %t (%T s) "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "ovh": '%h %v %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "alb": "$type $time_iso8601 $elb $remote_addr:$client_port $target $request_processing_time $target_processing_time "
    '$response_processing_time $status $target_status $received_bytes $bytes_sent "$request" "$http_user_agent" $ssl_cipher $ssl_protocol ...',
    "elb": "$time_iso8601 $elb $remote_addr:$client_port $target $request_processing_time $target_processing_time "
    '$response_processing_time $status $target_status $received_bytes $bytes_sent "$request" "$http_user_agent" $ssl_cipher $ssl_protocol ...',
    "s3": '$bucket_owner $host [$time_local] $remote_addr $remote_user $request_id $operation $key "$request" $status $error_code '
    '$bytes_sent $object_size $total_time $turn_around_time "$http_referer" "$http_user_agent" ...',
    "haproxy": "$syslog_header$remote_addr:$client_port [$time_local] $frontend $backend "
    '$timers $status $bytes_sent $request_cookie $response_cookie $termination_state $connections $queues $captured_headers"$request" ...',
}
"""Formats of access logs by name; three dots at the end stand for columns that a later version of the server adds."""
