"""How far apart two objective values, or bounds, may be and still count as the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """An absolute difference, and a share of the larger value; both together are allowed."""

    absolute: float
    relative: float

    def is_exceeded(self, difference: float, one: float, other: float) -> bool:
        """Tell whether a difference of two values is more than is allowed."""
        return difference > self.absolute + self.relative * max(abs(one), abs(other))
