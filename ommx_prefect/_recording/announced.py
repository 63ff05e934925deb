"""Store the parameters and the input of a solve durably before its solver starts.

A Run is in memory until it closes, and `kill -9` in the middle of a solve leaves none of it. What
is announced waits beside the attempt's checkpoints, and becomes its Run's parameters and
attachment `instance` only where the attempt left no record of its own.

The instance is written where OMMX will look for it when the solve ends, in the Local Registry, and
linked from there: it is stored once, and from its second solve on nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ommx import Instance, Solution

from ommx_prefect._format.model import (
    INSTANCE_MEDIA_TYPE,
    SOLUTION_MEDIA_TYPE,
    Descriptor,
    describe,
)


@dataclass(frozen=True)
class Announced:
    """The input and the parameters of a solve, known before its solver starts.

    Attributes:
        parameters: Run parameters to be.
        descriptor: The layer of the instance.
        data: Its bytes.
        solutions: Solutions by name, each with its bytes: the best so far, once there is one.
    """

    parameters: Mapping[str, Any]
    descriptor: Descriptor
    data: bytes
    solutions: Mapping[str, tuple[Descriptor, bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Mapping[str, Any], instance: Instance, data: bytes) -> Announced:
        """Announce an instance.

        Args:
            parameters: What will be logged of its solve.
            instance: The instance.
            data: Its `to_v2_bytes()`.
        """
        return cls(parameters, describe(INSTANCE_MEDIA_TYPE, data, instance.annotations), data)

    def beside(self, name: str, solution: Solution) -> Announced:
        """Return a copy with a solution of the instance beside it."""
        data = solution.to_v2_bytes()
        layer = describe(SOLUTION_MEDIA_TYPE, data, solution.annotations)
        return replace(self, solutions={**self.solutions, name: (layer, data)})

    def covers(self, other: Announced) -> bool:
        """Tell whether it has the same input as another, and all parameters of the other."""
        said = other.parameters.items() <= self.parameters.items()
        return said and self.descriptor.digest == other.descriptor.digest
