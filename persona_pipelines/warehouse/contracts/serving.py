"""Tables of the lists that the live service has served, and of what came of them."""

from __future__ import annotations

from dataclasses import replace

from persona_pipelines.warehouse.contracts.parts import FILE, ITEM, LINE, MODEL, Column, Table, count, number, share

LIST_DAY = Column("day", "date", "Day of the folder of the file: the day on which the list was served (UTC).", required=True)
LIST_FILE = replace(FILE, description="File of the log of served lists, below its folder.")
LIST_ID = Column("list_id", "string", "The list, as its answer named it.", required=True)
POSITION = Column("position", "int64", "Place of the item in the list, from 1.", required=True, minimum=1)
MODEL_VERSION = Column("model_version", "string", "Version of the recommender in MLflow.", required=True)

LIST_FILES = Table(
    "serving",
    "list_files",
    "Files of the log of served lists that have been read, written in the same transaction as their rows.",
    (
        LIST_DAY,
        LIST_FILE,
        Column("size_bytes", "int64", "Size when read.", "bytes", required=True, minimum=0),
        count("lists", "Lists in it.", "lists"),
        count("damaged", "Lines that are not as they were written; they are left out.", "lines"),
    ),
    ("source_file",),
)

SERVED_LISTS = Table(
    "serving",
    "served_lists",
    "What the live service has shown: a row for each item of each list.",
    (
        LIST_DAY,
        LIST_FILE,
        LINE,
        LIST_ID,
        POSITION,
        replace(ITEM, required=True),
        Column("served_at", "timestamp", "When the list was served, UTC.", required=True),
        Column("person", "string", "Pseudonym of the user or device; null for a list that is the same for all.", personal=True),
        Column(
            "is_device", "boolean", "Whether the person is known as a device (anonymous_id) and not as a user (user_id).", required=True
        ),
        Column("slot", "string", "Where the list was shown, as the request named it."),
        MODEL,
        MODEL_VERSION,
        Column("experiment", "string", "The experiment that the person took part in; null without any."),
        Column("variant", "string", "The person's variant in it."),
        Column(
            "shadow", "boolean", "Whether the list was made beside the one that was shown, to be compared; nobody saw it.", required=True
        ),
        Column("propensity", "float64", "Probability that this item stood at this place.", required=True, minimum=1e-9, maximum=1),
        Column("item_source", "string", "Where the item came from: live, nightly, popular ...", required=True),
    ),
    ("list_id", "position"),
)

OUTCOME = (
    Column("first_click_at", "timestamp", "First click on the item or opening of its page that counts for the row, UTC; null without any."),
    Column("first_cart_at", "timestamp", "First time that it was put into the cart, likewise."),
    Column("first_conversion_at", "timestamp", "First purchase or booking of it, likewise."),
)

LIST_OUTCOMES = Table(
    "serving",
    "list_outcomes",
    "What came of each item that was shown to a person: events of the person with the item within serving.outcome_hours, each counted once, "
    "for the last list that had shown it. No rows of lists that are the same for all, of shadow lists, and of people without consent.",
    (
        LIST_DAY,
        LIST_ID,
        POSITION,
        Column("complete", "boolean", "Whether the hours were over when the events were read; rates are of complete ones.", required=True),
        Column("clicked", "boolean", "Whether it was clicked or its page was opened.", required=True),
        Column("added_to_cart", "boolean", "Whether it was put into the cart.", required=True),
        Column("converted", "boolean", "Whether it was bought or booked.", required=True),
        replace(number("revenue", "What was paid for it; refunds are not taken off.", "currency"), required=True),
        *OUTCOME,
    ),
    ("list_id", "position"),
)


def _with_interval(column: Column, what: str) -> tuple[Column, Column, Column]:
    bound = replace(column, description=f"Lower bound of the 95 % confidence interval of {what}; people, not lists, were drawn.")
    return (
        column,
        replace(bound, name=f"{column.name}_low"),
        replace(bound, name=f"{column.name}_high", description=bound.description.replace("Lower", "Upper")),
    )


LIST_RESULTS = Table(
    "serving",
    "list_results",
    "How the lists of each model do: all of them, and by slot, segment of the person, and position. No row is of fewer people than "
    "segments.minimum_segment_size.",
    (
        MODEL,
        MODEL_VERSION,
        Column("experiment", "string", "The experiment, else none.", required=True),
        Column("variant", "string", "The variant in it, else none.", required=True),
        Column("dimension", "string", "all, slot, segment or position.", required=True),
        Column("value", "string", "Which slot, segment or position; none where a list has none; all for all.", required=True),
        replace(count("people", "People with such a list.", "people"), minimum=1),
        replace(count("lists", "Lists; at a position, lists that have it.", "lists"), minimum=1),
        count("clicks", "Lists of which an item (at a position, that item) was clicked.", "lists"),
        count("conversions", "Lists of which an item was bought or booked.", "lists"),
        replace(number("revenue", "What was paid for items of the lists.", "currency"), required=True),
        *_with_interval(replace(share("click_rate", "Lists with a click, of all lists."), required=True), "click_rate"),
        *_with_interval(
            replace(share("conversion_rate", "Lists with a purchase or booking, of all lists."), required=True), "conversion_rate"
        ),
        replace(number("revenue_per_list", "Revenue over lists.", "currency"), required=True),
        number(
            "revenue_per_list_low",
            "Lower bound of its 95 % confidence interval; null where nobody bought, or one person alone.",
            "currency",
            None,
        ),
        number("revenue_per_list_high", "Upper bound of it, likewise.", "currency", None),
    ),
    ("model", "model_version", "experiment", "variant", "dimension", "value"),
)
