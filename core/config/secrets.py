"""Secrets at rest: files in the SOPS YAML format with age keys, read and written without the sops program.

Every value is sealed on its own (AES-256-GCM, the key path as associated data), the file by a MAC over all values in
order. A feature that this reader does not have (KMS, PGP, key groups, …) is refused, never skipped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, Final

from core.config.yaml import parse_yaml
from core.errors import ConfigError

UNENCRYPTED_SUFFIX: Final = "_unencrypted"
FORMAT_VERSION: Final = "3.9.0"  # the sops release whose file format is written
KEY_SOURCES: Final = "SOPS_AGE_KEY, SOPS_AGE_KEY_FILE or age.key in systemd's CREDENTIALS_DIRECTORY"

_SEALED: Final = re.compile(r"ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]", re.DOTALL)
_KNOWN: Final = frozenset({"age", "lastmodified", "mac", "unencrypted_suffix", "version"})
_KEY_BYTES: Final = 32
_IV_BYTES: Final = 32
_TAG_BYTES: Final = 16

Transform = Callable[[Any, tuple[str, ...]], Any]


def age_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The age identities that the environment offers, as text, in the order they are tried.

    Raises:
        ConfigError: a key file is named but cannot be read.
    """
    texts = [environ["SOPS_AGE_KEY"]] if environ.get("SOPS_AGE_KEY") else []
    if environ.get("SOPS_AGE_KEY_FILE"):
        texts.append(_key_file(Path(environ["SOPS_AGE_KEY_FILE"]), "SOPS_AGE_KEY_FILE"))
    if environ.get("CREDENTIALS_DIRECTORY"):
        path = Path(environ["CREDENTIALS_DIRECTORY"]) / "age.key"
        if path.exists():
            texts.append(_key_file(path, "CREDENTIALS_DIRECTORY"))
    lines = (line.strip() for text in texts for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def decrypt(text: str, keys: Sequence[str], *, place: str) -> dict[str, Any]:
    """The plain values of a SOPS file, after its MAC was verified.

    ``keys`` are age identities (``AGE-SECRET-KEY-1…``), ``place`` names the file in errors.

    Raises:
        ConfigError: no SOPS file, an unsupported feature, no fitting key, or a value that was tampered with.
    """
    tree, sops = _parsed(text, place)
    data_key = _data_key(sops["age"], keys, place)
    suffix = sops.get("unencrypted_suffix") or UNENCRYPTED_SUFFIX
    digest = hashlib.sha512()

    def opened(value: Any, path: tuple[str, ...]) -> Any:
        opened_value = (
            value if _is_clear(path, suffix) else _open(value, data_key, _associated(path), f"{place}: {path[-1]}")
        )
        digest.update(_plain_bytes(opened_value, place))
        return opened_value

    plain_tree: dict[str, Any] = _walk(tree, (), opened)
    sealed_mac = _open(sops.get("mac"), data_key, str(sops.get("lastmodified", "")), f"{place}: sops.mac")
    if not hmac.compare_digest(str(sealed_mac), digest.hexdigest().upper()):
        raise ConfigError(
            f"{place}: the MAC does not match: values were changed, moved or removed by something other than sops. "
            "Restore the file, or write it anew from the plain values with `python -m scripts.njord_secrets encrypt`."
        )
    return plain_tree


def encrypt(values: Mapping[str, Any], recipients: Sequence[str], *, now: datetime) -> str:
    """The values as a SOPS file for the given age recipients (``age1…``). ``now`` stamps the file, in UTC.

    Raises:
        ConfigError: a recipient that is none, a value that the format cannot hold, or nothing to encrypt for.
    """
    import pyrage  # here: daemons without secrets never load it

    if not recipients:
        raise ConfigError("expected at least one age recipient (age1…), got none")
    if "sops" in values:
        raise ConfigError("expected plain values, got a key `sops`: the file is encrypted already")
    data_key = os.urandom(_KEY_BYTES)
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha512()

    def sealed(value: Any, path: tuple[str, ...]) -> Any:
        digest.update(_plain_bytes(value, "values"))
        return value if _is_clear(path, UNENCRYPTED_SUFFIX) else _seal(value, data_key, _associated(path))

    tree: dict[str, Any] = _walk(values, (), sealed)
    stanzas = []
    for recipient in recipients:
        try:
            stanza = pyrage.encrypt(data_key, [pyrage.x25519.Recipient.from_str(recipient)], armored=True)
        except pyrage.RecipientError as error:
            raise ConfigError(f"expected an age recipient such as age1…, got {recipient!r}: {error}") from None
        stanzas.append({"recipient": recipient, "enc": stanza.decode()})
    tree["sops"] = {
        "age": stanzas,
        "lastmodified": stamp,
        "mac": _seal(digest.hexdigest().upper(), data_key, stamp),
        "unencrypted_suffix": UNENCRYPTED_SUFFIX,
        "version": FORMAT_VERSION,
    }
    return _dumped(tree)


def generate_key() -> tuple[str, str]:
    """A new age identity and its recipient: ``(AGE-SECRET-KEY-1…, age1…)``."""
    import pyrage  # here: daemons without secrets never load it

    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(key: str) -> str:
    """The recipient (``age1…``) that belongs to an identity. Raises ConfigError."""
    return str(_identity(key).to_public())


def secret_texts(values: Any) -> Iterator[str]:
    """Every text and number among decrypted values, to be kept out of logs."""
    if isinstance(values, Mapping):
        for value in values.values():
            yield from secret_texts(value)
    elif isinstance(values, list):
        for value in values:
            yield from secret_texts(value)
    elif values is not None and not isinstance(values, bool):
        yield str(values)


def _key_file(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{variable}: expected a readable file with age keys at {path}: {reason}") from None


def _parsed(text: str, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sealed tree and the metadata, once it is sure that all of the file is understood."""
    document = parse_yaml(text)
    if document.flaws:
        raise ConfigError("\n".join(f"{place}:{flaw.line}:{flaw.column}: {flaw.text}" for flaw in document.flaws))
    tree = document.value
    if not isinstance(tree, dict) or not isinstance(tree.get("sops"), dict):
        raise ConfigError(
            f"{place}: expected a file encrypted with sops, got one without a `sops` section. If it holds plain "
            "secrets, consider them leaked where it was copied; encrypt with `python -m scripts.njord_secrets encrypt`."
        )
    sops: dict[str, Any] = tree.pop("sops")
    unsupported = sorted(key for key, value in sops.items() if key not in _KNOWN and value)
    if unsupported:
        raise ConfigError(
            f"{place}: sops feature not supported: {', '.join(unsupported)}. Expected age recipients only; "
            f"re-encrypt the file with age and the suffix rule {UNENCRYPTED_SUFFIX!r}."
        )
    if not isinstance(sops.get("age"), list) or not sops["age"]:
        raise ConfigError(f"{place}: expected at least one age recipient under sops.age, got none")
    return tree, sops


def _data_key(stanzas: Sequence[Any], keys: Sequence[str], place: str) -> bytes:
    import pyrage  # here: daemons without secrets never load it

    if not keys:
        raise ConfigError(f"{place}: encrypted, and no age key at hand. Set {KEY_SOURCES}.")
    identities = [_identity(key) for key in keys]
    for stanza in stanzas:
        try:
            data_key: bytes = pyrage.decrypt(str(stanza["enc"]).encode(), identities)
        except (pyrage.DecryptError, KeyError, TypeError):
            continue  # meant for somebody else; the error below names everybody
        if len(data_key) == _KEY_BYTES:
            return data_key
    meant = ", ".join(str(s.get("recipient")) if isinstance(s, dict) else "?" for s in stanzas)
    owners = ", ".join(str(identity.to_public()) for identity in identities)
    raise ConfigError(
        f"{place}: no age key at hand opens it. Encrypted for {meant}; keys at hand belong to {owners}. "
        f"Set {KEY_SOURCES} to a fitting key, or encrypt the file anew for {owners}."
    )


def _identity(key: str) -> Any:
    import pyrage  # here: daemons without secrets never load it

    try:
        return pyrage.x25519.Identity.from_str(key)
    except pyrage.IdentityError:
        # Never quote it: it may be a key with one character missing.
        raise ConfigError(f"expected an age key (AGE-SECRET-KEY-1…) in {KEY_SOURCES}, got something else") from None


def _walk(node: Any, path: tuple[str, ...], leaf: Transform) -> Any:
    """Apply ``leaf`` to every value but null, in order. List items share the path of their list, as in sops."""
    if isinstance(node, Mapping):
        return {key: _walk(value, (*path, key), leaf) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_walk(value, path, leaf) for value in node]
    return None if node is None else leaf(node, path)


def _is_clear(path: tuple[str, ...], suffix: str) -> bool:
    return any(part.endswith(suffix) for part in path)


def _associated(path: tuple[str, ...]) -> str:
    return ":".join(path) + ":"


def _open(sealed: Any, data_key: bytes, associated: str, place: str) -> Any:
    """One sealed value as plain text, number or boolean. Raises ConfigError, never quoting the value."""
    from cryptography.exceptions import InvalidTag  # here: daemons without secrets never load it
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if sealed == "":
        return ""  # sops leaves empty text as it is
    match = _SEALED.fullmatch(sealed) if isinstance(sealed, str) else None
    if match is None:
        raise ConfigError(f"{place}: expected ENC[AES256_GCM,…], got a plain value: it was added without sops")
    try:
        data, iv, tag = (base64.b64decode(part, validate=True) for part in match.groups()[:3])
        text = AESGCM(data_key).decrypt(iv, data + tag, associated.encode()).decode()
        return _typed(text, match[4])
    except (InvalidTag, binascii.Error, ValueError) as error:
        why = str(error) or "the value, its key's name or its place was changed"
        raise ConfigError(f"{place}: cannot be decrypted: {why}") from None


def _typed(text: str, kind: str) -> Any:
    match kind:
        case "str":
            return text
        case "int" | "int64":
            return int(text)
        case "float":
            return float(text)
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case _:
            raise ValueError(f"sops type {kind!r} is not supported; expected str, int, float or bool")


def _seal(value: Any, data_key: bytes, associated: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: daemons without secrets never load it

    if value == "":
        return ""
    iv = os.urandom(_IV_BYTES)
    raw = AESGCM(data_key).encrypt(iv, _plain_bytes(value, "values"), associated.encode())
    data, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    parts = (base64.b64encode(part).decode() for part in (data, iv, tag))
    return "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{}]".format(*parts, type(value).__name__)


def _plain_bytes(value: Any, place: str) -> bytes:
    """A value as sops feeds it to the cipher and the MAC: ``True``, ``5``, ``0.00001``, text as it is."""
    if isinstance(value, bool):
        return b"True" if value else b"False"
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, float):
        return _plain_float(value).encode()
    if isinstance(value, str):
        return value.encode()
    raise ConfigError(f"{place}: expected text, a number or a boolean, got {type(value).__name__}")


def _plain_float(value: float) -> str:
    """The shortest decimal without an exponent, as Go's ``FormatFloat(v, 'f', -1, 64)`` writes it."""
    if not isfinite(value):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _dumped(tree: Mapping[str, Any]) -> str:
    import yaml

    class _Dumper(yaml.SafeDumper):
        """Writes text of several lines as a block, the way sops writes age stanzas."""

    def block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    _Dumper.add_representer(str, block)
    out: str = yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)
    return out
