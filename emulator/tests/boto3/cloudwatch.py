"""Every operation of CloudWatch by boto3, unmodified, in each protocol that its model lists, against the emulator.

cloudwatch.py ENDPOINT

Each answer is checked against botocore's own model, on the bytes as they came where these are JSON or CBOR; what the
protocols say must be the same. Prints what was tried. Credentials come from the environment.
"""

import datetime
import json
import sys
import time
import urllib.request

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import RpcV2CBORParser

from cloudwatch_model import OPERATIONS
from shapes import Answers, want

# The protocol, the version of JSON, and a region for what it makes.
PROTOCOLS = {
    "smithy-rpc-v2-cbor": ("smithy-rpc-v2-cbor", "1.0", "eu-central-1"),
    "json 1.0": ("json", "1.0", "eu-west-1"),
    "json 1.1": ("json", "1.1", "eu-north-1"),
    "query": ("query", "1.0", "us-east-1"),
}
ALARMS = 235
TOPIC = "arn:aws:sns:eu-south-1:123456789012:pager"
# The evaluator leaves them alone for the time of this.
COLD = {"WarmUpPeriodDurationInMinutes": 2880, "OnlyStartEvaluatingAfterWarmUpPeriodEnds": True}
STREAM = [{"Name": "StreamName", "Value": "cam"}]
METRIC = {"Namespace": "AWS/KinesisVideo", "MetricName": "PutMedia.IncomingFragments", "Dimensions": STREAM}
QUIET = {
    **METRIC,
    "AlarmName": "quiet <&> \u00fc",
    "AlarmDescription": "no fragments\nin 3 of 5 minutes",
    "AlarmActions": [TOPIC],
    "OKActions": [TOPIC],
    "ActionsEnabled": True,
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 5,
    "DatapointsToAlarm": 3,
    "Threshold": 1.0,
    "ComparisonOperator": "LessThanThreshold",
    "TreatMissingData": "breaching",
    "WarmUpConfiguration": COLD,
    "Tags": [{"Key": "owner", "Value": "streamfleet"}],
}
QUERY = 'SELECT SUM("PutMedia.ErrorAckCount") FROM SCHEMA("AWS/KinesisVideo", StreamName) GROUP BY StreamName'
FLEET = {
    "AlarmName": "fleet",
    "Metrics": [{"Id": "q1", "Expression": QUERY, "Period": 300, "ReturnData": True}],
    "EvaluationPeriods": 3,
    "DatapointsToAlarm": 2,
    "Threshold": 0.5,
    "ComparisonOperator": "GreaterThanThreshold",
    "TreatMissingData": "notBreaching",
    "WarmUpConfiguration": COLD,
}
# Requests that are refused: operation, request, code. `VALID` stands for the alarm QUIET with these changes.
REFUSED = [
    ("PutMetricAlarm", {"AlarmName": ""}, "ValidationError"),
    ("PutMetricAlarm", {"AlarmName": "x" * 256}, "ValidationError"),
    ("PutMetricAlarm", {"AlarmName": "bell\x07"}, "ValidationError"),
    ("PutMetricAlarm", {"AlarmDescription": "x" * 1025}, "ValidationError"),
    ("PutMetricAlarm", {"Period": 7}, "ValidationError"),
    ("PutMetricAlarm", {"Period": 0}, "ValidationError"),
    ("PutMetricAlarm", {"Period": 90}, "ValidationError"),
    ("PutMetricAlarm", {"Period": None}, "ValidationError"),
    ("PutMetricAlarm", {"EvaluationPeriods": 1441}, "ValidationError"),
    ("PutMetricAlarm", {"EvaluationPeriods": None}, "ValidationError"),
    ("PutMetricAlarm", {"Period": 3600, "EvaluationPeriods": 169}, "ValidationError"),
    ("PutMetricAlarm", {"DatapointsToAlarm": 6}, "ValidationError"),
    ("PutMetricAlarm", {"DatapointsToAlarm": 0}, "ValidationError"),
    ("PutMetricAlarm", {"ComparisonOperator": "LessThan"}, "ValidationError"),
    ("PutMetricAlarm", {"ComparisonOperator": "GreaterThanUpperThreshold"}, "ValidationError"),
    ("PutMetricAlarm", {"ComparisonOperator": None}, "ValidationError"),
    ("PutMetricAlarm", {"Statistic": "Median"}, "ValidationError"),
    ("PutMetricAlarm", {"Statistic": None}, "ValidationError"),
    ("PutMetricAlarm", {"Threshold": None}, "ValidationError"),
    ("PutMetricAlarm", {"TreatMissingData": "bad"}, "ValidationError"),
    ("PutMetricAlarm", {"MetricName": None}, "ValidationError"),
    ("PutMetricAlarm", {"Namespace": None}, "ValidationError"),
    ("PutMetricAlarm", {"Namespace": ":x"}, "ValidationError"),
    ("PutMetricAlarm", {"Unit": "Fragments"}, "ValidationError"),
    ("PutMetricAlarm", {"Dimensions": STREAM * 31}, "ValidationError"),
    ("PutMetricAlarm", {"Dimensions": [{"Name": "StreamName"}]}, "ValidationError"),
    ("PutMetricAlarm", {"AlarmActions": [TOPIC] * 6}, "ValidationError"),
    ("PutMetricAlarm", {"AlarmActions": ["pager"]}, "ValidationError"),
    ("PutMetricAlarm", {"Metrics": FLEET["Metrics"]}, "ValidationError"),
    ("PutMetricAlarm", {"Tags": [{"Key": "aws:x", "Value": ""}]}, "InvalidParameterValue"),
    ("PutMetricAlarm", {"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "InvalidParameterValue"),
    ("PutCompositeAlarm", {"AlarmName": "site", "AlarmRule": "ALARM(absent)"}, "ValidationError"),
    ("PutCompositeAlarm", {"AlarmName": "site", "AlarmRule": "ALARM("}, "ValidationError"),
    ("PutCompositeAlarm", {"AlarmName": "fleet", "AlarmRule": "TRUE"}, "ValidationError"),
    ("DescribeAlarms", {"MaxRecords": 101}, "ValidationError"),
    ("DescribeAlarms", {"AlarmNames": ["a"], "AlarmNamePrefix": "a"}, "ValidationError"),
    ("DescribeAlarms", {"NextToken": "bogus"}, "InvalidNextToken"),
    ("DescribeAlarmHistory", {"NextToken": "bogus"}, "InvalidNextToken"),
    ("DeleteAlarms", {"AlarmNames": ["absent"]}, "ResourceNotFound"),
    ("DeleteAlarms", {"AlarmNames": ["x"] * 101}, "ValidationError"),
    ("SetAlarmState", {"AlarmName": "absent", "StateValue": "OK", "StateReason": ""}, "ResourceNotFound"),
    ("SetAlarmState", {"AlarmName": "fleet", "StateValue": "BAD", "StateReason": ""}, "ValidationError"),
    (
        "SetAlarmState",
        {"AlarmName": "fleet", "StateValue": "OK", "StateReason": "", "StateReasonData": "{"},
        "InvalidFormat",
    ),
    ("ListTagsForResource", {"ResourceARN": "arn:aws:cloudwatch:r:1:alarm:x"}, "ResourceNotFoundException"),
    ("TagResource", {"ResourceARN": "x", "Tags": []}, "InvalidParameterValue"),
    ("PutMetricData", {"Namespace": "AWS/KinesisVideo", "MetricData": []}, "InvalidParameterValue"),
    ("PutMetricData", {"Namespace": "n", "MetricData": [{"MetricName": "m"}]}, "InvalidParameterCombination"),
    ("GetMetricData", {"MetricDataQueries": [{"Id": "Q"}], "StartTime": 0, "EndTime": 60}, "ValidationError"),
    ("GetMetricData", {"MetricDataQueries": [], "StartTime": 0, "EndTime": 60, "NextToken": "x"}, "InvalidNextToken"),
]


class Bytes(Answers):
    """Answers as they came: CBOR has its own times."""

    def _timestamp(self, shape, value, path):
        if isinstance(value, datetime.datetime):
            value = value.timestamp()
        super()._timestamp(shape, value, path)

    def _double(self, _shape, value, path):
        want(isinstance(value, float), path, f"is {value!r}, no floating-point number")


def client(endpoint, protocol, version, region, **credentials):
    session = botocore.session.Session()
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def load_with_protocol(service, kind, api_version=None):
        model = load(service, kind, api_version)
        if kind == "service-2" and service == "cloudwatch":
            model["metadata"] |= {"protocol": protocol, "protocols": [protocol], "jsonVersion": version}
        return model

    loader.load_service_model = load_with_protocol
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    keys = {f"aws_{name}": value for name, value in credentials.items()}
    return session.create_client("cloudwatch", endpoint_url=endpoint, region_name=region, config=config, **keys)


class Proof:
    def __init__(self, endpoint, name):
        protocol, version, self.region = PROTOCOLS[name]
        self.name, self.endpoint, self.protocol = name, endpoint, protocol
        self.client = client(endpoint, protocol, version, self.region)
        self.methods = {operation: method for method, operation in self.client.meta.method_to_api_mapping.items()}
        self.answers = Bytes()
        self.called = set()
        self.last = None
        self.client.meta.events.register("before-parse.cloudwatch", self._keep)

    def _keep(self, response_dict, **_):
        self.last = response_dict

    def call(self, operation, **request):
        answer = getattr(self.client, self.methods[operation])(**request)
        headers, body = self.last["headers"], self.last["body"]
        assert headers.get("x-amzn-requestid"), f"{operation} has no request id"
        model = self.client.meta.service_model.operation_model(operation)
        if self.protocol == "json":
            assert json.loads(body) == {} or model.output_shape, f"{operation} has no output in the model"
            document = json.loads(body)
        elif self.protocol == "smithy-rpc-v2-cbor":
            assert headers["smithy-protocol"] == "rpc-v2-cbor"
            parser = RpcV2CBORParser()
            document = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}
        else:
            document = None
        if document is not None and model.output_shape is not None:
            self.answers.checked += 1
            self.answers._walk(model.output_shape, document, operation)
        self.called.add(operation)
        answer.pop("ResponseMetadata")
        return answer

    def refused(self, operation, request, code):
        try:
            getattr(self.client, self.methods[operation])(**request)
        except ClientError as error:
            found, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert found == code, f"{self.name}: {operation} {request} gets {found}, not {code}: {error}"
            wanted = 404 if code.startswith("ResourceNotFound") else 400
            assert status == wanted, f"{self.name}: {operation}: {code} with {status}"
            assert error.response["Error"]["Message"], f"{operation}: {code} says nothing"
            shapes = self.client.meta.service_model.operation_model(operation).error_shapes
            for shape in shapes:
                if shape.metadata.get("error", {}).get("code") == code:
                    assert isinstance(error, getattr(self.client.exceptions, shape.name)), f"{code} is not raised as itself"
            return
        raise AssertionError(f"{self.name}: {operation} {request} is not refused")

    def hook(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_emulator/{path}", data)
        return json.loads(urllib.request.urlopen(request).read())

    def described(self, **request):
        answer = self.call("DescribeAlarms", **request)
        return answer["MetricAlarms"], answer["CompositeAlarms"]

    # What is done, in order. Each gives what it was told, for the comparison of the protocols.

    def alarms(self):
        assert self.call("PutMetricAlarm", **QUIET) == {}
        self.call("PutMetricAlarm", **FLEET)
        rule = 'ALARM("quiet <&> \u00fc") OR NOT OK(fleet)'
        self.call("PutCompositeAlarm", AlarmName="site", AlarmRule=rule, AlarmActions=[TOPIC])
        metric, composite = self.described(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        assert [alarm["AlarmName"] for alarm in metric] == ["fleet", QUIET["AlarmName"]]
        fleet, quiet = metric
        # Composites are told apart by state alone once they were evaluated, which is at any time now.
        assert quiet["StateValue"] == "INSUFFICIENT_DATA" and composite[0]["AlarmRule"] == rule
        for name, value in QUIET.items():
            assert name == "Tags" or quiet[name] == value, f"{name} is {quiet.get(name)!r}"
        assert fleet["Metrics"] == FLEET["Metrics"] and fleet["Threshold"] == 0.5
        assert self.described()[1] == [], "composites are told only when they are asked for"
        assert self.described(AlarmTypes=["CompositeAlarm"])[0] == []
        assert [alarm["AlarmName"] for alarm in self.described(AlarmNames=["fleet", "site", "absent"])[0]] == ["fleet"]
        children = self.described(ChildrenOfAlarmName="site")[0]
        assert {alarm["AlarmName"] for alarm in children} == {"fleet", QUIET["AlarmName"]}
        parents = self.described(ParentsOfAlarmName="fleet")[1]
        assert [set(alarm) for alarm in parents] == [{"AlarmName", "AlarmArn"}]
        for_metric = self.call("DescribeAlarmsForMetric", **METRIC)["MetricAlarms"]
        assert [alarm["AlarmName"] for alarm in for_metric] == [QUIET["AlarmName"]]
        return metric, for_metric

    def states(self):
        name = QUIET["AlarmName"]
        changed = {"AlarmName": name, "StateValue": "ALARM", "StateReason": "a test", "StateReasonData": '{"a": 1}'}
        self.call("SetAlarmState", **changed)
        self.call("DisableAlarmActions", AlarmNames=[name, "absent"])
        alarm = self.described(AlarmNames=[name])[0][0]
        assert alarm["ActionsEnabled"] is False and alarm["StateReasonData"] == '{"a": 1}'
        self.call("SetAlarmState", **(changed | {"StateValue": "OK"}))
        self.call("EnableAlarmActions", AlarmNames=[name])
        told = [one for one in self.hook("notifications") if one["alarm"] == name and one["region"] == self.region]
        assert [(one["from"], one["to"], one["action"]) for one in told] == [("INSUFFICIENT_DATA", "ALARM", TOPIC)]
        # An update keeps the state, and the tags.
        self.call("PutMetricAlarm", **(QUIET | {"Threshold": 2.0, "Tags": [{"Key": "new", "Value": ""}]}))
        alarm = self.described(AlarmNames=[name], StateValue="OK")[0][0]
        assert alarm["Threshold"] == 2.0 and alarm["ActionsEnabled"] is True
        history = self.call("DescribeAlarmHistory", AlarmName=name, ScanBy="TimestampAscending")["AlarmHistoryItems"]
        kinds = [item["HistoryItemType"] for item in history]
        wanted = ["ConfigurationUpdate", "StateUpdate", "Action", "StateUpdate", "ConfigurationUpdate"]
        assert kinds == wanted, kinds
        pages = self.client.get_paginator("describe_alarm_history").paginate(
            AlarmName=name, PaginationConfig={"PageSize": 2}
        )
        assert [len(page["AlarmHistoryItems"]) for page in pages] == [2, 2, 1]
        return alarm, [(item["HistoryItemType"], item["HistorySummary"]) for item in history]

    def tags(self):
        arn = self.described(AlarmNames=[QUIET["AlarmName"]])[0][0]["AlarmArn"]
        assert arn == f"arn:aws:cloudwatch:{self.region}:123456789012:alarm:{QUIET['AlarmName']}"
        assert self.call("ListTagsForResource", ResourceARN=arn)["Tags"] == QUIET["Tags"]
        self.call("TagResource", ResourceARN=arn, Tags=[{"Key": "wing", "Value": ""}, {"Key": "owner", "Value": "me"}])
        self.call("UntagResource", ResourceARN=arn, TagKeys=["wing", "absent"])
        tags = self.call("ListTagsForResource", ResourceARN=arn)["Tags"]
        assert tags == [{"Key": "owner", "Value": "me"}], tags
        return tags

    def metrics(self):
        minute = int(time.time()) // 60 * 60 - 300
        data = [
            {"MetricName": "m", "Dimensions": STREAM, "Timestamp": minute + 1, "Value": 3.0, "Unit": "Count"},
            {"MetricName": "m", "Dimensions": STREAM, "Timestamp": minute + 61, "Values": [1.0, 2.0], "Counts": [1.0, 3.0]},
            {
                "MetricName": "s",
                "Timestamp": minute + 2,
                "StatisticValues": {"SampleCount": 2.0, "Sum": 9.0, "Minimum": 4.0, "Maximum": 5.0},
                "StorageResolution": 1,
            },
        ]
        self.call("PutMetricData", Namespace="Test", MetricData=data)
        # More than 10 kB are sent as gzip.
        many = [{"MetricName": f"many{n}", "Dimensions": STREAM, "Timestamp": minute, "Value": 1.0} for n in range(600)]
        self.call("PutMetricData", Namespace="Many", MetricData=many)
        assert len(self.call("ListMetrics", Namespace="Many")["Metrics"]) == 500
        pages = self.client.get_paginator("list_metrics").paginate(Namespace="Many")
        assert [len(page["Metrics"]) for page in pages] == [500, 100]
        assert self.call("ListMetrics", Namespace="Test", Dimensions=[{"Name": "StreamName"}])["Metrics"] == [
            {"Namespace": "Test", "MetricName": "m", "Dimensions": STREAM}
        ]
        metric = {"Namespace": "Test", "MetricName": "m", "Dimensions": STREAM}
        queries = [
            {"Id": "sum", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}},
            {"Id": "count", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "SampleCount"}, "Label": "n"},
            {"Id": "grouped", "Expression": 'SELECT MAX(m) FROM SCHEMA("Test", StreamName) GROUP BY StreamName', "Period": 60},
            {"Id": "hidden", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
        ]
        times = {"StartTime": minute, "EndTime": minute + 300}
        results = self.call("GetMetricData", MetricDataQueries=queries, ScanBy="TimestampAscending", **times)
        found = {one["Id"]: one for one in results["MetricDataResults"]}
        assert found["sum"]["Values"] == [3.0, 7.0] and set(found) == {"sum", "count", "grouped"}
        assert [int(moment.timestamp()) - minute for moment in found["sum"]["Timestamps"]] == [0, 60]
        assert sum(found["count"]["Values"]) == 5.0 and found["count"]["Label"] == "n"
        assert (found["grouped"]["Label"], found["grouped"]["Values"]) == ("cam", [3.0, 2.0])
        wanted = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"]
        statistics = self.call("GetMetricStatistics", **metric, **times, Period=60, Statistics=wanted)
        points = sorted(statistics["Datapoints"], key=lambda point: point["Timestamp"])
        assert [point["Average"] for point in points] == [3.0, 1.75] and points[0]["Unit"] == "Count"
        return [(one["Id"], one["Label"], one["StatusCode"]) for one in results["MetricDataResults"]]

    def paging(self):
        put = [{"operation": "PutMetricAlarm", "input": QUIET | {"AlarmName": f"page-{n:03}"}} for n in range(ALARMS)]
        answers = self.hook("cloudwatch", {"region": self.region, "calls": put})["answers"]
        assert answers == [{"answer": {}}] * ALARMS
        names = [f"page-{n:03}" for n in range(ALARMS)]
        for size, pages in ((None, [50, 50, 50, 50, 35]), (100, [100, 100, 35]), (47, [47] * 5)):
            config = {"PageSize": size} if size else {}
            paginator = self.client.get_paginator("describe_alarms")
            listed = list(paginator.paginate(AlarmNamePrefix="page-", PaginationConfig=config))
            assert [len(page["MetricAlarms"]) for page in listed] == pages
            assert [alarm["AlarmName"] for page in listed for alarm in page["MetricAlarms"]] == names
        for start in range(0, ALARMS, 100):
            self.call("DeleteAlarms", AlarmNames=names[start : start + 100])
        assert self.described(AlarmNamePrefix="page-")[0] == []

    def deleting(self):
        self.refused("DeleteAlarms", {"AlarmNames": ["fleet"]}, "ValidationError")
        self.call("PutCompositeAlarm", AlarmName="other", AlarmRule="FALSE")
        self.refused("DeleteAlarms", {"AlarmNames": ["site", "other"]}, "ValidationError")
        self.refused("DeleteAlarms", {"AlarmNames": ["other", "absent"]}, "ResourceNotFound")
        assert [alarm["AlarmName"] for alarm in self.described(AlarmTypes=["CompositeAlarm"])[1]] == ["site"]
        self.call("DeleteAlarms", AlarmNames=["site", "fleet", QUIET["AlarmName"]])
        assert self.described(AlarmTypes=["CompositeAlarm", "MetricAlarm"]) == ([], [])

    def refusals(self):
        for operation, request, code in REFUSED:
            if operation == "PutMetricAlarm":
                request = {name: value for name, value in (QUIET | request).items() if value is not None}
            self.refused(operation, request, code)

    def gate(self):
        keys = {"access_key_id": "streamfleet", "secret_access_key": "guessed"}
        forger = client(self.endpoint, *PROTOCOLS[self.name], **keys)
        stranger = client(self.endpoint, *PROTOCOLS[self.name], **(keys | {"access_key_id": "AKIASTRANGER"}))
        for who, code in ((forger, "SignatureDoesNotMatch"), (stranger, "InvalidClientTokenId")):
            try:
                who.describe_alarms()
            except ClientError as error:
                assert error.response["Error"]["Code"] == code, error
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
            else:
                raise AssertionError(f"{self.name}: whoever signs wrongly is let in")

    def run(self):
        said = [self.alarms(), self.refusals(), self.states(), self.tags(), self.metrics(), self.paging()]
        self.deleting()
        self.gate()
        missing = set(OPERATIONS) - self.called
        assert not missing, f"{self.name}: {missing} were not called"
        return without_place(said, self.region)


def without_place(value, region):
    """What was told without what differs from one run to the next."""
    if isinstance(value, dict):
        return {
            name: without_place(inner, region) for name, inner in value.items() if not isinstance(inner, datetime.datetime)
        }
    if isinstance(value, (list, tuple)):
        return [without_place(inner, region) for inner in value]
    return value.replace(region, "REGION") if isinstance(value, str) else value


def main(endpoint):
    said, checked = {}, 0
    for name in PROTOCOLS:
        proof = Proof(endpoint, name)
        said[name] = proof.run()
        checked += proof.answers.checked
    first, *others = said.values()
    for name, other in zip(list(PROTOCOLS)[1:], others):
        assert other == first, f"{name} says something else:\n{other}\n{first}"
    print(
        f"CloudWatch: {len(OPERATIONS)} operations in {len(PROTOCOLS)} protocols, {checked} answers checked byte by byte, "
        f"{len(REFUSED)} refusals in each"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
