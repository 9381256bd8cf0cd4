"""A stand-in for Seldon's operator: ``python stand_in_operator.py NAMESPACE EXECUTOR-IMAGE``.

It behaves as operator 1.17.1 was seen to behave:

- It makes a Deployment and a Service for each predictor.
- It writes one VirtualService, and restores it after a change by another client, only while every Deployment is ready.
- After that, it writes a DestinationRule for each predictor. It does not notice when another client deletes one.
- It deletes the Deployments and Services of removed predictors after it has written the routes.

Pods become ready sooner than with Seldon, because the executor's probe starts after 1 s and not after 20 s.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from kube import ISTIO, SELDON, Informer, Kube, RefusedError

APPS, CORE = "/apis/apps/v1", "/api/v1"
HASH = "stand-in/hash"
CONFIG_MAP = "stand-in-executor"
SCRIPT = Path(__file__).with_name("stand_in_executor.py")


class Operator:
    """Reconcile the SeldonDeployments of one namespace."""

    def __init__(self, kube: Kube, namespace: str, image: str) -> None:
        self.kube, self.namespace, self.image = kube, namespace, image
        self.dirty: set[str] = set()
        self.wake = threading.Condition()
        self.owned = Informer(kube, self._all(SELDON, "seldondeployments"), lambda item: self.mark(item["metadata"]["name"]))
        self.routes = Informer(kube, self._all(ISTIO, "virtualservices"), lambda item: self.mark(item["metadata"]["name"]))
        self.deployments = Informer(kube, self._all(APPS, "deployments"), self.mark_owner)
        self.services = Informer(kube, self._all(CORE, "services"), self.mark_owner)

    def _all(self, root: str, plural: str) -> str:
        return f"{root}/namespaces/{self.namespace}/{plural}"

    def mark(self, name: str) -> None:
        """Note that a SeldonDeployment or one of its objects changed."""
        with self.wake:
            self.dirty.add(name)
            self.wake.notify()

    def mark_owner(self, item: dict[str, Any]) -> None:
        """Note that an object changed that belongs to a SeldonDeployment."""
        if owner := item["metadata"].get("labels", {}).get("seldon-deployment-id"):
            self.mark(owner)

    def run(self) -> None:
        """Reconcile until the process ends."""
        script: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}}
        script["data"] = {"main.py": SCRIPT.read_text()}
        self.kube.apply(f"{self._all(CORE, 'configmaps')}/{CONFIG_MAP}", script)
        for informer in (self.owned, self.routes, self.deployments, self.services):
            informer.listed.wait()
        while True:
            with self.wake:
                self.wake.wait_for(lambda: self.dirty)
                name = self.dirty.pop()
            try:
                self.reconcile(name)
            except RefusedError as error:
                if error.status not in {404, 409}:
                    traceback.print_exc()
                threading.Timer(0.1, self.mark, (name,)).start()

    def reconcile(self, name: str) -> None:
        """Make, change and delete the objects of one SeldonDeployment, so that they match it."""
        found = self.owned.objects.get(f"{self.namespace}/{name}")
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        predictors = found["spec"]["predictors"]
        desired = {f"{name}-{one['name']}-0-model": self.plan_deployment(found, one) for one in predictors}
        for child, body in desired.items():
            self.ensure(APPS, "deployments", self.deployments, child, body)
        for one in predictors:
            self.ensure(CORE, "services", self.services, f"{name}-{one['name']}", self.plan_service(found, one))
        if all(self.is_ready(child) for child in desired):
            self.route(found)
        self.remove(name, set(desired), {f"{name}-{one['name']}" for one in predictors})

    def ensure(self, root: str, plural: str, informer: Informer, name: str, body: dict[str, Any]) -> None:
        """Create an object, or change it if it differs from the desired one."""
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        there = informer.objects.get(f"{self.namespace}/{name}")
        if there is None or there["metadata"].get("annotations", {}).get(HASH) != digest:
            body["metadata"]["annotations"] = {HASH: digest}
            self.kube.apply(f"{self._all(root, plural)}/{name}", body)

    def is_ready(self, deployment: str) -> bool:
        """Return whether a Deployment is ready in the sense of the operator."""
        found = self.deployments.objects.get(f"{self.namespace}/{deployment}")
        if found is None:
            return False
        status = found.get("status", {})
        known = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        return bool(known and status.get("readyReplicas", 0) > 0 and not status.get("unavailableReplicas"))

    def route(self, found: dict[str, Any]) -> None:
        """Write the VirtualService if it differs from the desired one."""
        spec = plan_routes(found, self.namespace)
        name = found["metadata"]["name"]
        there = self.routes.objects.get(f"{self.namespace}/{name}")
        if there is None:
            body = {"apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService"}
            body |= {"metadata": {"name": name, "ownerReferences": owner_references(found)}, "spec": spec}
            self.kube.ask("POST", self._all(ISTIO, "virtualservices"), body, fieldManager="manager")
        elif there["spec"] != spec:
            version = {"resourceVersion": there["metadata"]["resourceVersion"]}
            self.kube.merge(f"{self._all(ISTIO, 'virtualservices')}/{name}", {"metadata": version, "spec": spec}, "manager")
        for one in found["spec"]["predictors"]:
            self.ensure_rule(found, one["name"])

    def ensure_rule(self, owner: dict[str, Any], predictor: str) -> None:
        """Write the DestinationRule of a predictor, if there is none."""
        name = f"{owner['metadata']['name']}-{predictor}"
        path = self._all(ISTIO, "destinationrules")
        if self.kube.find(f"{path}/{name}") is None:
            subsets = [{"name": predictor, "labels": {"version": predictor}}]
            policy = {"connectionPool": {"http": {"idleTimeout": "60s"}}}
            spec = {"host": f"{name}.{self.namespace}.svc.cluster.local", "subsets": subsets, "trafficPolicy": policy}
            body = {"apiVersion": "networking.istio.io/v1beta1", "kind": "DestinationRule"}
            body |= {"metadata": {"name": name, "ownerReferences": owner_references(owner)}, "spec": spec}
            self.kube.ask("POST", path, body, fieldManager="manager")

    def remove(self, owner: str, deployments: set[str], services: set[str]) -> None:
        """Delete the Deployments and Services that the SeldonDeployment no longer needs."""
        for root, plural, informer, desired in (
            (APPS, "deployments", self.deployments, deployments),
            (CORE, "services", self.services, services),
        ):
            for item in list(informer.objects.values()):
                metadata = item["metadata"]
                mine = metadata.get("labels", {}).get("seldon-deployment-id") == owner
                if mine and metadata["name"] not in desired and "deletionTimestamp" not in metadata:
                    self.kube.delete(f"{self._all(root, plural)}/{metadata['name']}")

    def plan_deployment(self, owner: dict[str, Any], predictor: dict[str, Any]) -> dict[str, Any]:
        """Return the Deployment of a predictor."""
        name, full = owner["metadata"]["name"], f"{owner['metadata']['name']}-{predictor['name']}"
        component = predictor["componentSpecs"][0]
        given = component.get("metadata", {})
        select = {"seldon-app": full, "seldon-app-svc-model": f"{full}-model", "seldon-deployment-id": name}
        labels = {**select, "app": f"{full}-0-model", "version": predictor["name"]}
        labels |= {**predictor.get("labels", {}), **given.get("labels", {})}
        notes = {**owner["spec"].get("annotations", {}), **predictor.get("annotations", {}), **given.get("annotations", {})}
        pod = json.loads(json.dumps(component["spec"]))
        pod.setdefault("securityContext", {"runAsUser": 8888})
        pod["terminationGracePeriodSeconds"] = 20
        pod["containers"].append(self.plan_engine(name, predictor["name"], notes.get("seldon.io/rest-timeout", "")))
        pod["volumes"] = [*pod.get("volumes", []), {"name": "engine", "configMap": {"name": CONFIG_MAP}}]
        for container in pod["containers"]:
            container.setdefault("env", []).append({"name": "PREDICTOR_ID", "value": predictor["name"]})
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"{full}-0-model", "labels": select, "ownerReferences": owner_references(owner)},
            "spec": {
                "replicas": predictor.get("replicas", 1),
                "selector": {"matchLabels": select},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
                "template": {"metadata": {"labels": labels, "annotations": notes}, "spec": pod},
            },
        }

    def plan_engine(self, deployment: str, predictor: str, timeout: str) -> dict[str, Any]:
        """Return the executor's container."""
        probe = {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}
        env = {"DEPLOYMENT": deployment, "PREDICTOR": predictor, "REST_TIMEOUT_MS": timeout}
        return {
            "name": "seldon-container-engine",
            "image": self.image,
            "command": ["python3", "-u", "/engine/main.py"],
            "env": [{"name": key, "value": value} for key, value in env.items()],
            "ports": [{"name": "http-engine", "containerPort": 8000}],
            "readinessProbe": probe | {"initialDelaySeconds": 1, "httpGet": {"path": "/ready", "port": 8000}},
            "livenessProbe": probe | {"initialDelaySeconds": 20, "periodSeconds": 5, "httpGet": {"path": "/live", "port": 8000}},
            "resources": {"requests": {"cpu": "5m", "memory": "32Mi"}},
            "securityContext": {"runAsUser": 8888, "allowPrivilegeEscalation": False},
            "volumeMounts": [{"name": "engine", "mountPath": "/engine"}],
        }

    def plan_service(self, owner: dict[str, Any], predictor: dict[str, Any]) -> dict[str, Any]:
        """Return the Service of a predictor."""
        name = owner["metadata"]["name"]
        full = f"{name}-{predictor['name']}"
        ports = [{"name": "http", "port": 8000, "targetPort": 8000}, {"name": "grpc", "port": 5001, "targetPort": 5001}]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": full, "labels": {"seldon-deployment-id": name}, "ownerReferences": owner_references(owner)},
            "spec": {"selector": {"seldon-app": full}, "ports": ports},
        }


def owner_references(owner: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the owner references to a SeldonDeployment."""
    named = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    return [{"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", **named}]


def plan_routes(owner: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Return the spec of the VirtualService. A destination without traffic has no field `weight`."""
    name, predictors = owner["metadata"]["name"], owner["spec"]["predictors"]
    alone = len(predictors) == 1

    def destinations(port: int) -> list[dict[str, Any]]:
        found = []
        for one in predictors:
            host = f"{name}-{one['name']}.{namespace}.svc.cluster.local"
            weight = 100 if alone else one.get("traffic", 0)
            destination = {"destination": {"host": host, "port": {"number": port}, "subset": one["name"]}}
            found.append(destination | ({"weight": weight} if weight else {}))
        return found

    headers = {"namespace": {"exact": namespace}, "seldon": {"exact": name}}
    grpc = {"headers": headers, "uri": {"regex": ".*tensorflow.*|.*seldon.protos.*|.*inference.*"}}
    plain = {"uri": {"prefix": f"/seldon/{namespace}/{name}/"}}
    notes = owner["spec"].get("annotations", {})
    return {
        "gateways": [notes.get("seldon.io/istio-gateway", "istio-system/seldon-gateway")],
        "hosts": [notes.get("seldon.io/istio-host", "*")],
        "http": [
            {"match": [plain], "rewrite": {"uri": "/"}, "route": destinations(8000)},
            {"match": [grpc], "route": destinations(5001)},
        ],
    }


if __name__ == "__main__":
    Operator(Kube(), sys.argv[1], sys.argv[2]).run()
