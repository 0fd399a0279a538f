"""Objects in S3 and Azure: conditional writes, large objects, faults of the store, and messages without secrets."""

import io
from pathlib import Path

import pytest

from churnops import objects
from churnops.errors import SettingsError, StoreError
from churnops.objects import PART_BYTES, ConditionError, ObjectStore
from tests.support.object_stores import Fault, StoreServer, faulty_proxy, s3_variables


@pytest.fixture
def store(any_store: StoreServer) -> ObjectStore:
    return ObjectStore(any_store.address)


def test_the_second_create_and_an_outdated_replacement_are_refused(store: ObjectStore):
    first = store.create("production.json", b"one")
    with pytest.raises(ConditionError, match=r"production\.json was written by another process"):
        store.create("production.json", b"other")
    second = store.replace("production.json", b"two", first)
    with pytest.raises(ConditionError):
        store.replace("production.json", b"three", first)
    assert store.read("production.json", max_bytes=10) == second
    assert store.read("production.json", second, max_bytes=10) is second
    assert store.read("nothing", max_bytes=10) is None


def test_an_object_of_several_parts_arrives_whole(store: ObjectStore, tmp_path: Path):
    data = bytes(range(256)) * (PART_BYTES // 256) + b"the end"
    (tmp_path / "file").write_bytes(data)
    store.upload("folder/large", tmp_path / "file")
    target = io.BytesIO()
    assert store.download("folder/large", target) == store.find("folder/large")
    assert target.getvalue() == data
    assert [(entry.name, entry.bytes) for entry in store.entries("folder")] == [("folder/large", len(data))]
    with pytest.raises(ConditionError, match="exists already"):
        store.upload("folder/large", tmp_path / "file", new=True)
    with pytest.raises(StoreError, match="is larger than 10 bytes"):
        store.download("folder/large", io.BytesIO(), max_bytes=10)
    store.delete(["folder/large", "folder/missing"])
    assert store.download("folder/large", io.BytesIO()) is None


def test_a_missing_bucket_is_an_error_and_not_an_empty_store(store: ObjectStore):
    missing = ObjectStore(f"{store.address.partition('://')[0]}://no-such-bucket/models")
    for call in (
        lambda: missing.read("x", max_bytes=1),
        lambda: missing.create("x", b""),
        lambda: [*missing.entries()],
    ):
        with pytest.raises(StoreError, match=r"//no-such-bucket/models.*: the store answers 404"):
            call()


@pytest.mark.parametrize(("fault", "reason"), [("503", "the store answers 503"), ("hang", "the store does not answer")])
def test_a_store_that_fails_is_one_line_in_bounded_time(
    s3: StoreServer, monkeypatch: pytest.MonkeyPatch, fault: Fault, reason: str
):
    store = ObjectStore(s3.address)
    written = store.create("production.json", b"one")
    if fault == "hang":  # a busy machine may exceed such a limit, too: then the request is repeated
        monkeypatch.setattr(objects, "REQUEST_SECONDS", 0.5)
    with faulty_proxy(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_variables(proxy.port)["AWS_ENDPOINT_URL"])
        behind = ObjectStore(store.address)
        proxy.begin(fault)
        with pytest.raises(StoreError, match=f"^{store.address}/production.json: {reason}") as refused:
            behind.read("production.json", max_bytes=10)
        assert "secret" not in str(refused.value)
        assert len(proxy.requests) > 1
        proxy.begin("")
        assert behind.read("production.json", max_bytes=10) == written


def test_http_is_refused_beyond_this_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example.org")
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL must be an https address"):
        ObjectStore("s3://bucket/models")
