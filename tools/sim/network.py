"""Owns the simulated network cable: the host's network with a switch in it."""


class SwitchedNetwork:
    """A network role whose link can be cut: open streams break, new ones fail."""

    def __init__(self, network) -> None:
        """network: the one that is really there, with join() and open()."""
        self._network = network
        self._writers = []
        self.is_up = True

    def switch(self, is_on: bool) -> None:
        """Cut the link, or mend it. What was open when it was cut stays broken."""
        self.is_up = is_on
        if not is_on:
            for writer in self._writers:
                writer.close()
            self._writers = []

    async def join(self) -> bool:
        """Join the network; False while the link is cut."""
        return self.is_up and await self._network.join()

    async def open(self, host: str, port: int, psk):
        """Open a stream like the real network. Raises OSError while the link is cut."""
        if not self.is_up:
            raise OSError("the network is down")
        reader, writer = await self._network.open(host, port, psk)
        if not self.is_up:
            writer.close()
            raise OSError("the network is down")
        self._writers = self._writers[-3:]  # the last few are all that can still be open
        self._writers.append(writer)
        return reader, writer
