"""The service's API model, from botocore (Apache-2.0), as far as the emulator checks requests by it.

model.py            writes emulator/src/control/model.json
model.py --check    fails when that file is not what botocore's model gives
"""

import gzip
import json
import pathlib
import sys

import botocore

FILE = pathlib.Path(__file__).resolve().parents[2] / "src" / "control" / "model.json"
# What a request is checked by.
KEPT = ("type", "required", "min", "max", "pattern", "enum")


def service():
    data = pathlib.Path(botocore.__file__).parent / "data" / "kinesisvideo" / "2017-09-30" / "service-2.json.gz"
    return json.loads(gzip.decompress(data.read_bytes()))


def extract():
    model = service()
    shapes = model["shapes"]
    operations = {
        name: {
            "path": operation["http"]["requestUri"].removeprefix("/"),
            "input": operation["input"]["shape"],
            "errors": sorted(error["shape"] for error in operation["errors"]),
        }
        for name, operation in sorted(model["operations"].items())
    }
    kept, waiting = {}, [operation["input"] for operation in operations.values()]
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
            kept[name]["members"] = {member: found["shape"] for member, found in sorted(shape["members"].items())}
            waiting.extend(kept[name]["members"].values())
    errors = {
        name: shape["error"]["httpStatusCode"] for name, shape in sorted(shapes.items()) if shape.get("exception")
    }
    text = json.dumps({"operations": operations, "errors": errors, "shapes": dict(sorted(kept.items()))}, indent=1)
    return text + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != extract():
            sys.exit(f"{FILE.name} is not what botocore's model gives: run emulator/tests/boto3/model.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        FILE.write_text(extract())
