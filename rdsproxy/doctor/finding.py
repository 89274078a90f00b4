"""What a check has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """The proxy works, but not as well or as safely as it could."""
    FAIL = "FAIL"
    """Some of its clients cannot work."""


@dataclass(frozen=True)
class Finding:
    """One check. Holds no secret."""

    level: Level
    subject: str
    """What was looked at."""
    found: str
    remedy: str = ""
    """What to do; empty if there is nothing to do."""

    def __str__(self) -> str:
        line = f"{self.level:<5} {self.subject}: {self.found}"
        return f"{line}\n      {self.remedy}" if self.remedy else line


def ok(subject: str, found: str) -> Finding:
    """Note that all is well."""
    return Finding(Level.OK, subject, found)


def warn(subject: str, found: str, remedy: str) -> Finding:
    """Note what is not good."""
    return Finding(Level.WARN, subject, found, remedy)


def fail(subject: str, found: str, remedy: str) -> Finding:
    """Note what does not work."""
    return Finding(Level.FAIL, subject, found, remedy)


def worst(findings: Sequence[Finding]) -> Level:
    """Give the worst level."""
    levels = list(Level)
    return max((finding.level for finding in findings), key=levels.index, default=Level.OK)
