"""The service's API model, from botocore (Apache-2.0), as far as the emulator checks requests by it.

model.py            writes emulator/src/control/model.json
model.py --check    fails when that file is not what botocore's model gives
"""

from cut import SOURCES, main, reachable, service


def extract():
    model = service("kinesisvideo", "2017-09-30")
    operations = {
        name: {
            "path": operation["http"]["requestUri"].removeprefix("/"),
            "input": operation["input"]["shape"],
            "errors": sorted(error["shape"] for error in operation["errors"]),
        }
        for name, operation in sorted(model["operations"].items())
    }
    shapes = reachable(model["shapes"], [operation["input"] for operation in operations.values()])
    errors = {
        name: shape["error"]["httpStatusCode"]
        for name, shape in sorted(model["shapes"].items())
        if shape.get("exception")
    }
    return {"operations": operations, "errors": errors, "shapes": shapes}


if __name__ == "__main__":
    main(SOURCES / "control" / "model.json", extract(), __doc__)
