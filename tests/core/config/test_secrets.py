"""Secrets at rest: what is sealed opens again, and nothing that was touched does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import load_config, secrets
from core.errors import ConfigError

KEY, RECIPIENT = secrets.generate_key()
OTHER_KEY, OTHER_RECIPIENT = secrets.generate_key()
NOW = datetime(2024, 8, 8, 12, tzinfo=UTC)
VALUES = {
    "exchange": {"api_key": "key-0001", "api_secret": "sécret: with\nlines\n"},
    "numbers": [1, 2.5, 1e-05, True, {"deep": "x"}],
    "empty": "",
    "nothing": None,
    "note_unencrypted": {"host": "on", "port": 5},
}


def sealed(values: Any = VALUES, *recipients: str) -> str:
    return secrets.encrypt(values, recipients or (RECIPIENT,), now=NOW)


def changed(text: str, change: Any) -> str:
    tree = yaml.safe_load(text)
    change(tree)
    return yaml.safe_dump(tree, sort_keys=False)


def refused(text: str, *keys: str) -> str:
    with pytest.raises(ConfigError) as caught:
        secrets.decrypt(text, keys or (KEY,), place="s.enc.yaml")
    return str(caught.value)


def test_what_was_sealed_opens_to_the_same_values_in_the_same_order() -> None:
    opened = secrets.decrypt(sealed(), [KEY], place="")
    assert opened == VALUES
    assert list(opened) == list(VALUES)
    assert [type(value) for value in opened["numbers"]] == [int, float, float, bool, dict]


def test_no_value_stands_readable_in_the_file() -> None:
    text = sealed()
    assert "key-0001" not in text
    assert "cret" not in text.replace("api_secret", "")
    assert "note_unencrypted:\n  host: 'on'\n  port: 5\n" in text


def test_the_file_has_the_form_that_sops_writes() -> None:
    tree = yaml.safe_load(sealed())
    assert re.fullmatch(
        r"ENC\[AES256_GCM,data:[\w+/=]+,iv:[\w+/]{43}=,tag:[\w+/]{22}==,type:str\]", tree["exchange"]["api_key"]
    )
    assert tree["numbers"][1].endswith("type:float]")
    assert tree["sops"]["lastmodified"] == "2024-08-08T12:00:00Z"
    assert tree["sops"]["age"][0]["recipient"] == RECIPIENT
    assert tree["sops"]["age"][0]["enc"].startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")


def test_each_of_several_recipients_opens_the_file() -> None:
    text = sealed(VALUES, RECIPIENT, OTHER_RECIPIENT)
    assert secrets.decrypt(text, [OTHER_KEY], place="") == secrets.decrypt(text, [KEY], place="") == VALUES


@pytest.mark.parametrize(
    ("number", "plain"), [(1.0, "1"), (1e-05, "0.00001"), (2.5, "2.5"), (1e22, "1" + "0" * 22), (-0.1, "-0.1")]
)
def test_floats_are_sealed_in_the_words_of_sops(number: float, plain: str) -> None:
    assert secrets._plain_float(number) == plain


_leaf: st.SearchStrategy[Any] = st.one_of(
    st.text(st.characters(exclude_categories=["C", "Z"])),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.text("abcxyz_", min_size=1), st.recursive(_leaf, lambda x: st.lists(x, max_size=3), max_leaves=4), max_size=4
    )
)
def test_any_values_survive_the_round_trip(values: dict[str, Any]) -> None:
    opened = secrets.decrypt(sealed(values), [KEY], place="")
    assert opened == values


class TestTampering:
    def test_a_value_that_was_moved_to_another_key_is_refused(self) -> None:
        def swap(tree: Any) -> None:
            exchange = tree["exchange"]
            exchange["api_key"], exchange["api_secret"] = exchange["api_secret"], exchange["api_key"]

        assert "s.enc.yaml: api_key: cannot be decrypted" in refused(changed(sealed(), swap))

    def test_a_value_that_was_removed_is_noticed(self) -> None:
        assert "the MAC does not match" in refused(changed(sealed(), lambda tree: tree["exchange"].pop("api_key")))

    def test_a_readable_value_that_was_changed_is_noticed(self) -> None:
        def change(tree: Any) -> None:
            tree["note_unencrypted"]["port"] = 6

        assert "the MAC does not match" in refused(changed(sealed(), change))

    def test_a_value_that_was_added_in_plain_is_refused_without_being_quoted(self) -> None:
        def add(tree: Any) -> None:
            tree["exchange"]["api_key"] = "plain-and-leaked"

        text = refused(changed(sealed(), add))
        assert "expected ENC[AES256_GCM,…], got a plain value" in text
        assert "plain-and-leaked" not in text

    def test_a_rule_that_was_bent_to_let_plain_values_in_is_noticed(self) -> None:
        def bend(tree: Any) -> None:
            tree["sops"]["unencrypted_suffix"] = "api_key"
            tree["exchange"]["api_key"] = "attacker"

        assert refused(changed(sealed(), bend))

    def test_a_missing_mac_is_refused(self) -> None:
        assert "sops.mac" in refused(changed(sealed(), lambda tree: tree["sops"].pop("mac")))

    def test_a_changed_date_is_noticed(self) -> None:
        def change(tree: Any) -> None:
            tree["sops"]["lastmodified"] = "2025-01-01T00:00:00Z"

        assert "sops.mac: cannot be decrypted" in refused(changed(sealed(), change))


class TestWhatIsRefused:
    def test_a_file_without_sops_section_is_called_leaked(self) -> None:
        assert "consider them leaked" in refused("exchange: {api_key: x}")

    @pytest.mark.parametrize(
        "feature",
        ["kms", "pgp", "hc_vault", "key_groups", "encrypted_regex", "mac_only_encrypted", "something_of_tomorrow"],
    )
    def test_an_unknown_feature_is_refused_by_name(self, feature: str) -> None:
        def add(tree: Any) -> None:
            tree["sops"][feature] = [{"arn": "x"}]

        assert f"sops feature not supported: {feature}" in refused(changed(sealed(), add))

    def test_empty_lists_of_other_key_kinds_are_fine(self) -> None:
        def add(tree: Any) -> None:
            tree["sops"].update(kms=[], pgp=[], hc_vault=[], shamir_threshold=0)

        assert secrets.decrypt(changed(sealed(), add), [KEY], place="") == VALUES

    def test_a_foreign_key_is_told_whom_the_file_is_for(self) -> None:
        text = refused(sealed(), OTHER_KEY)
        assert f"Encrypted for {RECIPIENT}; keys at hand belong to {OTHER_RECIPIENT}" in text

    def test_no_key_at_all_says_where_one_may_come_from(self) -> None:
        with pytest.raises(ConfigError, match=r"no age key at hand. Set SOPS_AGE_KEY, SOPS_AGE_KEY_FILE or age\.key"):
            secrets.decrypt(sealed(), [], place="s")

    def test_a_damaged_key_is_never_quoted(self) -> None:
        text = refused(sealed(), KEY[:-1])
        assert KEY[:30] not in text
        assert "expected an age key" in text

    def test_a_type_that_sops_knows_and_we_do_not_is_refused(self) -> None:
        text = sealed({"a": "x"}).replace("type:str]", "type:time]", 1)
        assert "sops type 'time' is not supported" in refused(text)

    def test_encrypting_twice_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="encrypted already"):
            sealed({"sops": {}})

    @pytest.mark.parametrize("recipient", ["age1nonsense", "", "ssh-ed25519 AAAA"])
    def test_a_recipient_that_is_none_is_refused(self, recipient: str) -> None:
        with pytest.raises(ConfigError, match="expected an age recipient"):
            sealed(VALUES, recipient)

    @given(st.text())
    def test_any_text_is_refused_with_a_config_error(self, text: str) -> None:
        assert refused(text)


class TestKeys:
    def test_keys_come_from_the_variable_the_file_and_the_credentials_in_this_order(self, tmp_path: Path) -> None:
        (tmp_path / "k").write_text(f"# created: today\n\n{OTHER_KEY}\n")
        (tmp_path / "age.key").write_text(KEY)
        environ = {
            "SOPS_AGE_KEY": "AGE-1\nAGE-2",
            "SOPS_AGE_KEY_FILE": str(tmp_path / "k"),
            "CREDENTIALS_DIRECTORY": str(tmp_path),
        }
        assert secrets.age_keys(environ) == ("AGE-1", "AGE-2", OTHER_KEY, KEY)

    def test_a_named_file_that_is_missing_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="SOPS_AGE_KEY_FILE: expected a readable file"):
            secrets.age_keys({"SOPS_AGE_KEY_FILE": str(tmp_path / "none")})

    def test_a_credentials_folder_without_the_key_offers_none(self, tmp_path: Path) -> None:
        assert secrets.age_keys({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == ()


class TestInTheConfiguration:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "base.yaml").write_text("exchange: {api_key: from-base, name: binance}")
        return tmp_path

    def test_secrets_win_over_the_base_file_and_lose_to_the_environment(self, root: Path) -> None:
        exchange = {"api_key": "key-0001", "api_secret": "secret-0001"}
        (root / "config" / "secrets.enc.yaml").write_text(sealed({"exchange": exchange}))
        config = load_config(root, environ={"SOPS_AGE_KEY": KEY, "NJORD_EXCHANGE__API_SECRET": "from-env"})
        assert config.exchange.name == "binance"
        assert config.exchange.api_key is not None
        assert config.exchange.api_secret is not None
        assert config.exchange.api_key.get_secret_value() == "key-0001"
        assert config.exchange.api_secret.get_secret_value() == "from-env"
        assert config.secret_values() == {"key-0001", "from-env"}
        assert "key-0001" not in repr(config)

    def test_a_wrong_key_in_the_secrets_file_is_named_without_its_value(self, root: Path) -> None:
        (root / "config" / "secrets.enc.yaml").write_text(sealed({"risk": {"orders_per_min_cap": "hush"}, "x": "hush"}))
        with pytest.raises(ConfigError) as caught:
            load_config(root, environ={"SOPS_AGE_KEY": KEY})
        assert "secrets.enc.yaml: risk.orders_per_min_cap: expected a valid integer" in str(caught.value)
        assert "secrets.enc.yaml: x: unknown key" in str(caught.value)
        assert "hush" not in str(caught.value)

    def test_a_secrets_file_that_cannot_be_opened_stops_the_start(self, root: Path) -> None:
        (root / "config" / "secrets.enc.yaml").write_text(sealed())
        with pytest.raises(ConfigError, match="no age key at hand"):
            load_config(root, environ={})
