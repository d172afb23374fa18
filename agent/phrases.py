"""What is said word for word when a persona brings no words of its own. Pure."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from agent.instructions import primary


@dataclass(frozen=True, slots=True)
class Phrases:
    """The sentences of one language."""

    goodbye: str
    still_there: str
    time_is_up: str
    transferring: str
    recording: str


PHRASES: Final = MappingProxyType(
    {
        "en": Phrases(
            "Thank you for the call. Goodbye!",
            "Are you still there?",
            "I am sorry, we have to come to an end now.",
            "One moment please, I am putting you through.",
            "This call is recorded.",
        ),
        "de": Phrases(
            "Vielen Dank für das Gespräch. Auf Wiederhören!",
            "Sind Sie noch da?",
            "Es tut mir leid, wir müssen jetzt zum Ende kommen.",
            "Einen Moment bitte, ich verbinde Sie.",
            "Dieses Gespräch wird aufgezeichnet.",
        ),
        "es": Phrases(
            "Gracias por la llamada. ¡Adiós!",
            "¿Sigue usted ahí?",
            "Lo siento, tenemos que terminar ya.",
            "Un momento, por favor, le paso la llamada.",
            "Esta llamada se graba.",
        ),
        "fr": Phrases(
            "Merci de votre appel. Au revoir !",
            "Êtes-vous toujours là ?",
            "Je suis désolé, nous devons terminer maintenant.",
            "Un instant, s'il vous plaît, je vous passe quelqu'un.",
            "Cet appel est enregistré.",
        ),
        "hi": Phrases(
            "बात करने के लिए धन्यवाद। अलविदा!",
            "क्या आप अब भी वहाँ हैं?",
            "क्षमा कीजिए, अब हमें बात समाप्त करनी होगी।",
            "एक क्षण रुकिए, मैं आपकी बात कराती हूँ।",
            "यह कॉल रिकॉर्ड की जा रही है।",
        ),
    }
)


def phrases(language: str | None) -> Phrases:
    """Give the sentences of the language of a tag such as ``de-AT``; unknown: English."""
    return PHRASES.get(primary(language), PHRASES["en"])
