"""Who shops: personas with different tastes, attention, price sensitivity, rhythm and loyalty; and what is sold."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np

CATEGORIES = ("Garden", "Kitchen", "Books", "Music", "Fashion", "Beauty", "Wine", "Outdoor", "Toys", "Electronics")
BRANDS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper", "Larch", "Maple")
ADJECTIVES = ("Classic", "Modern", "Little", "Grand", "Quiet", "Bright", "Wild", "Simple", "Nordic", "Old", "Clever", "Soft")
NOUNS = {
    "Garden": ("Spade", "Planter", "Lantern", "Hose"),
    "Kitchen": ("Pan", "Knife", "Mug", "Kettle"),
    "Books": ("Novel", "Atlas", "Diary", "Reader"),
    "Music": ("Record", "Songbook", "Strings", "Metronome"),
    "Fashion": ("Scarf", "Jacket", "Boots", "Belt"),
    "Beauty": ("Soap", "Cream", "Brush", "Scent"),
    "Wine": ("Red", "White", "Rosé", "Sparkling"),
    "Outdoor": ("Tent", "Lamp", "Rucksack", "Bottle"),
    "Toys": ("Puzzle", "Train", "Kite", "Blocks"),
    "Electronics": ("Radio", "Speaker", "Charger", "Camera"),
}
COUNTRIES = ("DE", "FR", "GB", "NL", "US")
AGENTS = {
    "desktop": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
        "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    ),
    "mobile": (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
    ),
    "tablet": (
        "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    ),
}


@dataclass(frozen=True)
class Persona:
    """What a kind of customer is like. Rates are a day, shares between 0 and 1, hours local."""

    name: str
    share: float
    tastes: dict[str, float]
    visits_a_day: float
    events_a_visit: float
    dwell_seconds: float
    buying: float
    price_quantile: float
    hours: tuple[float, float]
    weekend: float
    devices: dict[str, float]
    clicks_on_mail: float
    social: float
    searching: float
    rating: float
    magazine: float


PERSONAS = (
    Persona(
        "bargain hunters",
        0.26,
        {"Garden": 5, "Kitchen": 4, "Toys": 2},
        0.16,
        9,
        25,
        0.10,
        0.15,
        (20.0, 1.5),
        1.6,
        {"mobile": 0.8, "desktop": 0.2},
        0.35,
        0.02,
        0.15,
        0.10,
        0.05,
    ),
    Persona(
        "premium loyalists",
        0.18,
        {"Wine": 5, "Kitchen": 2, "Electronics": 4},
        0.22,
        6,
        60,
        0.28,
        0.85,
        (10.0, 1.5),
        0.5,
        {"desktop": 0.9, "tablet": 0.1},
        0.15,
        0.01,
        0.05,
        0.30,
        0.10,
    ),
    Persona(
        "night readers",
        0.20,
        {"Books": 6, "Music": 4},
        0.14,
        7,
        180,
        0.12,
        0.45,
        (1.5, 1.2),
        1.0,
        {"tablet": 0.7, "mobile": 0.3},
        0.05,
        0.02,
        0.10,
        0.35,
        0.40,
    ),
    Persona(
        "social explorers",
        0.20,
        {"Fashion": 5, "Beauty": 5, "Outdoor": 2},
        0.18,
        10,
        35,
        0.08,
        0.55,
        (15.0, 2.0),
        1.2,
        {"mobile": 0.95, "tablet": 0.05},
        0.10,
        0.30,
        0.20,
        0.10,
        0.10,
    ),
    Persona(
        "window shoppers",
        0.16,
        {},
        0.06,
        4,
        12,
        0.01,
        0.50,
        (13.0, 3.0),
        1.0,
        {"desktop": 0.6, "mobile": 0.4},
        0.02,
        0.01,
        0.05,
        0.01,
        0.15,
    ),
)


@dataclass(frozen=True)
class Item:
    item_id: str
    title: str
    category: str
    brand: str
    price: float
    popularity: float
    price_quantile: float


@dataclass
class Device:
    cookie: str
    address: str
    kind: str
    agent: str


@dataclass
class Person:
    """One customer. ``known`` people log in now and then; the others stay anonymous."""

    user_id: str
    persona: Persona
    tastes: np.ndarray
    devices: list[Device]
    country: str
    known: bool
    signup: dt.date
    gender: str
    age_group: str
    consent: tuple[bool, bool]
    bought: list[str] = field(default_factory=list)


def make_items(generator: np.random.Generator, count: int) -> list[Item]:
    """Items with Zipf popularity within the shop and log-normal prices around the category's level."""
    order = generator.permutation(count)
    items = []
    for number in range(count):
        category = CATEGORIES[number % len(CATEGORIES)]
        quantile = float(generator.random())
        price = round(float(np.exp(np.log(20 + 8 * (number % len(CATEGORIES))) + 1.3 * (quantile - 0.5))), 2)
        noun = NOUNS[category][int(generator.integers(len(NOUNS[category])))]
        title = f"{ADJECTIVES[int(generator.integers(len(ADJECTIVES)))]} {noun} No. {number + 1}"
        brand = BRANDS[int(generator.integers(len(BRANDS)))]
        items.append(Item(f"i{number + 1:05d}", title, category, brand, price, 1.0 / (order[number] + 3) ** 0.8, quantile))
    return items


def make_people(generator: np.random.Generator, count: int, start: dt.date) -> list[Person]:
    """Customers; about one in thirty shares a device with the one before."""
    people: list[Person] = []
    shares = np.array([persona.share for persona in PERSONAS])
    for number in range(count):
        persona = PERSONAS[int(generator.choice(len(PERSONAS), p=shares / shares.sum()))]
        weights = np.array([persona.tastes.get(category, 0.4 if persona.tastes else 1.0) for category in CATEGORIES])
        tastes = generator.dirichlet(weights * 1.5)
        devices = []
        kinds = list(persona.devices)
        for _ in range(1 + int(generator.random() < 0.3)):
            kind = kinds[int(generator.choice(len(kinds), p=list(persona.devices.values())))]
            address = (
                f"{10 + number % 180}.{int(generator.integers(1, 250))}.{int(generator.integers(1, 250))}.{int(generator.integers(1, 250))}"
            )
            agent = AGENTS[kind][int(generator.integers(len(AGENTS[kind])))]
            devices.append(Device(f"c{generator.integers(1 << 40):010x}", address, kind, agent))
        if people and generator.random() < 1 / 30:
            devices[0] = people[-1].devices[0]
        consent = (bool(generator.random() < 0.85), bool(generator.random() < 0.6))
        ages = ("18-24", "25-34", "35-49", "50-64", "65+")
        people.append(
            Person(
                f"u{number + 1:06d}",
                persona,
                tastes,
                devices,
                COUNTRIES[int(generator.integers(len(COUNTRIES)))],
                bool(generator.random() < 0.9),
                start - dt.timedelta(days=int(generator.integers(1, 900))),
                ("f", "m", "x")[int(generator.choice(3, p=[0.49, 0.49, 0.02]))],
                ages[int(generator.integers(len(ages)))],
                consent,
            )
        )
    return people
