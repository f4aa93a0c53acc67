"""Owns the simulated network: the host's own with a link that can be lost."""

_LOST = "the network is down"


class SwitchedNetwork:
    """A network role whose link can be lost, as Wi-Fi tells a station that it is.

    Attributes:
        is_up: the link is there; whoever holds a stream looks at it.
        fault: what to tell while it is not.
    """

    def __init__(self, network) -> None:
        """network: the one that is really there, with join() and open()."""
        self._network = network
        self.is_up = True

    @property
    def fault(self) -> str:
        return "" if self.is_up else _LOST

    def switch(self, is_on: bool) -> None:
        """Lose the link, or find it again."""
        self.is_up = is_on

    def configure(self, ssid: str, password: str, gate) -> None:
        """Pass on what network to join."""
        self._network.configure(ssid, password, gate)

    async def join(self) -> bool:
        """Join the network; False while the link is lost."""
        return self.is_up and await self._network.join()

    async def open(self, host: str, port: int, psk):
        """Open a stream like the real network. Raises OSError while the link is lost."""
        if not self.is_up:
            raise OSError(_LOST)
        return await self._network.open(host, port, psk)

    async def exchange(self, host: str, port: int, request: bytes, timeout_ms: int) -> bytes:
        """Exchange datagrams like the real network. Raises OSError while the link is lost."""
        if not self.is_up:
            raise OSError(_LOST)
        return await self._network.exchange(host, port, request, timeout_ms)
