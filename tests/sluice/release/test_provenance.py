from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from release_project import make_key

from sluice.errors import ConfigurationError, IntegrityError
from sluice.release import provenance
from sluice.release.envelopes import read_public_keys, read_statement, verify_envelope

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.release.store.releases import ReleaseStore


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_key(tmp_path)


@pytest.fixture
def signed(store: ReleaseStore, layer: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> ReleaseStore:
    monkeypatch.setenv(provenance.KEY_VARIABLE, str(keys[0]))
    store.add(layer)
    return store


def read_envelope(store: ReleaseStore) -> dict[str, Any]:
    (attached,) = store.attachments(store.get("1").digest)
    assert attached["kind"] == "provenance"
    document = attached["document"]
    assert isinstance(document, dict)
    return document


def test_a_release_has_an_in_toto_statement(store: ReleaseStore, layer: Path) -> None:
    release = store.add(layer)
    statement = read_statement(read_envelope(store))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    assert subjects == {
        "parcels/model-layer": release.digest[7:],
        "parcels/image": release.image_digest[7:],
        "parcels/model.joblib": release.manifest["model"]["digest"][7:],
    }
    materials = {item["uri"]: item["digest"] for item in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert materials["urn:sluice:snapshot"] == {"sha256": release.manifest["data"]["snapshot_digest"][7:]}


def test_the_commit_is_a_dependency() -> None:
    manifest = {
        "project": "p",
        "code": {"commit": "c0ffee", "dirty": False},
        "model": {"digest": "sha256:1", "build": "a:b", "parameters": {}},
        "data": {"snapshot_digest": "sha256:2", "holdout_digest": "sha256:3"},
        "environment": {"lock_digest": "sha256:4", "fingerprint": {}},
        "gate": None,
        "verdicts": {},
        "parent": "sha256:5",
    }
    statement = provenance.plan_statement(manifest, digest="sha256:6", image_digest="sha256:7")
    materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [next(iter(item["digest"].items())) for item in materials] == [
        ("gitCommit", "c0ffee"),
        ("sha256", "2"),
        ("sha256", "3"),
        ("sha256", "4"),
        ("sha256", "5"),
    ]


def test_a_signed_release_is_verified(signed: ReleaseStore, keys: tuple[Path, Path]) -> None:
    verdicts = {verdict.check: verdict for verdict in signed.verify("1", key=keys[1])}
    assert not any(verdict.failed for verdict in verdicts.values())
    assert "release-1/signature" in verdicts


def test_openssl_agrees_with_the_signature(signed: ReleaseStore, keys: tuple[Path, Path], tmp_path: Path) -> None:
    envelope = read_envelope(signed)
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "message").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin", "-in", tmp_path / "message"]
    done = subprocess.run([*command, "-sigfile", tmp_path / "signature"], capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout


def test_adding_again_signs_nothing_new(signed: ReleaseStore, layer: Path) -> None:
    signed.add(layer)
    assert len(signed.attachments(signed.get("1").digest)) == 1


def test_an_unsigned_release_fails_if_a_signature_is_required(store: ReleaseStore, layer: Path, keys: tuple[Path, Path]) -> None:
    store.add(layer)
    assert not any(verdict.failed for verdict in store.verify("1"))
    failed = [verdict for verdict in store.verify("1", key=keys[1]) if verdict.failed]
    assert [verdict.check for verdict in failed] == ["release-1/signature"]
    assert "not signed" in failed[0].detail


def test_a_release_may_be_signed_later(
    store: ReleaseStore, layer: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(layer)
    monkeypatch.setenv(provenance.KEY_VARIABLE, str(keys[0]))
    store.add(layer)
    assert not any(verdict.failed for verdict in store.verify("1", key=keys[1]))


def test_a_signature_by_another_key_fails(signed: ReleaseStore, tmp_path: Path) -> None:
    failed = [verdict.detail for verdict in signed.verify("1", key=make_key(tmp_path, "other")[1]) if verdict.failed]
    assert len(failed) == 1
    assert "no valid signature" in failed[0]


@pytest.mark.parametrize("change", ["payload", "payloadType", "sig", "no base64", "no signatures"])
def test_an_edited_envelope_is_refused(signed: ReleaseStore, keys: tuple[Path, Path], change: str) -> None:
    envelope = json.loads(json.dumps(read_envelope(signed)))
    if change == "payload":
        statement = json.loads(base64.b64decode(envelope["payload"]))
        statement["subject"][0]["digest"]["sha256"] = "0" * 64
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    elif change == "payloadType":
        envelope["payloadType"] = "application/json"
    elif change == "sig":
        envelope["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    elif change == "no base64":
        envelope["payload"] = "***"
    else:
        envelope["signatures"] = []
    with pytest.raises(IntegrityError) as caught:
        verify_envelope(envelope, read_public_keys([keys[1]]), "the provenance")
    assert caught.value.exit_code == 4


def test_a_signature_for_another_release_does_not_count(
    signed: ReleaseStore, make_layer: Callable[[int], Path], keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(provenance.KEY_VARIABLE)
    second = signed.add(make_layer(2))
    signed.attach(second.digest, "provenance", read_envelope(signed))
    failed = [verdict.detail for verdict in signed.verify("2", key=keys[1]) if verdict.failed]
    assert failed == ["the signed provenance is about another release"]


@pytest.mark.parametrize("content", [None, b"", b"no key"])
def test_an_unreadable_key_is_an_error(
    store: ReleaseStore, layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "bad.pem").write_bytes(content)
    monkeypatch.setenv(provenance.KEY_VARIABLE, str(tmp_path / "bad.pem"))
    with pytest.raises(ConfigurationError, match=r"bad\.pem"):
        store.add(layer)
    assert store.list() == []


def test_a_key_of_another_kind_is_an_error(
    store: ReleaseStore, layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_key(tmp_path, algorithm="x25519")
    monkeypatch.setenv(provenance.KEY_VARIABLE, str(private))
    with pytest.raises(ConfigurationError, match="X25519"):
        store.add(layer)
    monkeypatch.delenv(provenance.KEY_VARIABLE)
    store.add(layer)
    with pytest.raises(ConfigurationError, match="X25519"):
        store.verify("1", key=public)


def test_a_document_without_a_statement_is_an_error() -> None:
    with pytest.raises(IntegrityError, match="no in-toto statement"):
        read_statement({"payload": 5})
