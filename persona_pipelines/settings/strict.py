"""What all settings share: unknown names are errors, and nothing changes after loading."""

import datetime as dt
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,47}$"
CONFIGURATION_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,47}$"
CURRENCY_PATTERN = r"^[A-Z]{3}$"
OWNER_PATTERN = r"^(?:[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|team:[A-Za-z0-9_]+)$"
STREAM_PATTERN = r"^[A-Za-z0-9_.:-]{1,200}$"
MEMORY_PATTERN = r"^[1-9][0-9]{0,5}(?:\.[0-9]+)? ?(?:[MGTmgt][iI]?[bB])$"
MOST = 2**31 - 1
MOST_DAYS = 36_500
"""Of a setting that is a time in days: a century."""
MOST_OF_A_TIME = {"_seconds": MOST_DAYS * 86_400, "_minutes": MOST_DAYS * 1_440, "_hours": MOST_DAYS * 24, "_days": MOST_DAYS}
"""The same of settings of other units, by the end of their names."""
LAST_YEAR = 9_899
"""Of a setting that is a date: a century later there is still a calendar."""
Seed = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
NOT_WRITTEN = ("file", "home")
"""What is a part of the settings, and nothing that a configuration says."""
PATTERNS_IN_WORDS = {
    NAME_PATTERN: "a name of at most 48 small letters, digits and _, a letter first",
    CONFIGURATION_PATTERN: "a name of at most 48 small letters, digits, '.', '_' and '-', a letter or digit first",
    CURRENCY_PATTERN: "the three capital letters of a currency, such as EUR",
    OWNER_PATTERN: "an e-mail address, or team: and the name of a team",
    STREAM_PATTERN: "a name of at most 200 letters, digits, '_', '-', '.' and ':'",
    MEMORY_PATTERN: "an amount of memory such as 4GB or 500MB",
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _countable(self) -> Self:
        """Libraries count in 32 bits and know moments up to the year 9999: beyond them a run would fail late, and in their words."""
        for name, value in self:
            if isinstance(value, int) and abs(value) > MOST:
                raise ValueError(f"{name}: found {value}; expected at most {MOST:,}")
            if isinstance(value, int | float):
                most = next((most for end, most in MOST_OF_A_TIME.items() if name.endswith(end)), None)
                if most is not None and value > most:
                    raise ValueError(f"{name}: found {value:g}; expected at most {most:,}, a century")
            if isinstance(value, dt.date) and value.year > LAST_YEAR:
                raise ValueError(f"{name}: found {value}; expected a year up to {LAST_YEAR}")
        return self
