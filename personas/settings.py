"""How the environment is read: once, frozen, all problems reported together, values never shown.

Order, first wins: the process environment, then ``NAME_FILE`` (the path of a file that holds the
value, as container secrets come), then ``.env.local``, then ``.env`` in the working folder.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from personas.errors import SettingsInvalid

DOTENV_FILES = (".env", ".env.local")  # the later wins


def env_names(name: str, field: FieldInfo) -> tuple[str, ...]:
    """List the variables that set *field*, the proper one first, its aliases after it."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (str(alias or name.upper()),)


def _secret_files(settings_cls: type[BaseSettings]) -> tuple[dict[str, str], dict[str, str]]:
    """Read ``NAME_FILE`` for each setting ``NAME``: values, and problems, by variable name."""
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    for field_name, field in settings_cls.model_fields.items():
        names = env_names(field_name, field)
        given = [(name, path) for name in names if (path := os.environ.get(f"{name}_FILE"))]
        for name, path in given[:1]:
            try:
                values[names[0]] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as exc:
                why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
                problems[names[0]] = (
                    f"{name}_FILE: cannot read the file it names ({why}); check path and rights"
                )
    return values, problems


class _SecretFiles(PydanticBaseSettingsSource):
    """Gives what the files of ``NAME_FILE`` hold; ``Environment.load`` tells what is wrong."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self._values, _ = _secret_files(settings_cls)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = env_names(field_name, field)[0]
        key = name if field.validation_alias else field_name
        return self._values.get(name), key, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for field_name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, field_name)
            if value is not None:
                found[key] = value
        return found


class Environment(BaseSettings):
    """Base of the settings of each process."""

    model_config = SettingsConfigDict(
        frozen=True,
        hide_input_in_errors=True,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
    )

    #: Why a variable is refused, in words that say what to do; by field name.
    fixes: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put ``NAME_FILE`` between the process environment and the dotenv files.

        Each of these is a source of its own: in a common one, a variable of the weaker file would
        beat its alias in the stronger.
        """
        del file_secret_settings, dotenv_settings
        files = (DotEnvSettingsSource(settings_cls, env_file=name) for name in DOTENV_FILES[::-1])
        return init_settings, env_settings, _SecretFiles(settings_cls), *files

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment; *overrides* (by variable name) come from the command line.

        Raises:
            SettingsInvalid: with every problem at once, and no value.
        """
        _, unreadable = _secret_files(cls)
        problems = list(unreadable.values())
        try:
            settings = cls(**{key: value for key, value in overrides.items() if value is not None})
        except ValidationError as exc:
            problems += [
                problem
                for problem in cls._problems(exc)
                if problem.partition(":")[0] not in unreadable
            ]
            raise SettingsInvalid(problems) from None
        if problems:
            raise SettingsInvalid(problems)
        return settings

    @classmethod
    def _problems(cls, exc: ValidationError) -> list[str]:
        problems = []
        by_alias = {
            alias: (names[0], field_name)
            for field_name, field in cls.model_fields.items()
            for names in [env_names(field_name, field)]
            for alias in (*names, *(name.lower() for name in names), field_name)
        }
        for error in exc.errors(include_url=False, include_input=False, include_context=False):
            where = str(error["loc"][0]) if error["loc"] else ""
            name, field_name = by_alias.get(where, (where or "settings", ""))
            said = "is not set" if error["type"] == "missing" else error["msg"]
            said = said.removeprefix("Value error, ")
            fix = cls.fixes.get(field_name, "")
            problems.append(f"{name}: {said}" + (f" ({fix})" if fix else ""))
        return problems

    def origins(self) -> dict[str, str]:
        """Where each value came from: variable name → environment, NAME_FILE, a file, default."""
        files = {name: DotEnvSettingsSource(type(self), env_file=name)() for name in DOTENV_FILES}
        answer = {}
        for field_name, field in type(self).model_fields.items():
            names = env_names(field_name, field)
            answer[names[0]] = self._origin(field_name, names, files)
        return answer

    def _origin(
        self, field_name: str, names: tuple[str, ...], files: Mapping[str, Mapping[str, Any]]
    ) -> str:
        environ = {key.upper() for key, value in os.environ.items() if value}
        for name in names:
            if name in environ:
                return "environment" if name == names[0] else f"environment ({name})"
        for name in names:
            if f"{name}_FILE" in environ:
                return f"{name}_FILE"
        for file in reversed(DOTENV_FILES):
            if {name.lower() for name in names} & {key.lower() for key in files[file]}:
                return file
        return "command line" if field_name in self.model_fields_set else "default"

    def shown(self) -> dict[str, str]:
        """Every setting by variable name, secrets as ``********``, unset ones as ``-``."""
        answer = {}
        for field_name, field in type(self).model_fields.items():
            value = getattr(self, field_name)
            name = env_names(field_name, field)[0]
            if isinstance(value, SecretStr):
                answer[name] = "********" if value.get_secret_value() else "-"
            else:
                answer[name] = "-" if value is None or value == "" else str(value)
        return answer
