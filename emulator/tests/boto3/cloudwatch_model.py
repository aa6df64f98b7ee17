"""CloudWatch's API model, from botocore (Apache-2.0), as far as the emulator answers it: what requests are checked by, and
how forms are read and answers written.

cloudwatch_model.py            writes emulator/src/cloudwatch/model.json
cloudwatch_model.py --check    fails when that file is not what botocore's model gives
"""

from cut import SOURCES, main, reachable, service

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


def extract():
    model = service("cloudwatch", "2010-08-01")
    operations = {}
    for name in OPERATIONS:
        operation = model["operations"][name]
        operations[name] = {side: operation[side]["shape"] for side in ("input", "output") if side in operation}
    used = [shape for sides in operations.values() for shape in sides.values()]
    return {"operations": operations, "shapes": reachable(model["shapes"], used)}


if __name__ == "__main__":
    main(SOURCES / "cloudwatch" / "model.json", extract(), __doc__)
