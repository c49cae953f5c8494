"""What was said in a conversation, as messages to the llm that know what they were made of."""

import re
from collections.abc import Sequence
from typing import Final

from mesh.llm.v1 import llm_pb2
from mesh_gateway.openai import params

INSTRUCTIONS: Final = "instructions"
INPUT: Final = "input"
_OF_MESSAGE: Final = re.compile(r"(messages\[\d+\](?:\.tool_calls\[\d+\])?)(.*)")
_OF_ITEM: Final = {".id": ".call_id", ".tool_call_id": ".call_id"}
_PARAMS: Final = (
    (re.compile(r"^messages$"), INPUT),
    (re.compile(r"^sampling\.max_tokens$"), "max_output_tokens"),
    (re.compile(r"^sampling\.logprobs$"), "top_logprobs"),
    (re.compile(r"^sampling\."), ""),
    (re.compile(r"^structured_output\b.*"), "text.format"),
    (re.compile(r"^tool_choice\..*"), "tool_choice"),
)


class Said:
    """What was said in a conversation.

    Attributes:
        messages: to the llm.
    """

    def __init__(self) -> None:
        self.messages: list[llm_pb2.Message] = []
        self._params: dict[str, str] = {}

    def add(
        self,
        role: "llm_pb2.Role.ValueType",
        content: Sequence[llm_pb2.ContentPart],
        param: str,
        call: str = "",
    ) -> None:
        """Adds a message.

        Args:
            role: of who said it.
            content: what was said.
            param: what it is made of.
            call: id of the call that it answers.
        """
        self._params[f"messages[{len(self.messages)}]"] = param
        self.messages.append(llm_pb2.Message(role=role, content=content, tool_call_id=call))

    def add_call(self, call: llm_pb2.ToolCall, param: str) -> None:
        """Adds a call, to what the assistant said just before: to the llm these are one message.

        Args:
            call: that was made.
            param: what it is made of.
        """
        if not self.messages or self.messages[-1].role != llm_pb2.ROLE_ASSISTANT:
            self.add(llm_pb2.ROLE_ASSISTANT, (), param)
        place, calls = len(self.messages) - 1, self.messages[-1].tool_calls
        self._params[f"messages[{place}].tool_calls[{len(calls)}]"] = param
        calls.append(call)

    def param_of(self, field: str) -> str:
        """The parameter that a field of the llm's request was made of."""
        match = _OF_MESSAGE.fullmatch(field)
        if match is None:
            return params.renamed(field, _PARAMS)
        param, rest = self._params[match[1]], match[2]
        # Of a text there is nothing within.
        return param if param in (INSTRUCTIONS, INPUT) else param + _OF_ITEM.get(rest, rest)
