"""Network bridges for containers, each with a network that nothing else on the machine has."""

import json
import subprocess
from typing import Any

# Of the addresses for private networks (RFC 1918), those that are tried: 10.213.N.0/24.
_NETWORKS = range(1, 255)


class Bridge:
    """A bridge of a name of its own, which is there until it is removed."""

    def __init__(self) -> None:
        for number in _NETWORKS:
            # Fifteen bytes at most (linux/if.h). A name that is there already is refused.
            self.name = f"envkit{number}"
            if self._taken(number) or _ip("link", "add", self.name, "type", "bridge"):
                continue
            assert not _ip("addr", "add", f"10.213.{number}.1/24", "dev", self.name)
            assert not _ip("link", "set", self.name, "up")
            return
        raise OSError("no bridge can be made here")

    def _taken(self, number: int) -> bool:
        command = ["ip", "-json", "-4", "addr"]
        answer = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        links: list[Any] = json.loads(answer.stdout)
        addresses = [one.get("local", "") for link in links for one in link["addr_info"]]
        return any(address.startswith(f"10.213.{number}.") for address in addresses)


def remove(name: str) -> None:
    """Remove a bridge."""
    _ip("link", "delete", name)


def _ip(*arguments: str) -> int:
    """Run ip(8) and return its exit code."""
    command = ["ip", *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode
