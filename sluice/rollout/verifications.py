"""Verifying the canary's release before it takes traffic, without letting a control round wait.

A thread of its own reads what the release says about itself, because a registry may take a minute to answer. Until then the
rollout waits. Rollbacks and the champion never do: only the release of a running rollout is looked at.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sluice.errors import ServiceError, SluiceError
from sluice.release.envelopes import read_public_keys
from sluice.release.project_releases import open_releases
from sluice.release.trust_rules import TrustKeys, find_refusal
from sluice.rollout.clocks import REAL_CLOCK, Clock
from sluice.rollout.decisions.health import VERIFIED, Verification

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluice.project.projects import Project
    from sluice.release.trust_rules import ReleaseDocuments
    from sluice.rollout.decisions.states import Journal, Request

    ReadDocuments = Callable[[Request], ReleaseDocuments]

Result = TypeVar("Result")

RETRY_SECONDS = 5.0
"""The pause before a release that could not be read is read again."""

KEPT_RELEASES = 8
"""Verified releases that need not be read again."""

_READING = Verification(waiting="the signatures of the release are being verified")


class DaemonThreads(Executor):
    """Runs each call in a thread of its own that does not keep the process alive, because a registry may hang for minutes."""

    def submit(self, call: Callable[..., Result], /, *given: Any, **named: Any) -> Future[Result]:  # noqa: ANN401
        """Start a thread, and return what the call will return."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(call(*given, **named))
            except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)

        threading.Thread(target=run, daemon=True, name="verify").start()
        return future


@dataclass(slots=True)
class ReleaseVerifier:
    """Verifies the releases of rollouts. Each image is read once.

    Attributes:
        keys: The keys that are required. If there are none, nothing is read.
        project: The name of the project.
        read: Reads what a release says about itself. It is called in a thread.
        clock: Time.
        threads: Where `read` runs.
    """

    keys: TrustKeys
    project: str
    read: ReadDocuments
    clock: Clock = REAL_CLOCK
    threads: Executor = field(default_factory=DaemonThreads)
    _rollout: str = ""
    _found: Verification = _READING
    _reading: Future[ReleaseDocuments] | None = None
    _next_try: float = 0.0
    _verified: dict[tuple[str, str], ReleaseDocuments] = field(default_factory=dict)

    def verify(self, journal: Journal) -> Verification:
        """Return whether the release of the running rollout may take traffic. This never waits.

        What was found holds until the rollout ends. So an override of the gate must be valid when the rollout begins.
        """
        request = journal.request
        if request is None or not self.keys:
            return VERIFIED
        if self._rollout != request.id:
            self._rollout, self._found, self._reading, self._next_try = request.id, _READING, None, 0.0
        if self._found.waiting:
            self._found = self._look(request, exposed=journal.state.phase.exposed)
        return self._found

    def _look(self, request: Request, *, exposed: bool) -> Verification:
        key = (request.release, request.image)
        try:
            documents = self._verified.get(key) or self._read(request)
        except (ServiceError, OSError) as error:
            self._next_try = self.clock.steady() + RETRY_SECONDS
            return Verification(waiting=f"the signatures of the release cannot be read: {error}")
        except SluiceError as error:
            return Verification(refusal=error.message)
        except Exception as error:  # noqa: BLE001 - others wrote what is read, and a control round must survive it
            return Verification(refusal=f"it cannot be read: {type(error).__name__}: {error}")
        if documents is None:
            return self._found
        # A process that starts while the canary takes traffic repeats what was decided when the rollout began.
        moment = request.at if exposed else self.clock.now()
        refusal = find_refusal(
            documents,
            self.keys,
            release=request.release,
            ledger_head=request.ledger_head,
            project=self.project,
            now=moment,
        )
        if not refusal:
            others = [(other, found) for other, found in self._verified.items() if other != key]
            self._verified = {**dict(others[1 - KEPT_RELEASES :]), key: documents}
        return Verification(refusal=refusal)

    def _read(self, request: Request) -> ReleaseDocuments | None:
        """Return what the release says about itself; None while it is being read, or until the next try."""
        if self._reading is None:
            if self.clock.steady() < self._next_try:
                return None
            self._reading = self.threads.submit(self.read, request)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()


def read_trust_keys(project: Project) -> TrustKeys:
    """Read the public keys that ``[trust]`` names.

    Raises:
        ConfigurationError: A key cannot be used. A missing key never turns a check off.
    """
    table = project.settings.trust
    return TrustKeys(
        gate=read_public_keys(map(project.path, table.gate_keys)),
        provenance=read_public_keys(map(project.path, table.provenance_keys)),
    )


def verify_stored_releases(project: Project) -> ReleaseVerifier:
    """Return what verifies the releases of the project's own store, which serve without an image.

    Raises:
        ConfigurationError: A key cannot be used.
    """

    def read(request: Request) -> ReleaseDocuments:
        return open_releases(project).read_documents(request.release)

    return ReleaseVerifier(read_trust_keys(project), project.settings.project.name, read)


def verify_images(project: Project, clock: Clock = REAL_CLOCK) -> ReleaseVerifier:
    """Return what verifies the images that rollouts name, wherever they are.

    Args:
        project: The project.
        clock: Time, in a cluster that of the API server.

    Raises:
        ConfigurationError: A key cannot be used.
    """
    # Only a controller needs the client, which takes 0.1 s to import.
    from sluice.release.registry.image_references import read_image_reference  # noqa: PLC0415
    from sluice.release.registry.registry_client import RegistryClient  # noqa: PLC0415
    from sluice.release.registry.release_documents import read_image_documents  # noqa: PLC0415

    def read(request: Request) -> ReleaseDocuments:
        image, plain_http = read_image_reference(request.image), project.settings.serving.plain_http
        with RegistryClient(image.host, image.repository, plain_http=plain_http) as registry:
            return read_image_documents(registry, image.target)

    return ReleaseVerifier(read_trust_keys(project), project.settings.project.name, read, clock)
