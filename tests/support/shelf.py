"""A store of one process, in memory."""

from __future__ import annotations


class Shelf:
    """Somebody's own store, of this process."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def write(self, name, data):
        self.objects[name] = data

    def read(self, name):
        return self.objects[name]

    def names(self, prefix):
        return [name for name in list(self.objects) if name.startswith(prefix)]

    def remove(self, name):
        self.objects.pop(name, None)
