"""Secrets at rest: ``python -m scripts.njord_secrets keygen|encrypt|decrypt|check``, in the SOPS format with age keys.

Keys are taken from SOPS_AGE_KEY, SOPS_AGE_KEY_FILE or age.key in CREDENTIALS_DIRECTORY. Comments are not carried over.
Exit status: 0 done; 1 not done, the reason on stderr; 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from core.config import secrets
from core.config.yaml import parse_yaml
from core.console import adapt_console
from core.errors import ConfigError

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)

SECRETS_FILE = Path("config/secrets.enc.yaml")
FileArgument = Annotated[Path, typer.Argument(help="The encrypted file.")]


@app.command()
def keygen(out: Annotated[Path, typer.Argument(help="Where the new key goes; must not exist.")]) -> None:
    """Make an age key, readable by you alone, and print its recipient."""
    key, recipient = secrets.generate_key()
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _fail(f"{out}: expected a new file in an existing folder: {error.strerror}")
    with os.fdopen(handle, "w") as file:
        file.write(f"# created: {datetime.now(UTC).isoformat(timespec='seconds')}\n# public key: {recipient}\n{key}\n")
    typer.echo(recipient)
    typer.echo(f"Key written to {out}. Keep a copy off this machine; next: export SOPS_AGE_KEY_FILE={out}", err=True)


@app.command()
def encrypt(
    source: Annotated[Path, typer.Argument(help="Plain YAML, or - for standard input.")] = Path("-"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the encrypted file goes.")] = SECRETS_FILE,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", "-r", help="age1…; repeat for several. Else: the keys at hand.")
    ] = None,
) -> None:
    """Encrypt plain YAML."""
    document = parse_yaml(_read(source))
    for flaw in document.flaws:
        typer.secho(f"{source}:{flaw.line}:{flaw.column}: {flaw.text}", fg="red", err=True)
    if document.flaws or not isinstance(document.value, dict):
        _fail(f"{source}: expected YAML with keys and values, such as `exchange: {{api_key: …, api_secret: …}}`")
    try:
        to = recipient or [secrets.recipient_of(key) for key in secrets.age_keys(os.environ)]
        text = secrets.encrypt(document.value, to, now=datetime.now(UTC))
    except ConfigError as error:
        _fail(f"{error}\nName recipients with --recipient, or make a key with `keygen`.")
    _replace(out, text)
    typer.echo(f"{out}: encrypted for {', '.join(to)}. Now remove the plain file, if there is one.", err=True)


@app.command()
def decrypt(
    file: FileArgument = SECRETS_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print the plain values. Mind the terminal's history and who is looking."""
    values = _decrypted(file)
    typer.echo(json.dumps(values) if as_json else yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def check(file: FileArgument = SECRETS_FILE) -> None:
    """See whether the file opens and is whole, and print its keys without their values."""
    for key in _keys(_decrypted(file)):
        typer.echo(key)


def _keys(values: Any, path: str = "") -> list[str]:
    if isinstance(values, dict) and values:
        return [key for name, item in values.items() for key in _keys(item, f"{path}.{name}" if path else name)]
    return [path]


def _decrypted(file: Path) -> dict[str, Any]:
    try:
        return secrets.decrypt(_read(file), secrets.age_keys(os.environ), place=str(file))
    except ConfigError as error:
        _fail(str(error))


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        _fail(f"{path}: cannot be written: {error.strerror or error}")


def _fail(text: str) -> NoReturn:
    typer.secho(text, fg="red", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    adapt_console()
    main()
