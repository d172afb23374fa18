"""A language model without a model: short, the same every time, and in the persona's name.

It answers who it is from its instructions, repeats what it heard otherwise, and ends the call, or
says the closing message, when the caller says goodbye. What a tool answered, it says as it is. It
stands behind LiveKit's own interface.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from livekit.agents import llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions
from livekit.agents.types import NotGivenOr as Maybe
from livekit.agents.utils import shortuuid

from agent.speech.gestures import use_for

MAX_HEARD_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class Phrases:
    """What is said in one language, and the words that ask for it."""

    greeting: str
    nameless: str
    answer: str
    goodbye: str
    asks_who: tuple[str, ...]
    says_bye: tuple[str, ...]
    you_are: tuple[tuple[str, str], ...]  # how the instructions put it, how the persona does


PHRASES: Final = MappingProxyType(
    {
        "en": Phrases(
            "Hello, this is {name}.",
            "your assistant",
            "{name} here. I heard: {heard}",
            "Goodbye!",
            ("who are you", "your name", "who is this", "what do you do"),
            ("bye", "goodbye", "hang up"),
            (("You are", "I am"),),
        ),
        "de": Phrases(
            "Guten Tag, hier ist {name}.",
            "Ihr Assistent",
            "Hier ist {name}. Ich habe verstanden: {heard}",
            "Auf Wiederhören!",
            ("wer sind sie", "wer bist du", "ihr name", "wie heißen sie"),
            ("tschüss", "wiederhören", "wiedersehen", "ciao"),
            (("Du bist", "Ich bin"), ("Sie sind", "Ich bin")),
        ),
        "es": Phrases(
            "Hola, le habla {name}.",
            "su asistente",
            "Le habla {name}. He entendido: {heard}",
            "¡Adiós!",
            ("quién eres", "quién es usted", "cómo se llama", "su nombre"),
            ("adiós", "hasta luego", "chao"),
            (("Eres", "Soy"), ("Usted es", "Soy")),
        ),
        "fr": Phrases(
            "Bonjour, ici {name}.",
            "votre assistant",
            "Ici {name}. J'ai compris : {heard}",
            "Au revoir !",
            ("qui êtes-vous", "qui es-tu", "votre nom"),
            ("au revoir", "à bientôt", "salut"),
            (("Tu es", "Je suis"), ("Vous êtes", "Je suis")),
        ),
        "hi": Phrases(
            "नमस्ते, मैं {name} बोल रही हूँ।",
            "आपकी सहायक",
            "मैं {name}। मैंने सुना: {heard}",
            "अलविदा!",
            ("आप कौन", "आपका नाम"),
            ("अलविदा", "फिर मिलेंगे"),
            (("आप", "मैं"),),
        ),
    }
)


def reply_to(
    heard: str,
    *,
    persona_name: str | None,
    personality: str | None,
    closing_message: str | None,
    language: str,
) -> str:
    """Say what the persona answers to *heard*; to nothing, it greets. Pure."""
    phrases = PHRASES.get(language, PHRASES["en"])
    name = persona_name or phrases.nameless
    words = " ".join(heard.split())[:MAX_HEARD_CHARS]
    folded = words.casefold()
    if not words:
        return phrases.greeting.format(name=name)
    if says_goodbye(words, language):
        return closing_message or phrases.goodbye
    if any(question in folded for question in phrases.asks_who):
        return _introduction(name, personality, phrases)
    return phrases.answer.format(name=name, heard=words)


def says_goodbye(heard: str, language: str) -> bool:
    """Whether these words end a conversation. Pure."""
    folded = heard.casefold()
    phrases = PHRASES.get(language, PHRASES["en"])
    return any(re.search(rf"(?<!\w){re.escape(bye)}(?!\w)", folded) for bye in phrases.says_bye)


def _introduction(name: str, personality: str | None, phrases: Phrases) -> str:
    first = re.split(r"(?<=[.!?।])\s", (personality or "").strip(), maxsplit=1)[0]
    for said, speaking in phrases.you_are:
        if first.startswith(f"{said} "):
            return speaking + first.removeprefix(said)
    return phrases.greeting.format(name=name)


class ScriptedLLM(llm.LLM[str]):
    """Answers by :func:`reply_to`, word by word, as a streaming model would."""

    def __init__(
        self,
        *,
        persona_name: str | None,
        personality: str | None,
        closing_message: str | None,
        language: str,
    ) -> None:
        super().__init__()
        self.persona_name = persona_name
        self.personality = personality
        self.closing_message = closing_message
        self.language = language

    @property
    def model(self) -> str:
        """Name the model, as LiveKit's metrics show it."""
        return "scripted"

    @property
    def provider(self) -> str:
        """Name the provider, as LiveKit's metrics show it."""
        return "persona-router"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: Maybe[bool] = NOT_GIVEN,
        tool_choice: Maybe[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: Maybe[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        """Answer the last thing the caller said."""
        del parallel_tool_calls, tool_choice, extra_kwargs
        return _ScriptedStream(
            self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options
        )


def _answers(items: Sequence[llm.ChatItem]) -> list[str]:
    """Give what tools answered since anybody said anything."""
    answers: list[str] = []
    for item in reversed(items):
        if not isinstance(item, llm.FunctionCallOutput):
            break
        answers.insert(0, item.output)
    return answers


class _ScriptedStream(llm.LLMStream):
    async def _run(self) -> None:
        script = self._llm
        if not isinstance(script, ScriptedLLM):
            raise TypeError("a scripted stream belongs to a scripted model")
        heard = ""
        for message in self._chat_ctx.messages():
            if message.role == "user":
                heard = message.text_content or ""
        chunk_id = shortuuid("scripted_")
        answers = _answers(self._chat_ctx.items)
        if answers:
            reply = " ".join(answers)
        elif use := use_for(
            heard,
            language=script.language,
            leaving=says_goodbye(heard, script.language),
            offered={tool.id for tool in self._tools},
        ):
            call = llm.FunctionToolCall(
                name=use.name, arguments=use.arguments, call_id=shortuuid("use_")
            )
            delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
            self._event_ch.send_nowait(llm.ChatChunk(id=chunk_id, delta=delta))
            return
        else:
            reply = reply_to(
                heard,
                persona_name=script.persona_name,
                personality=script.personality,
                closing_message=script.closing_message,
                language=script.language,
            )
        for word in re.findall(r"\S+\s*", reply):
            delta = llm.ChoiceDelta(role="assistant", content=word)
            self._event_ch.send_nowait(llm.ChatChunk(id=chunk_id, delta=delta))
