"""What is known of a process that serves a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Replica:
    """One process that serves, or should."""

    address: str
    version: str = ""
    """What it answers with; empty for one that does not answer."""
    since: str = ""
    """Since when: UTC, ISO 8601."""
    precision: str = ""
    refused: str = ""
    """The version that it was told to serve and can't; empty where all is well."""
    fault: str = ""
    """Why it can't serve that version, or why it does not answer."""
