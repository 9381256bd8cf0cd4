"""Before the minutes of work: a pipeline that goes to production wants somebody there who can move its traffic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluice.engines import local_session
from sluice.engines.local_session import check_serving
from sluice.errors import NotServingError

TO_PRODUCTION = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-canary": {}}))


def check(monkeypatch: pytest.MonkeyPatch, *, in_cluster: bool, url: str, supervised: bool) -> None:
    status = SimpleNamespace(url=url, supervised=supervised)
    monkeypatch.setattr(local_session.statuses, "read_status", lambda _project: status)
    settings = SimpleNamespace(
        rollout=SimpleNamespace(in_cluster=in_cluster), seldon=SimpleNamespace(namespace="prod"), pipelines={}
    )
    project: Any = SimpleNamespace(settings=settings)
    check_serving(project, TO_PRODUCTION)


def test_on_a_laptop_the_proxy_must_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, in_cluster=False, url="http://127.0.0.1:8080", supervised=True)
    with pytest.raises(NotServingError, match="nothing serves here"):
        check(monkeypatch, in_cluster=False, url="", supervised=True)


def test_in_a_cluster_a_controller_must_act_wherever_users_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`seldon.url` is for reports only, and empty by default."""
    check(monkeypatch, in_cluster=True, url="", supervised=True)
    with pytest.raises(NotServingError, match="no controller acts in namespace prod"):
        check(monkeypatch, in_cluster=True, url="http://gateway", supervised=False)
