"""A pipeline with a rollout does not start if no supervisor and no controller is running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluice.engines.local import session as local_session
from sluice.engines.local.session import check_serving
from sluice.errors import NotServingError

WITH_ROLLOUT = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-canary": {}}))


def check(monkeypatch: pytest.MonkeyPatch, *, in_cluster: bool, url: str, supervised: bool) -> None:
    status = SimpleNamespace(url=url, supervised=supervised)
    monkeypatch.setattr(local_session.statuses, "read_status", lambda _project: status)
    settings = SimpleNamespace(
        rollout=SimpleNamespace(in_cluster=in_cluster), seldon=SimpleNamespace(namespace="prod"), pipelines={}
    )
    project: Any = SimpleNamespace(settings=settings)
    check_serving(project, WITH_ROLLOUT)


def test_on_a_laptop_the_proxy_must_be_running(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, in_cluster=False, url="http://127.0.0.1:8080", supervised=True)
    with pytest.raises(NotServingError, match="`sluice serve` is not running"):
        check(monkeypatch, in_cluster=False, url="", supervised=True)


def test_in_a_cluster_a_controller_must_run_whether_or_not_a_url_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`seldon.url` is used only for reports and is empty by default, so it does not say whether a controller runs."""
    check(monkeypatch, in_cluster=True, url="", supervised=True)
    with pytest.raises(NotServingError, match="no controller is running in namespace prod"):
        check(monkeypatch, in_cluster=True, url="http://gateway", supervised=False)
