"""What model.py and cloudwatch_model.py have in common: a service's API model from botocore (Apache-2.0), cut down to what requests
are checked by, and the file that it is kept in."""

import gzip
import json
import pathlib
import sys

import botocore

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "src"
# What a request is checked by.
KEPT = ("type", "required", "min", "max", "pattern", "enum")


def service(name, version):
    data = pathlib.Path(botocore.__file__).parent / "data" / name / version / "service-2.json.gz"
    return json.loads(gzip.decompress(data.read_bytes()))


def reachable(shapes, names):
    """The shapes of these names and all that they are made of, each with what a request is checked by."""
    kept, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        shape = shapes[name]
        kept[name] = {key: shape[key] for key in KEPT if key in shape}
        for part in ("member", "key", "value"):
            if part in shape:
                kept[name][part] = shape[part]["shape"]
                waiting.append(shape[part]["shape"])
        if shape["type"] == "structure":
            kept[name]["members"] = {member: found["shape"] for member, found in shape["members"].items()}
            waiting.extend(kept[name]["members"].values())
    return dict(sorted(kept.items()))


def main(file, model, usage):
    """Writes the file, or with --check fails when it is another."""
    text = json.dumps(model, indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        if file.read_text() != text:
            sys.exit(f"{file} is not what botocore's model gives: run {sys.argv[0]}")
    elif sys.argv[1:]:
        sys.exit(usage)
    else:
        file.write_text(text)
