"""References inside configured values: ``${NAME}`` for an environment variable, ``~`` for a home folder in paths."""

from __future__ import annotations

import pwd
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from core.config.keys import holds_secret, is_path
from core.config.yaml import KeyPath
from core.logging.redaction import is_secret_name

_REFERENCE: Final = re.compile(r"\$(\$?)\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class References:
    """The values of one source with their references replaced.

    Attributes:
        secret_keys: the keys that got the value of a variable whose name marks a secret, or that hold a secret.
        secret_texts: the values of those variables.
    """

    def __init__(self, environ: Mapping[str, str], fail: Callable[[str, KeyPath], None]) -> None:
        self.secret_keys: set[KeyPath] = set()
        self.secret_texts: set[str] = set()
        self._environ = environ
        self._fail = fail

    def expanded(self, value: Any, path: KeyPath = ()) -> Any:
        """A file's value: ``${NAME}`` in every text, ``$${`` meaning ``${``, and ``~`` in paths."""
        if isinstance(value, dict):
            return {key: self.expanded(member, (*path, key)) for key, member in value.items()}
        if isinstance(value, list):
            return [self.expanded(member, (*path, index)) for index, member in enumerate(value)]
        if not isinstance(value, str):
            return value
        if is_path(path) and not value.strip():
            self._fail("expected a path, got an empty text: name a folder or file, or leave the key out", path)
        return self._at_home(self._replaced(value, path), path)

    def expanded_paths(self, value: Any, path: KeyPath = ()) -> Any:
        """A value of the environment or of an override: the same in paths alone, any other text stays as typed."""
        if isinstance(value, dict):
            return {key: self.expanded_paths(member, (*path, key)) for key, member in value.items()}
        return self.expanded(value, path) if isinstance(value, str) and is_path(path) else value

    def _replaced(self, text: str, path: KeyPath) -> str:
        if "${" not in text:
            return text
        secret = holds_secret(path) or any(is_secret_name(str(part)) for part in path)

        def value_of(match: re.Match[str]) -> str:
            escaped, name = match.groups()
            if escaped:
                return f"${{{name}}}"
            if not _VARIABLE.fullmatch(name):
                shown = "something else (not shown; `$${` stands for `${`)" if secret else repr(name)
                self._fail(f"expected the name of an environment variable in ${{…}}, got {shown}", path)
            elif name not in self._environ:
                # In a secret, what looks like a reference may be a part of the secret.
                shown = name if name.isupper() or not secret else "of a name that is not shown"
                self._fail(
                    f"environment variable {shown} is not set: set it, write the value in place of "
                    f"{f'${{{name}}}' if shown == name else 'the reference'}, or `$${{` for a plain `${{`",
                    path,
                )
            elif is_path(path) and not self._environ[name].strip():
                self._fail(f"environment variable {name} is empty: set it to a folder, or unset the reference", path)
            else:
                if secret or is_secret_name(name):
                    self.secret_keys.add(path)
                    self.secret_texts.add(self._environ[name])
                return self._environ[name]
            return match[0]

        return _REFERENCE.sub(value_of, text)

    def _at_home(self, text: str, path: KeyPath) -> str:
        """A path that starts with ``~`` or ``~user``, with the home folder in its place."""
        if not text.startswith("~") or not is_path(path):
            return text
        user, slash, rest = text[1:].partition("/")
        if user:
            try:
                home = pwd.getpwnam(user).pw_dir
            except (KeyError, ValueError):
                self._fail(f"expected ~ or ~user with a user of this machine, got ~{user}: write the path out", path)
                return text
        elif not (home := self._environ.get("HOME", "")):
            self._fail("expected HOME to be set for ~, got none: set it, or write the path out", path)
            return text
        return f"{home.rstrip('/')}{slash}{rest}" or "/"
