"""From raw behaviour logs to cleaned events, features, segments, profiles and recommendations."""

__version__ = "0.1.0"
