"""API keys, on every database and at the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from churnops.cli import main
from churnops.errors import JournalError
from churnops.journal import open_database
from churnops.journal.key_record import KeyRecord
from churnops.journal.keys import KeyStore, verify
from tests.support.projects import write_project


@pytest.fixture
def store(engine: Engine) -> KeyStore:
    return KeyStore(engine)


def test_a_token_is_valid_for_its_own_key_only(store: KeyStore):
    tokens = [store.add(name, [scope]) for name, scope in (("a", "predict"), ("b", "label"))]
    active = store.active()
    for token, name in zip(tokens, "ab", strict=True):
        found = verify(token, active)
        assert found is not None
        assert found.name == name
        prefix, key_id, secret = token.split("_", 2)
        assert (prefix, key_id, len(key_id), len(secret)) == ("churnops", found.id, 12, 43)
    first, second = (token.split("_", 2) for token in tokens)
    wrong = [
        "",
        "_",
        "churnops",
        "churnops__",
        tokens[0] + " ",
        tokens[0][:-1],
        tokens[0].upper(),
        first[2],
        f"churnops_{first[1]}_{second[2]}",
        f"other_{first[1]}_{first[2]}",
        f"churnops_{first[1]}_",
        "\ud800",
        "é" * 99,
    ]
    assert [verify(token, active) for token in wrong] == [None] * len(wrong)
    assert verify(tokens[0], {}) is None


def test_scopes_are_kept_and_admin_implies_the_others(store: KeyStore):
    for name, scopes in (("p", ["predict"]), ("both", ["label", "predict", "label"]), ("ops", ["admin"])):
        store.add(name, scopes)
    found = {key.name: set(key.scopes) for key in store.list()}
    assert found == {
        "p": {"predict"},
        "both": {"predict", "label"},
        "ops": {"predict", "label", "features", "metrics", "admin"},
    }


@pytest.mark.parametrize("scopes", [[], ["everything"], ["predict", "Label"]])
def test_other_scopes_are_refused(store: KeyStore, scopes: list[str]):
    with pytest.raises(JournalError, match="one or more of predict, label, features, metrics, admin"):
        store.add("a", scopes)
    assert store.list() == []


@pytest.mark.parametrize("name", ["", " ", " a", "a" * 65, "a\nb", "a\x00b", "\ud800", "a\u202eb"])
def test_other_names_are_refused_in_one_line(store: KeyStore, name: str):
    with pytest.raises(JournalError, match=r"\Aa key's name must be 1 to 64 printable characters, not .*\Z"):
        store.add(name, ["predict"])


def test_a_name_is_free_again_after_its_key_is_revoked(store: KeyStore):
    first = store.add("größe", ["predict"])
    with pytest.raises(JournalError, match="an active key is called 'größe'"):
        store.add("größe", ["label"])
    revoked = store.revoke("größe")
    assert revoked.revoked_at is not None
    assert verify(first, store.active()) is None
    second = store.add("größe", ["label"])
    assert verify(first, store.active()) is None
    assert verify(second, store.active()) is not None
    assert [key.revoked_at is None for key in store.list()] == [False, True]


def test_a_key_is_revoked_by_its_id_and_again_without_effect(store: KeyStore):
    store.add("a", ["predict"])
    key = store.list()[0]
    # A name that looks like an id does not protect the key, nor is it revoked for it.
    store.add(key.id, ["predict"])
    first = store.revoke(key.id)
    assert first == replace(key, revoked_at=first.revoked_at)
    assert store.revoke(key.id) == first
    assert [each.name for each in store.active().values()] == [key.id]
    for unknown in ("a", "nobody", ""):
        with pytest.raises(JournalError, match="no active key"):
            store.revoke(unknown)


def test_only_hashes_are_stored_and_printed(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    store = KeyStore(engine)
    token = store.add("a", ["predict"])
    key = next(iter(store.active().values()))
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.token_sha256.encode() in content
    for part in (token, token.split("_", 2)[2]):
        assert part.encode() not in content
    assert key.token_sha256 not in repr(key)
    engine.dispose()


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(write_project(tmp_path))


def keys(config: str, *arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["--config", config, "keys", *arguments])
    assert done.exit_code == code, done.output
    return done


def test_the_commands_make_list_and_revoke(config: str):
    assert "no API key yet" in keys(config, "list").stdout
    made = keys(config, "add", "billing", "--scope", "predict", "--scope", "label")
    token = made.stdout.strip()
    assert token.startswith("churnops_")
    assert "not shown again" in made.stderr
    document = json.loads(keys(config, "add", "ops", "--scope", "admin", "--json").stdout)
    assert document["token"].startswith("churnops_")
    listed = keys(config, "list").stdout
    assert "billing" in listed
    assert "label, predict" in listed
    assert token.split("_", 2)[2] not in listed
    assert "Revoked billing" in keys(config, "revoke", "billing").stdout
    found = {key["name"]: key for key in json.loads(keys(config, "list", "--json").stdout)["keys"]}
    assert found["ops"]["scopes"] == ["admin", "features", "label", "metrics", "predict"]
    assert found["billing"]["revoked_at"] is not None
    assert "token_sha256" not in found["ops"]
    again = json.loads(keys(config, "revoke", found["billing"]["id"], "--json").stdout)
    assert again["revoked_at"] == found["billing"]["revoked_at"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("add", "a", "--scope", "all"),
            "error: a key's scopes must be one or more of predict, label, features, metrics, admin",
        ),
        (("add", "a"), "Missing option '--scope'"),
        (("add", "", "--scope", "predict"), "error: a key's name must be 1 to 64 printable characters"),
        (("revoke", "nobody"), "churnops keys list"),
    ],
)
def test_a_wrong_command_is_one_line(config: str, arguments: tuple[str, ...], message: str):
    done = keys(config, *arguments, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_the_first_key_makes_the_record_even_before_there_are_models(engine: Engine, tmp_path: Path):
    record = KeyRecord(tmp_path / "deep/er/models")
    store = KeyStore(engine, record)
    store.record()
    assert (store.were_made(), record.exists()) == (False, False)
    store.add("a", ["predict"])
    assert record.path == tmp_path / "deep/er/models.keys"
    assert record.path.stat().st_mode & 0o777 == 0o600
    record.path.unlink()
    store.revoke("a")
    assert store.were_made()
    store.record()
    assert record.exists()
