"""CloudWatch's API model, from botocore (Apache-2.0), as far as the emulator answers it: what requests are checked by, and
how forms are read and answers written.

cloudwatch_model.py            writes emulator/src/cloudwatch/model.json
cloudwatch_model.py --check    fails when that file is not what botocore's model gives
"""

import gzip
import json
import pathlib
import sys

import botocore

FILE = pathlib.Path(__file__).resolve().parents[2] / "src" / "cloudwatch" / "model.json"
OPERATIONS = (
    "DeleteAlarms",
    "DescribeAlarmHistory",
    "DescribeAlarms",
    "DescribeAlarmsForMetric",
    "DisableAlarmActions",
    "EnableAlarmActions",
    "GetMetricData",
    "GetMetricStatistics",
    "ListMetrics",
    "ListTagsForResource",
    "PutCompositeAlarm",
    "PutMetricAlarm",
    "PutMetricData",
    "SetAlarmState",
    "TagResource",
    "UntagResource",
)
# What a request is checked by.
KEPT = ("type", "required", "min", "max", "pattern", "enum")


def service():
    data = pathlib.Path(botocore.__file__).parent / "data" / "cloudwatch" / "2010-08-01" / "service-2.json.gz"
    return json.loads(gzip.decompress(data.read_bytes()))


def extract():
    model = service()
    shapes = model["shapes"]
    operations, waiting = {}, []
    for name in OPERATIONS:
        operation = model["operations"][name]
        operations[name] = {side: operation[side]["shape"] for side in ("input", "output") if side in operation}
        waiting.extend(operations[name].values())
    kept = {}
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
    return json.dumps({"operations": operations, "shapes": dict(sorted(kept.items()))}, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != extract():
            sys.exit(f"{FILE.name} is not what botocore's model gives: run emulator/tests/boto3/cloudwatch_model.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        FILE.write_text(extract())
