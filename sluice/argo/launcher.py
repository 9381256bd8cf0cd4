"""Runs a KFP component in its own image, between Argo and `kfp.dsl.executor_main`.

The text after the marker below is what a step's container gets as ``python3 -c TEXT INPUT ORIGINAL…``: it must run on any
Python from 3.7 on with nothing installed. It turns wire JSON into KFP's executor input, runs the component's own command in
its place (signals are passed on, the exit code is the command's), and writes each output as wire JSON for Argo to pick up.

INPUT is JSON: ``executor`` (KFP's executor input), ``types`` (input → declared type), ``outputs`` (output → declared type),
``wire`` (folder for the outputs). ORIGINAL is the component's command and arguments; ``{$}`` among them stands for the
executor input. In wire JSON a number that would not survive Argo's own JSON (an integer beyond 2**53, 3.0 in a list, NaN) is the
string ``\\0#`` and its digits.
"""

# mypy: ignore-errors
# --- launcher
import json, math, os, re, shutil, signal, subprocess, sys, tempfile

TAGGED = re.compile("\0+#(-?[0-9.]+(e[+-]?[0-9]+)?|NaN|-?Infinity)$", re.I)
ROOTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}


def decode(value):
    if isinstance(value, str) and TAGGED.match(value):
        return json.loads(value[2:]) if value[1] == "#" else value[1:]
    if isinstance(value, list):
        return [decode(each) for each in value]
    return {decode(key): decode(each) for key, each in value.items()} if isinstance(value, dict) else value


def encode(value, nested=True):
    if isinstance(value, str):
        return "\0" + value if TAGGED.match(value) else value
    if isinstance(value, float) and not math.isfinite(value) or nested and not isinstance(value, bool) and (
        isinstance(value, float) and value.is_integer() or isinstance(value, int) and abs(value) > 2**53
    ):
        return "\0#" + json.dumps(value)
    if isinstance(value, (list, tuple)):
        return [encode(each) for each in value]
    return {encode(str(key)): encode(each) for key, each in value.items()} if isinstance(value, dict) else value


def wire(value, nested=True):
    text = json.dumps(encode(value, nested))
    for found, safe in (("{" * 2, "\\u007b" * 2), ("$", "\\u0024"), ("\x7f", "\\u007f")):
        text = text.replace(found, safe)
    return text


def text_of(value):
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, separators=(",", ":"))


def cast(value, kind):
    if kind == "STRING":
        return text_of(value)
    if kind == "NUMBER_INTEGER" and isinstance(value, float) and value.is_integer():
        return int(value)
    return float(value) if kind == "NUMBER_DOUBLE" and isinstance(value, int) and not isinstance(value, bool) else value


def parse(text, kind):
    if kind == "STRING":
        return text
    if kind == "BOOLEAN":
        return {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}[text.strip().lower()]
    return {"NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}.get(kind, json.loads)(text.strip())


def local(uri):
    for root, mount in ROOTS.items():
        if uri.startswith(root):
            return mount + uri[len(root):]
    return uri


def read(argument):
    if re.match("@/tmp/argo_arg_[0-9]+[.]txt$", argument):
        with open(argument[1:], encoding="utf-8") as file:
            return file.read()
    return argument


def unescape(argument):
    return re.sub("⦃(.)", lambda m: {"(": "{" * 2, "s": "$"}.get(m.group(1), m.group(1)), argument)


def hand_over(text, environment):
    if len(text.encode()) < 100000:
        return text
    # The kernel takes no single argument over 128 KiB: the child's Python puts the text in place before it reads its arguments.
    folder = tempfile.mkdtemp()
    with open(folder + "/input", "w", encoding="utf-8") as file:
        file.write(text)
    with open(folder + "/sitecustomize.py", "w", encoding="utf-8") as file:
        file.write(
            "import sys\nfolder = %r\nif getattr(sys, 'argv', None):\n    for n, a in enumerate(sys.argv):\n"
            "        if a == '@' + folder:\n            sys.argv[n] = open(folder + '/input', encoding='utf-8').read()\n"
            "sys.path.remove(folder)\ndel sys.modules['sitecustomize']\ntry:\n    import sitecustomize\n"
            "except ImportError:\n    pass\n" % folder
        )
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (folder, environment.get("PYTHONPATH")) if p)
    return "@" + folder


def prepare(spec):
    executor = spec["executor"]
    inputs, outputs = executor["inputs"], executor["outputs"]
    values = {name: decode(value) for name, value in inputs.get("parameterValues", {}).items() if value is not None}
    inputs["parameterValues"] = {name: cast(value, spec["types"].get(name)) for name, value in values.items()}
    artifacts = {name: decode(value) for name, value in inputs.get("artifacts", {}).items() if value is not None}
    inputs["artifacts"] = {
        name: {"artifacts": [each for each in value if each] if isinstance(value, list) else [value]}
        for name, value in artifacts.items()
    }
    paths = [each["outputFile"] for each in outputs.get("parameters", {}).values()] + [outputs["outputFile"]]
    paths += [local(each["artifacts"][0]["uri"]) for each in outputs.get("artifacts", {}).values()]
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return executor


def run(command, environment):
    child, early = None, []
    # The handlers stand before the child does: a signal that ended the launcher in between would leave the child alone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: child.send_signal(number) if child else early.append(number))
    child = subprocess.Popen(command, env=environment)
    for number in early:
        child.send_signal(number)
    code = child.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code


def told(what, function, *arguments):
    try:
        return function(*arguments)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        sys.exit("sluice: %s cannot be read: %s: %s" % (what, type(error).__name__, error))


def load(path):
    result = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            result = json.load(file) or {}
    return {key: result.get(key) or {} for key in ("parameterValues", "artifacts")}


def given(name, kind, values, path):
    if name in values:
        return cast(values[name], kind)
    if not os.path.exists(path):
        sys.exit("sluice: the component gave no output " + repr(name))
    with open(path, encoding="utf-8", newline="") as file:
        return parse(file.read(), kind)


def collect(spec, outputs):
    result = told(outputs["outputFile"], load, outputs["outputFile"])
    os.makedirs(spec["wire"], exist_ok=True)
    for name, kind in spec["outputs"].items():
        path = outputs["parameters"][name]["outputFile"]
        value = told("output %r (%s)" % (name, kind), given, name, kind, result["parameterValues"], path)
        write(spec, name, wire(value, isinstance(value, (list, dict))))
    for name, expected in outputs.get("artifacts", {}).items():
        artifact = told("artifact %r" % name, settle, expected["artifacts"][0], result["artifacts"].get(name))
        write(spec, name, wire(artifact))


def settle(artifact, reported):
    reported = (reported or {}).get("artifacts") or [{}]
    artifact["metadata"] = dict(artifact.get("metadata") or {}, **reported[0].get("metadata") or {})
    place, uri = local(artifact["uri"]), reported[0].get("uri") or artifact["uri"]
    source = reported[0].get("custom_path") or reported[0].get("customPath") or local(uri)
    if os.path.exists(source):
        if not os.path.exists(place) or not os.path.samefile(source, place):
            (shutil.copytree if os.path.isdir(source) else shutil.copyfile)(source, place)
    elif uri != artifact["uri"]:
        artifact["uri"] = uri
    return artifact


def write(spec, name, text):
    with open(os.path.join(spec["wire"], name), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    spec = json.loads(read(sys.argv[1]))
    executor = prepare(spec)
    environment = dict(os.environ)
    text = hand_over(json.dumps(executor), environment)
    command = [text if part == "{$}" else unescape(read(part)) for part in sys.argv[2:]]
    code = run(command, environment)
    if code == 0:
        collect(spec, executor["outputs"])
    sys.exit(code)
