"""Texts as numbers, and the currencies that stand beside amounts."""

from __future__ import annotations

import re

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings import Source
from persona_pipelines.settings.sources import NumberFormat, Reading

BLANK_MARKS = ("\u00a0", "\u202f", "\u2009")
CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF "
    "DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW "
    "KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED "
    "VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG HRK DEM FRF ITL ESP NLG ATS BEF FIM PTE IEP GRD LTL LVL EEK SKK SIT"
)  # fmt: skip
"""Currencies of ISO 4217, and those that the euro took the place of."""
SIGN_OR_CODE = rf"(?:[A-Z]{{1,2}}\$|{'|'.join(CODES.split())}|\p{{Sc}}|kr\.?|zł|Kč|Ft|lei|Fr\.?|руб\.?)"
CURRENCIES = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "руб": "RUB", "руб.": "RUB", "₺": "TRY", "₩": "KRW", "₪": "ILS", "₫": "VND", "₴": "UAH", "₱": "PHP", "฿": "THB", "zł": "PLN",
    "Kč": "CZK", "Ft": "HUF", "lei": "RON", "R$": "BRL", "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "MX$": "MXN",
    "NT$": "TWD",
}  # fmt: skip
"""What signs of currencies mean, where that is one thing."""
SHARED_SIGNS = {
    "$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN", "TWD", "ARS", "CLP", "COP", "UYU", "BRL"), "¥": ("JPY", "CNY"), "kr": ("SEK", "NOK", "DKK", "ISK"),
    "kr.": ("SEK", "NOK", "DKK", "ISK"), "Fr": ("CHF", "XAF", "XOF"), "Fr.": ("CHF", "XAF", "XOF"),
}  # fmt: skip
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
    if written is None:
        return plain
    as_said = _written_number(written, text, f"{SIGN_OR_CODE}?" if money else "")
    return as_said if is_number is None else ibis.ifelse(is_number, plain, as_said)


def _written_number(written: NumberFormat, text: ir.StringValue, sign: str) -> ir.FloatingValue:
    mark = " " if written.thousands in BLANK_MARKS else written.thousands
    decimal, thousands = re.escape(written.decimal), re.escape(mark)
    whole = (
        r"[0-9]+"
        if not thousands
        else rf"[0-9]{{1,3}}(?:{thousands}[0-9]{{3}})+|[0-9]{{1,2}}(?:{thousands}[0-9]{{2}})+{thousands}[0-9]{{3}}|[0-9]+"
    )
    number = rf"(?:{whole})(?:{decimal}[0-9]*)?|{decimal}[0-9]+"
    exponent = r"(?:[eE][+-]?[0-9]+)?"
    pattern = rf"^\(?\s*[+-]?\s*{sign}\s*[+-]?\s*((?:{number}){exponent})\s*[+-]?\s*{sign}\s*[+-]?\)?$"
    plain = text
    for blank in BLANK_MARKS:
        plain = plain.replace(blank, " ")
    plain = plain.replace("\u2212", "-").strip()
    plain = plain.re_replace(rf"([0-9]){decimal}(?:--?|[–—])(\s*{sign}\s*\)?)$", r"\1\2")  # no cents: 19,-
    digits = plain.re_extract(pattern, 1).nullif("")
    if mark:
        digits = digits.replace(mark, "")
    if written.decimal != ".":
        digits = digits.replace(written.decimal, ".")
    amount = digits.try_cast("float64")
    in_parentheses = plain.startswith("(")
    amount = ibis.ifelse(in_parentheses == plain.endswith(")"), amount, None)
    signs = plain.re_replace(r"[eE][+-][0-9]+", "")
    amount = ibis.ifelse(signs.re_search(r"[+-].*[+-]|^\(.*[+-]"), None, amount)  # one sign is enough
    return ibis.ifelse(in_parentheses | signs.contains("-"), -amount, amount)


def meant(currency: ir.StringValue) -> ir.StringValue:
    """The code of a currency that may be written as its sign; the sign where several write it."""
    return ibis.cases(*((currency == sign, ibis.literal(code)) for sign, code in CURRENCIES.items()), else_=currency)


def currency_beside(amount: ir.StringValue) -> ir.StringValue:
    """The currency whose sign or code stands in a text, as ``meant``; null without one."""
    return meant(amount.re_extract(SIGN_OR_CODE, 0).nullif(""))


def may_be_one(one: ir.StringValue, other: ir.StringValue) -> ir.BooleanValue:
    """Whether two of ``meant`` may be the same currency; null where one is missing."""
    shared = [(one == sign) & other.isin(codes) | (other == sign) & one.isin(codes) for sign, codes in SHARED_SIGNS.items()]
    return ibis.or_(one == other, *shared)
