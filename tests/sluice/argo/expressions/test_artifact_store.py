"""Tests of the keys, URIs and paths of artifacts in every kind of store."""

from __future__ import annotations

import pytest

from sluice.argo.expressions.artifact_store import Store, imported_artifact
from sluice.argo.launcher import local

STORES = [
    Store(),
    Store("s3", "s3://bucket"),
    Store("s3", "s3://bucket/a/b/"),
    Store("s3", "minio://b/p"),
    Store("gcs", "gs://b/p"),
]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.root or "unknown")
def test_the_path_of_an_artifact_is_the_one_that_kfps_runtime_derives_from_the_uri(store: Store) -> None:
    assert local(store.base + "run/pod/model") == store.folder + "run/pod/model"


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.root or "unknown")
def test_a_location_contains_no_credentials(store: Store) -> None:
    ((driver, fields),) = store.location("run/model").items()
    assert driver == store.driver
    assert set(fields) <= {"bucket", "key"}
    assert fields["key"].endswith("run/model")


def test_a_prefix_of_the_root_is_part_of_the_key() -> None:
    assert Store("s3", "s3://bucket/a/b/").location("k") == {"s3": {"bucket": "bucket", "key": "a/b/k"}}
    assert Store("s3", "s3://bucket").location("k") == {"s3": {"bucket": "bucket", "key": "k"}}
    assert Store().location("k") == {"s3": {"key": "k"}}
    assert Store("azure").location("k") == {"azure": {"blob": "k", "container": "", "endpoint": ""}}


def test_argo_can_read_every_artifact_in_the_bucket_of_the_store() -> None:
    location, path = Store("s3", "s3://b/p").step_artifact("x", "/unused")
    assert location == {"s3": {"bucket": "b", "key": "{{=trimPrefix(x, 's3://b/')}}"}}
    assert path == "hasPrefix(x, 's3://b/') ? '/s3/b/' + trimPrefix(x, 's3://b/') : '/unused'"
    location, path = Store("gcs", "gs://b").step_artifact("x", "/unused")
    assert path == "hasPrefix(x, 'gs://b/') ? '/gcs/b/' + trimPrefix(x, 'gs://b/') : '/unused'"


def test_the_uri_is_the_path_if_only_the_cluster_knows_the_store() -> None:
    location, path = Store().step_artifact("x", "/unused")
    assert location == {"s3": {"key": "{{=trimPrefix(x, '/kfp/store/')}}"}}
    assert path == "hasPrefix(x, '/kfp/store/') ? x : '/unused'"


@pytest.mark.parametrize(("kind", "driver", "mount"), [("gs", "gcs", "/gcs/"), ("s3", "s3", "/s3/"), ("minio", "s3", "/minio/")])
def test_argo_finds_an_imported_artifact_by_bucket_and_key(kind: str, driver: str, mount: str) -> None:
    fields, path = imported_artifact(kind, "u")
    assert fields == {
        f"{driver}.bucket": "split(split(u, '://')[1], '/')[0]",
        f"{driver}.key": "join(split(split(u, '://')[1], '/')[1:], '/')",
    }
    assert path == f"'{mount}' + split(u, '://')[1]"


def test_argo_fetches_an_artifact_from_the_web_by_its_url() -> None:
    assert imported_artifact("https", "u") == ({"http.url": "u"}, "'/kfp/store/' + replace(u, '://', '/')")


def test_a_submitted_uri_has_the_scheme_of_the_store() -> None:
    assert (Store().scheme, Store("gcs").scheme) == ("s3", "gs")
