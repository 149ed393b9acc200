"""Texts as numbers, and the currencies that stand beside amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings import Source
from persona_pipelines.settings.sources import NumberFormat, Reading
from persona_pipelines.warehouse import functions

BLANK_MARKS = ("\u00a0", "\u202f", "\u2009")
CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF "
    "DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW "
    "KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED "
    "VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG HRK DEM FRF ITL ESP NLG ATS BEF FIM PTE IEP GRD LTL LVL EEK SKK SIT"
)
"""Currencies of ISO 4217, and those that the euro took the place of."""
SIGN_OR_CODE = rf"(?:[A-Z]{{1,2}}\$|{'|'.join(CODES.split())}|\p{{Sc}}|kr\.?|zł|Kč|Ft|lei|Fr\.?|руб\.?)"
CURRENCIES = {
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "₽": "RUB",
    "руб": "RUB",
    "руб.": "RUB",
    "₺": "TRY",
    "₩": "KRW",
    "₪": "ILS",
    "₫": "VND",
    "₴": "UAH",
    "₱": "PHP",
    "฿": "THB",
    "zł": "PLN",
    "Kč": "CZK",
    "Ft": "HUF",
    "lei": "RON",
    "R$": "BRL",
    "US$": "USD",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
    "MX$": "MXN",
    "NT$": "TWD",
}
"""What signs of currencies mean, where that is one thing."""
PARTS_OF_CURRENCIES = {"GBp": "GBP", "GBX": "GBP", "ZAc": "ZAR", "ZAC": "ZAR", "ILA": "ILS", "ILa": "ILS", "USd": "USD", "EUc": "EUR"}
"""Names of hundredths, which stand beside prices of shares and of some shops, and of what they are parts."""
SHARED_SIGNS = {
    "$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN", "TWD", "ARS", "CLP", "COP", "UYU", "BRL"),
    "¥": ("JPY", "CNY"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
    "kr.": ("SEK", "NOK", "DKK", "ISK"),
    "Fr": ("CHF", "XAF", "XOF"),
    "Fr.": ("CHF", "XAF", "XOF"),
}
"""Currencies that write the same sign."""


def read_number(
    reading: Reading, text: ir.StringValue, source: Source, is_number: ir.BooleanValue | None = None, money: bool = True
) -> ir.FloatingValue:
    """A text as a number, null where it is none, as ``number`` of the field or of its source says.

    Args:
        is_number: whether the record has a number there, which is written as everywhere.
        money: whether it may be an amount, with a currency beside it.
    """
    plain = ibis.ifelse(text.contains("_"), None, text).try_cast("float64")  # the engine takes 1_000 for a number
    written = reading.number or source.number
    if written is not None:
        as_said = as_everywhere(written, text, money).try_cast("float64")
        plain = as_said if is_number is None else ibis.ifelse(is_number, plain, as_said)
    # To the engine NaN is a number, and greater than all others.
    return ibis.ifelse(functions.isfinite(plain), plain, None)


def as_everywhere(written: NumberFormat, text: ir.StringValue, money: bool = False) -> ir.StringValue:
    """A number that is written as said, with a point and without marks of thousands; null where the text is none.

    Args:
        money: whether a currency may stand before it, behind it, or both.
    """
    sign = f"{SIGN_OR_CODE}?" if money else ""
    mark = " " if written.thousands in BLANK_MARKS else written.thousands
    decimal, thousands = re.escape(written.decimal), re.escape(mark)
    whole = (
        r"[0-9]+"
        if not thousands
        else rf"[1-9][0-9]{{0,2}}(?:{thousands}[0-9]{{3}})+|[1-9][0-9]?(?:{thousands}[0-9]{{2}})+{thousands}[0-9]{{3}}|[0-9]+"
    )
    number = rf"(?:{whole})(?:{decimal}[0-9]*)?|{decimal}[0-9]+"
    exponent = r"(?:[eE][+-]?[0-9]+)?"
    pattern = rf"^\(?\s*[+-]?\s*{sign}\s*[+-]?\s*((?:{number}){exponent})\s*[+-]?\s*{sign}\s*[+-]?\)?$"
    plain = text
    for blank in BLANK_MARKS:
        plain = plain.replace(blank, " ")
    plain = plain.replace("\u2212", "-").strip()
    plain = plain.re_replace(rf"([0-9]){decimal}(?:--?|[–—])(\s*{sign}\s*\)?)$", r"\1\2")  # no cents: 19,-

    def signed(plain: ir.StringValue) -> ir.StringValue:
        digits = plain.re_extract(pattern, 1).nullif("")
        if mark:
            digits = digits.replace(mark, "")
        if written.decimal != ".":
            digits = digits.replace(written.decimal, ".")
        signs = plain.re_replace(r"[eE][+-][0-9]+", "")
        one_bracket = plain.startswith("(") != plain.endswith(")")
        return functions.once(
            digits,
            lambda digits: ibis.cases(
                (one_bracket | signs.re_search(r"[+-].*[+-]|^\(.*[+-]"), ibis.null("string")),  # one sign is enough
                (plain.startswith("(") | signs.contains("-"), "-" + digits),
                else_=digits,
            ),
        )

    return functions.once(plain, signed)


LARGEST_EXACT = 2**53


def is_one_of(
    reading: Reading, text: ir.StringValue, words: Sequence[str], source: Source, is_number: ir.BooleanValue | None = None
) -> ir.BooleanValue:
    """Whether a text is one of some words, or the same number as one of them: 2.0 and, as ``number`` says, 2,00 are 2; 02 is not."""
    told = text.isin(words)
    numbers = [float(word) for word in words if PLAIN_NUMBER.fullmatch(word) and abs(float(word)) < LARGEST_EXACT]
    if not numbers:
        return told
    return told | read_number(reading, text, source, is_number, money=False).isin(numbers) & ~text.re_search(r"^[+-]?0[0-9]")


PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def meant(currency: ir.StringValue) -> ir.StringValue:
    """The code of a currency that may be written as its sign; the sign where several write it."""
    return currency.cases(*CURRENCIES.items(), else_=currency)


def currencies_beside(amount: ir.StringValue) -> list[ir.StringValue]:
    """The signs or codes of currencies before and behind an amount; null without one."""
    first, last = amount.re_extract(SIGN_OR_CODE, 0), amount.re_extract(rf"({SIGN_OR_CODE})[\s)+-]*$", 1)
    return [first.nullif(""), last.nullif("")]


def most_exact(currencies: Sequence[ir.StringValue]) -> ir.StringValue:
    """Of currencies that may be one the first code; without any the first sign that several write."""
    codes = [ibis.ifelse(currency.isin(list(SHARED_SIGNS)), None, currency) for currency in currencies]
    return ibis.coalesce(*codes, *currencies)


def may_be_one(one: ir.StringValue, other: ir.StringValue) -> ir.BooleanValue:
    """Whether two of ``meant`` may be the same currency; null where one is missing."""
    shared = [pair for sign, codes in SHARED_SIGNS.items() for code in codes for pair in (f"{sign} {code}", f"{code} {sign}")]
    return (one == other) | (one + " " + other).isin(shared)
