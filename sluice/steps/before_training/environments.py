"""Whether the serving lock and the serving image fit what this environment trains.

Both are asked before the training and before the packaging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import RefusedError, SluiceError
from sluice.release.fingerprint import describe_patch_level
from sluice.release.model_libraries.closures import compare_with_lock, read_locked_versions, read_training_fingerprint
from sluice.release.registry.publishing import find_destination
from sluice.release.registry.serving_images import ENVIRONMENT_LABEL, check_same_environment, read_environment
from sluice.release.store.images import name_architecture

if TYPE_CHECKING:
    from sluice.project.projects import Project

_TIMEOUT_SECONDS = 10.0
"""A step that has no way to the registry does not wait long for it."""

_LATER = "so the environments are compared first when a server starts"


def check_serving_lock(project: Project) -> None:
    """Check that this environment has each library of the model in the version that the serving lock names.

    Raises:
        RefusedError: A version differs. A server that is made from the lock would refuse the release at its start.
    """
    libraries = read_training_fingerprint(project)["libraries"]
    if differences := compare_with_lock(libraries, read_locked_versions(project)):
        raise RefusedError(
            f"the model would be fitted with other libraries than those that serve it: {'; '.join(differences)}",
            hint=f"Name these libraries in serving/model-libraries.txt, so that `make locks` gives both environments the same "
            f"versions. Then run `make setup`. {project.settings.serving.lock} is the serving lock.",
        )


def check_serving_image(project: Project) -> str:
    """Check that the environment of the serving image is that of this process in all that may change an answer.

    Returns:
        What a person should know: the patch levels of Python differ, or the environments cannot be compared here. Empty if
        there is nothing to say, or if the project names no serving image and no repository.

    Raises:
        RefusedError: The environments differ.
    """
    serving = project.settings.serving
    if not (serving.image and serving.repository):
        return ""
    trained = read_training_fingerprint(project)
    try:
        destination = find_destination(project)
        with destination.open_base(tries=1, timeout_seconds=_TIMEOUT_SECONDS) as source:
            found = read_environment(source, destination.base.target, name_architecture(trained["machine"]))
    except RefusedError:
        raise
    except SluiceError as error:  # this step may have no credentials of the registry; the packaging has them
        return f"the serving image cannot be read here ({error.message}), {_LATER}"
    if found is None:
        return f"the serving image {serving.image} has no label {ENVIRONMENT_LABEL}, {_LATER}"
    check_same_environment(trained, found, serving.image)
    return describe_patch_level(trained, found)
