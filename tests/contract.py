"""docs/asyncapi.yaml, and whether a message is one of it."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).parents[1]
_PARAMETERS = {
    "site": "[A-Za-z0-9_-]{1,16}",
    "door": "[A-Za-z0-9_-]{1,24}",
    "issuer": "[0-9a-f]{16}(-[0-9]{1,2})?",
}


class Contract:
    """The topics and payloads as they are documented.

    Attributes:
        document: the whole file.
        operations: by channel name.
    """

    def __init__(self) -> None:
        self.document: dict[str, Any] = yaml.safe_load(
            (ROOT / "docs" / "asyncapi.yaml").read_text()
        )
        self.operations = {
            self._name(one["channel"]): one for one in self.document["operations"].values()
        }
        self._patterns = {
            name: re.compile(_pattern(channel["address"]))
            for name, channel in self.document["channels"].items()
        }

    def channel(self, topic: str) -> str:
        """Return the name of the one channel that a topic belongs to."""
        found = [name for name, pattern in self._patterns.items() if pattern.fullmatch(topic)]
        assert len(found) == 1, f"{topic}: {found or 'no channel'}"
        return found[0]

    def check(self, topic: str, payload: bytes) -> tuple[str, str]:
        """Return channel and message of what was sent. Raises AssertionError where it is neither."""
        name = self.channel(topic)
        faults = {}
        for message_name, reference in self.document["channels"][name]["messages"].items():
            message = self._find(reference)
            try:
                self._check_payload(message, payload)
                return name, message_name
            except (AssertionError, ValueError, jsonschema.ValidationError) as error:
                faults[message_name] = str(error)
        raise AssertionError(f"{topic}: {faults}")

    def lengths(self, layout: list[dict]) -> tuple[int, int, int]:
        """Return the fewest bytes, the most, and the step between."""
        low = high = 0
        step = 1
        for field in layout:
            least, most = field.get("count", (1, 1))
            low += least * field["bytes"]
            high += most * field["bytes"]
            step = field["bytes"] if least != most else step
        return low, high, step

    def layout(self, message: str) -> list[dict]:
        return self.document["components"]["messages"][message]["payload"]["x-layout"]

    def _check_payload(self, message: dict, payload: bytes) -> None:
        schema = message["payload"]
        if message.get("contentType") == "application/json":
            # References in it are to the whole document.
            whole = {**schema, "components": self.document["components"]}
            jsonschema.validate(json.loads(payload), whole, jsonschema.Draft7Validator)
            return
        low, high, step = self.lengths(schema["x-layout"])
        assert low <= len(payload) <= high, f"{len(payload)} bytes"
        assert (len(payload) - low) % step == 0, f"{len(payload)} bytes"

    def _find(self, reference: dict) -> dict:
        found = reference
        while "$ref" in found:
            at: Any = self.document
            for part in found["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            found = at
        if "$ref" in found.get("payload", {}):
            return {**found, "payload": {"$ref": found["payload"]["$ref"]}}
        return found

    @staticmethod
    def _name(reference: dict) -> str:
        return reference["$ref"].rsplit("/", 1)[1]


def _pattern(address: str) -> str:
    parts = re.split(r"\{(\w+)\}", address)
    return "".join(
        _PARAMETERS[part] if at % 2 else re.escape(part) for at, part in enumerate(parts)
    )
