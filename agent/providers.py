"""Which provider does what, and what each needs to do it. Pure, but for looking for a package.

The order of a row is the order in which providers are tried for calls whose persona asks for none.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final, TypeAlias

from personas.providers import Kind

#: Each inner tuple names settings of which one has to be there; all inner tuples are needed.
Needs: TypeAlias = tuple[tuple[str, ...], ...]

#: The kinds that a call needs; speech to speech, where a persona asks for it, stands in for them.
KINDS: Final[tuple[Kind, ...]] = ("stt", "llm", "tts")

_AZURE_OPENAI: Final = (("AZURE_OPENAI_API_KEY",), ("AZURE_OPENAI_ENDPOINT",))
_OPENAI: Final[Needs] = (("OPENAI_API_KEY",),)
_DEEPGRAM: Final[Needs] = (("DEEPGRAM_API_KEY",),)

NEEDS: Final[Mapping[Kind, Mapping[str, Needs]]] = MappingProxyType(
    {
        "stt": MappingProxyType(
            {
                "deepgram": _DEEPGRAM,
                "azure": (("AZURE_SPEECH_KEY",), ("AZURE_SPEECH_REGION", "AZURE_SPEECH_HOST")),
                "azure_openai": (*_AZURE_OPENAI, ("AZURE_OPENAI_STT_DEPLOYMENT",)),
                "openai": _OPENAI,
            }
        ),
        "llm": MappingProxyType(
            {
                "azure_openai": (*_AZURE_OPENAI, ("AZURE_OPENAI_DEPLOYMENT",)),
                "openai": _OPENAI,
            }
        ),
        "tts": MappingProxyType(
            {
                "azure": (("AZURE_SPEECH_KEY",), ("AZURE_SPEECH_REGION", "AZURE_SPEECH_ENDPOINT")),
                "elevenlabs": (("ELEVEN_API_KEY",),),
                "deepgram": _DEEPGRAM,
                "azure_openai": (*_AZURE_OPENAI, ("AZURE_OPENAI_TTS_DEPLOYMENT",)),
                "openai": _OPENAI,
            }
        ),
        "speech_to_speech": MappingProxyType(
            {
                "openai": _OPENAI,
                "google": (("GOOGLE_API_KEY",),),
            }
        ),
    }
)

#: LiveKit's plugin for each provider; the last two come with extras of their own.
PACKAGES: Final = MappingProxyType(
    {
        "deepgram": "livekit.plugins.deepgram",
        "azure": "livekit.plugins.azure",
        "azure_openai": "livekit.plugins.openai",
        "openai": "livekit.plugins.openai",
        "elevenlabs": "livekit.plugins.elevenlabs",
        "google": "livekit.plugins.google",
    }
)


def missing(needs: Needs, is_set: Callable[[str], bool]) -> tuple[str, ...]:
    """Name what is not there of *needs*; of several that would do, the first."""
    return tuple(any_of[0] for any_of in needs if not any(is_set(name) for name in any_of))


def wanted(kind: Kind) -> str:
    """Say what would have to be set for *kind*, in words."""
    ways = (" and ".join(" or ".join(any_of) for any_of in needs) for needs in NEEDS[kind].values())
    return f"{kind}: " + "; or ".join(ways)


@cache
def is_installed(package: str) -> bool:
    """Whether *package* could be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
