"""Keys, URIs and paths are three spellings of one thing, for every kind of store."""

from __future__ import annotations

import pytest

from sluice.argo.expressions.artifact_store import Store, foreign_location
from sluice.argo.launcher import local

STORES = [
    Store(),
    Store("s3", "s3://bucket"),
    Store("s3", "s3://bucket/a/b/"),
    Store("s3", "minio://b/p"),
    Store("gcs", "gs://b/p"),
]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.root or "unknown")
def test_the_path_is_the_one_that_kfps_runtime_derives_from_the_uri(store: Store) -> None:
    assert local(store.base + "run/pod/model") == store.folder + "run/pod/model"


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.root or "unknown")
def test_a_location_names_no_credentials(store: Store) -> None:
    ((driver, fields),) = store.location("run/model").items()
    assert driver == store.driver
    assert set(fields) <= {"bucket", "key"}
    assert fields["key"].endswith("run/model")


def test_a_prefix_of_the_root_is_part_of_the_key() -> None:
    assert Store("s3", "s3://bucket/a/b/").location("k") == {"s3": {"bucket": "bucket", "key": "a/b/k"}}
    assert Store("s3", "s3://bucket").location("k") == {"s3": {"bucket": "bucket", "key": "k"}}
    assert Store().location("k") == {"s3": {"key": "k"}}
    assert Store("azure").location("k") == {"azure": {"blob": "k", "container": "", "endpoint": ""}}


def test_whatever_lies_in_the_stores_own_bucket_can_be_read() -> None:
    location, place = Store("s3", "s3://b/p").read("x", "/aside")
    assert location == {"s3": {"bucket": "b", "key": "{{=trimPrefix(x, 's3://b/')}}"}}
    assert place == "hasPrefix(x, 's3://b/') ? '/s3/b/' + trimPrefix(x, 's3://b/') : '/aside'"
    location, place = Store("gcs", "gs://b").read("x", "/aside")
    assert place == "hasPrefix(x, 'gs://b/') ? '/gcs/b/' + trimPrefix(x, 'gs://b/') : '/aside'"


def test_where_only_the_cluster_knows_the_store_a_uri_of_it_is_the_path() -> None:
    location, place = Store().read("x", "/aside")
    assert location == {"s3": {"key": "{{=trimPrefix(x, '/kfp/store/')}}"}}
    assert place == "hasPrefix(x, '/kfp/store/') ? x : '/aside'"


@pytest.mark.parametrize(("kind", "driver", "mount"), [("gs", "gcs", "/gcs/"), ("s3", "s3", "/s3/"), ("minio", "s3", "/minio/")])
def test_an_artifact_from_elsewhere_is_found_by_bucket_and_key(kind: str, driver: str, mount: str) -> None:
    fields, place = foreign_location(kind, "u")
    assert fields == {
        f"{driver}.bucket": "split(split(u, '://')[1], '/')[0]",
        f"{driver}.key": "join(split(split(u, '://')[1], '/')[1:], '/')",
    }
    assert place == f"'{mount}' + split(u, '://')[1]"


def test_an_artifact_from_the_web_is_fetched_by_its_address() -> None:
    assert foreign_location("https", "u") == ({"http.url": "u"}, "'/kfp/store/' + replace(u, '://', '/')")


def test_the_scheme_of_a_submitted_uri_is_that_of_the_store() -> None:
    assert (Store().scheme, Store("gcs").scheme) == ("s3", "gs")
