"""Every operation of the control plane by boto3, unmodified, against the emulator.

control_plane.py ENDPOINT

Each answer is checked against botocore's own model, as are the codes and statuses of errors. Prints what was tried.
Credentials come from the environment.
"""

import itertools
import json
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from invalid import invalid_requests
from shapes import UNSEEN, Answers

REGION = "eu-central-1"
HUB = f"arn:aws:iot:{REGION}:123456789012:thing/hub"
# The model has them; its documents say of both that they are not implemented.
NOT_OF_THE_SERVICE = {"InvalidDeviceException", "DeviceStreamLimitExceededException"}
# Three tag operations answer a broken ARN, and some a tag too many, with errors of their own.
OWN_REFUSALS = {"InvalidArgumentException", "InvalidResourceFormatException", "TagsPerResourceExceededLimitException"}


class Proof:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
        self.client = boto3.client("kinesisvideo", endpoint_url=endpoint, region_name=REGION, config=config)
        self.model = self.client.meta.service_model
        self.answers = Answers()
        self.called = set()
        self.provoked = {}
        self.names = (f"n{number}" for number in itertools.count())
        self.last = None
        # The body to send in place of that of the call.
        self.body = None
        self.client.meta.events.register("before-call.kinesis-video", self._replace)
        self.client.meta.events.register("before-parse.kinesis-video", self._keep)

    def _replace(self, params, **_):
        if self.body is not None:
            params["body"] = json.dumps(self.body).encode()

    def _keep(self, response_dict, **_):
        self.last = response_dict

    def hook(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_emulator/{path}", data, method=method)
        return json.loads(urllib.request.urlopen(request).read())

    def options(self, **options):
        self.hook("POST", "options", options)

    def send(self, operation, request):
        """Sends a request; its answer, checked, or the code of its error, checked."""
        model = self.model.operation_model(operation)
        method = getattr(self.client, self.methods[operation])
        try:
            answer = method(**request)
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            shapes = {shape.name: shape for shape in model.error_shapes}
            assert code in shapes, f"{operation} answers {code}, which the model does not have"
            assert status == shapes[code].metadata["error"]["httpStatusCode"], f"{operation}: {code} with {status}"
            assert error.response["Error"]["Message"], f"{operation}: {code} says nothing"
            assert isinstance(error, getattr(self.client.exceptions, code)), f"{operation}: {code} is not raised as itself"
            return None, code
        assert self.last["headers"].get("x-amzn-requestid"), f"{operation} has no request id"
        self.answers.check(model, self.last["body"])
        self.called.add(operation)
        return answer, None

    def send_broken(self, operation, request, valid):
        """Sends what boto3 itself would not: it is called with what is valid."""
        self.body = request
        try:
            return self.send(operation, valid)
        finally:
            self.body = None

    @property
    def methods(self):
        return {operation: method for method, operation in self.client.meta.method_to_api_mapping.items()}

    def call(self, operation, **request):
        answer, code = self.send(operation, request)
        assert code is None, f"{operation} {request}: {code}"
        return answer

    def refused(self, operation, code, by="machine", **request):
        answer, got = self.send(operation, request)
        assert got == code, f"{operation} {request}: {got or answer}, not {code}"
        self.provoked.setdefault((operation, code), by)

    # What is there to be asked for.

    def stream(self, hours=24, **more):
        name = next(self.names)
        arn = self.call("CreateStream", StreamName=name, DataRetentionInHours=hours, **more)["StreamARN"]
        return name, arn

    def version(self, name):
        return self.call("DescribeStream", StreamName=name)["StreamInfo"]["Version"]

    def channel(self, **more):
        name = next(self.names)
        arn = self.call("CreateSignalingChannel", ChannelName=name, **more)["ChannelARN"]
        return name, arn

    def channel_version(self, arn):
        return self.call("DescribeSignalingChannel", ChannelARN=arn)["ChannelInfo"]["Version"]


def images(**more):
    return {
        "Status": "ENABLED",
        "ImageSelectorType": "SERVER_TIMESTAMP",
        "DestinationConfig": {"Uri": "s3://bucket/prefix", "DestinationRegion": REGION},
        "SamplingInterval": 3000,
        "Format": "JPEG",
        "FormatConfig": {"JPEGQuality": "80"},
        "WidthPixels": 640,
        "HeightPixels": 360,
        **more,
    }


NOTIFICATION = {
    "Status": "ENABLED",
    "DestinationConfig": {"Uri": f"arn:aws:sns:{REGION}:123456789012:topic"},
}
SCHEDULE = {"ScheduleExpression": "0 0 * * * ? *", "DurationInSeconds": 3600}
EDGE = {
    "HubDeviceArn": HUB,
    "RecorderConfig": {
        "MediaSourceConfig": {
            "MediaUriSecretArn": f"arn:aws:secretsmanager:{REGION}:123456789012:secret:camera-1",
            "MediaUriType": "RTSP_URI",
        },
        "ScheduleConfig": SCHEDULE,
    },
    "UploaderConfig": {"ScheduleConfig": SCHEDULE},
    "DeletionConfig": {
        "EdgeRetentionInHours": 72,
        "LocalSizeConfig": {"MaxLocalMediaSizeInMB": 1000, "StrategyOnFullSize": "DELETE_OLDEST_MEDIA"},
        "DeleteAfterUpload": True,
    },
}


def valid_requests(proof, hours=24):
    """One valid request for each operation, with every member that it has, on streams and channels of its own."""
    stream, stream_arn = proof.stream(hours)
    channel, channel_arn = proof.channel()
    current, current_of_channel = proof.version(stream), proof.channel_version(channel_arn)
    named, by_arn = {"StreamName": stream}, {"StreamARN": stream_arn}
    condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "n"}
    tag = {"Key": "site", "Value": "north"}
    return {
        "CreateStream": {
            "StreamName": next(proof.names), "DeviceName": "camera", "MediaType": "video/h264,audio/aac",
            "KmsKeyId": "alias/key", "DataRetentionInHours": 24, "Tags": {"site": "Küche 1 @home"},
            "StreamStorageConfiguration": {"DefaultStorageTier": "WARM"},
        },
        "DescribeStream": named,
        "ListStreams": {"MaxResults": 10000, "NextToken": "6e30", "StreamNameCondition": condition},
        "UpdateStream": {**named, "CurrentVersion": current, "DeviceName": "camera", "MediaType": "video/h265"},
        "UpdateDataRetention": {
            **by_arn, "CurrentVersion": current, "Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 1,
        },
        "DescribeStreamStorageConfiguration": by_arn,
        "UpdateStreamStorageConfiguration": {
            **named, "CurrentVersion": current, "StreamStorageConfiguration": {"DefaultStorageTier": "WARM"},
        },
        "GetDataEndpoint": {**by_arn, "APIName": "PUT_MEDIA"},
        "TagStream": {**by_arn, "Tags": {"site": "north"}},
        "UntagStream": {**by_arn, "TagKeyList": ["site"]},
        "ListTagsForStream": {**by_arn, "NextToken": ""},
        "DescribeImageGenerationConfiguration": named,
        "UpdateImageGenerationConfiguration": {**by_arn, "ImageGenerationConfiguration": images()},
        "DescribeNotificationConfiguration": by_arn,
        "UpdateNotificationConfiguration": {**named, "NotificationConfiguration": NOTIFICATION},
        "StartEdgeConfigurationUpdate": {**by_arn, "EdgeConfig": EDGE},
        "DescribeEdgeConfiguration": named,
        "ListEdgeAgentConfigurations": {"HubDeviceArn": HUB, "MaxResults": 1},
        "DeleteEdgeConfiguration": by_arn,
        "CreateSignalingChannel": {
            "ChannelName": next(proof.names), "ChannelType": "SINGLE_MASTER",
            "SingleMasterConfiguration": {"MessageTtlSeconds": 30}, "Tags": [tag],
        },
        "DescribeSignalingChannel": {"ChannelARN": channel_arn},
        "ListSignalingChannels": {"MaxResults": 10000, "NextToken": "6e30", "ChannelNameCondition": condition},
        "GetSignalingChannelEndpoint": {
            "ChannelARN": channel_arn,
            "SingleMasterChannelEndpointConfiguration": {"Protocols": ["WSS", "HTTPS"], "Role": "MASTER"},
        },
        "TagResource": {"ResourceARN": channel_arn, "Tags": [tag]},
        "ListTagsForResource": {"ResourceARN": channel_arn, "NextToken": ""},
        "UntagResource": {"ResourceARN": channel_arn, "TagKeyList": ["site"]},
        "UpdateMediaStorageConfiguration": {
            "ChannelARN": channel_arn, "MediaStorageConfiguration": {"StreamARN": stream_arn, "Status": "ENABLED"},
        },
        "DescribeMediaStorageConfiguration": {"ChannelName": channel},
        "DescribeMappedResourceConfiguration": {**named, "MaxResults": 1},
        "UpdateSignalingChannel": {
            "ChannelARN": channel_arn, "CurrentVersion": current_of_channel,
            "SingleMasterConfiguration": {"MessageTtlSeconds": 90},
        },
        "DeleteSignalingChannel": {"ChannelARN": channel_arn, "CurrentVersion": current_of_channel},
        "DeleteStream": {**by_arn, "CurrentVersion": current},
    }


def with_current_version(proof, request):
    """The request with the version that its stream or channel has by now."""
    if "CurrentVersion" not in request:
        return request
    if "ChannelARN" in request:
        return {**request, "CurrentVersion": proof.channel_version(request["ChannelARN"])}
    selection = {name: value for name, value in request.items() if name in ("StreamName", "StreamARN")}
    info = proof.call("DescribeStream", **selection)["StreamInfo"]
    return {**request, "CurrentVersion": info["Version"]}


def breaks(proof):
    """Every rule of the model that a request can break is refused; nothing is carried out."""
    count = 0
    for operation, valid in valid_requests(proof).items():
        model = proof.model.operation_model(operation)
        for request, rule in invalid_requests(model, valid):
            answer, code = proof.send_broken(operation, request, valid)
            assert code in OWN_REFUSALS, f"{operation} takes what breaks '{rule}': {answer or code}"
            proof.provoked.setdefault((operation, code), "machine")
            count += 1
    # One of both ways to name, and not both, where there are two.
    for operation, valid in valid_requests(proof).items():
        members = proof.model.operation_model(operation).input_shape.members
        for kind in ("Stream", "Channel"):
            ways = [f"{kind}Name", f"{kind}ARN"]
            if not all(way in members for way in ways) or operation == "CreateStream":
                continue
            rest = {name: value for name, value in valid.items() if name not in ways}
            proof.refused(operation, "InvalidArgumentException", **rest)
            both = {ways[0]: "a", ways[1]: f"arn:aws:kinesisvideo:{REGION}:123456789012:{kind.lower()}/a/1"}
            proof.refused(operation, "InvalidArgumentException", **rest, **both)
            count += 2
    return count


def lives(proof):
    """What the operations do, beyond that they answer."""
    name, arn = proof.stream(0, MediaType="video/h264", DeviceName="d", Tags={"a": "1"})
    before = proof.call("DescribeStream", StreamARN=arn)["StreamInfo"]
    assert before["KmsKeyId"].endswith(":alias/aws/kinesisvideo") and before["DataRetentionInHours"] == 0
    assert int(before["CreationTime"].timestamp() * 1000 + 0.5) == int(arn.rsplit("/", 1)[1])
    change = {"StreamName": name, "Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 5}
    proof.call("UpdateDataRetention", CurrentVersion=before["Version"], **change)
    after = proof.call("DescribeStream", StreamARN=arn)["StreamInfo"]
    assert after["DataRetentionInHours"] == 5 and after["Version"] != before["Version"]
    proof.call("UpdateImageGenerationConfiguration", StreamName=name, ImageGenerationConfiguration=images())
    told = proof.call("DescribeImageGenerationConfiguration", StreamName=name)
    assert told["ImageGenerationConfiguration"] == images()
    proof.call("UpdateImageGenerationConfiguration", StreamName=name)
    assert "ImageGenerationConfiguration" not in proof.call("DescribeImageGenerationConfiguration", StreamName=name)
    proof.call("UpdateNotificationConfiguration", StreamName=name, NotificationConfiguration=NOTIFICATION)
    told = proof.call("DescribeNotificationConfiguration", StreamName=name)
    assert told["NotificationConfiguration"] == NOTIFICATION
    version = after["Version"]
    tier = {"StreamStorageConfiguration": {"DefaultStorageTier": "WARM"}}
    proof.call("UpdateStreamStorageConfiguration", StreamName=name, CurrentVersion=version, **tier)
    told = proof.call("DescribeStreamStorageConfiguration", StreamName=name)
    assert told["StreamStorageConfiguration"] == tier["StreamStorageConfiguration"] and told["StreamARN"] == arn
    proof.call("StartEdgeConfigurationUpdate", StreamName=name, EdgeConfig=EDGE)
    told = proof.call("DescribeEdgeConfiguration", StreamName=name)
    assert (told["EdgeConfig"], told["SyncStatus"]) == (EDGE, "IN_SYNC")
    channel, channel_arn = proof.channel(Tags=[{"Key": "a", "Value": "1"}])
    storage = {"Status": "ENABLED", "StreamARN": arn}
    proof.call("UpdateMediaStorageConfiguration", ChannelARN=channel_arn, MediaStorageConfiguration=storage)
    told = proof.call("DescribeMediaStorageConfiguration", ChannelName=channel)
    assert told["MediaStorageConfiguration"] == storage
    mapped = proof.call("DescribeMappedResourceConfiguration", StreamARN=arn)["MappedResourceConfigurationList"]
    assert [item["ARN"] for item in mapped] == [channel_arn]
    proof.call("TagResource", ResourceARN=channel_arn, Tags=[{"Key": "b", "Value": "2"}])
    proof.call("UntagResource", ResourceARN=channel_arn, TagKeyList=["a", "unknown"])
    assert proof.call("ListTagsForResource", ResourceARN=channel_arn)["Tags"] == {"b": "2"}
    # The key `Tags` of a stream is a map.
    assert proof.call("ListTagsForStream", StreamName=name)["Tags"] == {"a": "1"}


def pages(proof):
    """Lists have pages, in the order of names, with a prefix."""
    names = [f"page-{number:02}" for number in range(25)]
    for name in reversed(names):
        proof.call("CreateStream", StreamName=name, DataRetentionInHours=1)
        proof.call("CreateSignalingChannel", ChannelName=name)
        proof.call("StartEdgeConfigurationUpdate", StreamName=name, EdgeConfig={**EDGE, "HubDeviceArn": HUB + "-2"})
    condition = {"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "page-"}
    calls = [
        ("ListStreams", "list_streams", "StreamInfoList", "StreamName", {"StreamNameCondition": condition}),
        ("ListSignalingChannels", "list_signaling_channels", "ChannelInfoList", "ChannelName",
         {"ChannelNameCondition": condition}),
        ("ListEdgeAgentConfigurations", "list_edge_agent_configurations", "EdgeConfigs", "StreamName",
         {"HubDeviceArn": HUB + "-2"}),
    ]
    for operation, method, items, member, request in calls:
        model = proof.model.operation_model(operation)
        found, sizes = [], []
        for page in proof.client.get_paginator(method).paginate(**request, PaginationConfig={"PageSize": 7}):
            proof.answers.check(model, proof.last["body"])
            found += [item[member] for item in page[items]]
            sizes.append(len(page[items]))
        assert (found, sizes) == (names, [7, 7, 7, 4]), (operation, found, sizes)
    everything = proof.call("ListStreams")
    assert "NextToken" not in everything and len(everything["StreamInfoList"]) > 25
    none = proof.call("ListStreams", StreamNameCondition={"ComparisonValue": "absent-"})
    assert none["StreamInfoList"] == []
    exactly = proof.call("ListStreams", MaxResults=25, StreamNameCondition=condition)
    assert len(exactly["StreamInfoList"]) == 25 and "NextToken" not in exactly
    proof.refused("ListStreams", "InvalidArgumentException", NextToken="zz")
    return sum(1 for _ in calls)


def errors(proof):
    """Each error that the model has for an operation, by the machine itself where it has a cause."""
    not_found(proof)
    foreign(proof)
    stale(proof)
    busy(proof)
    limits(proof)
    quotas(proof)
    # What has no cause here (policies, a quota of 300 calls) is ordered.
    valid = valid_requests(proof)
    for operation in proof.model.operation_names:
        for shape in proof.model.operation_model(operation).error_shapes:
            pair = (operation, shape.name)
            if pair in proof.provoked or shape.name in NOT_OF_THE_SERVICE:
                continue
            proof.hook("POST", "faults", {"operation": operation, "action": "error", "code": shape.name, "count": 1})
            proof.refused(operation, shape.name, by="order", **valid[operation])


def not_found(proof):
    absent = {
        "StreamName": "absent",
        "ChannelName": "absent",
        "StreamARN": f"arn:aws:kinesisvideo:{REGION}:123456789012:stream/absent/1",
        "ChannelARN": f"arn:aws:kinesisvideo:{REGION}:123456789012:channel/absent/1",
        "ResourceARN": f"arn:aws:kinesisvideo:{REGION}:123456789012:channel/absent/1",
    }
    for operation, request in valid_requests(proof).items():
        model = proof.model.operation_model(operation)
        if "ResourceNotFoundException" in {shape.name for shape in model.error_shapes}:
            asked = {name: absent.get(name, value) for name, value in request.items()}
            proof.refused(operation, "ResourceNotFoundException", **asked)
    name, _ = proof.stream()
    for operation in ("DescribeEdgeConfiguration", "DeleteEdgeConfiguration"):
        proof.refused(operation, "StreamEdgeConfigurationNotFoundException", StreamName=name)


def foreign(proof):
    """Another account's things may not be touched, whether they are there or not."""
    for operation, request in valid_requests(proof).items():
        model = proof.model.operation_model(operation)
        members = model.input_shape.members
        arns = [name for name in ("ResourceARN", "ChannelARN", "StreamARN") if name in members]
        if not arns:
            continue
        kind = "stream" if arns[0] == "StreamARN" else "channel"
        rest = {name: value for name, value in request.items() if name not in ("StreamName", "ChannelName", arns[0])}
        codes = {shape.name for shape in model.error_shapes}
        code = "NotAuthorizedException" if "NotAuthorizedException" in codes else "AccessDeniedException"
        arn = f"arn:aws:kinesisvideo:{REGION}:999999999999:{kind}/other/1"
        proof.refused(operation, code, **{arns[0]: arn}, **rest)


def stale(proof):
    for operation, request in valid_requests(proof).items():
        if "CurrentVersion" in request:
            proof.refused(operation, "VersionMismatchException", **{**request, "CurrentVersion": "stale"})
    for operation, request in valid_requests(proof, hours=0).items():
        model = proof.model.operation_model(operation)
        if "NoDataRetentionException" in {shape.name for shape in model.error_shapes}:
            proof.refused(operation, "NoDataRetentionException", **request)


def busy(proof):
    proof.options(creatingMs=3_600_000)
    requests = valid_requests(proof)
    for operation, request in requests.items():
        model = proof.model.operation_model(operation)
        if "ResourceInUseException" not in {shape.name for shape in model.error_shapes}:
            continue
        if operation.startswith("Create"):
            proof.call(operation, **request)
        proof.refused(operation, "ResourceInUseException", **request)
    proof.options(creatingMs=0)
    # A stream stores the media of one channel.
    one, other, stream = proof.channel()[1], proof.channel()[1], proof.stream()[1]
    storage = {"MediaStorageConfiguration": {"Status": "ENABLED", "StreamARN": stream}}
    proof.call("UpdateMediaStorageConfiguration", ChannelARN=one, **storage)
    proof.refused("UpdateMediaStorageConfiguration", "ResourceInUseException", ChannelARN=other, **storage)


def limits(proof):
    tags = {f"key-{number}": "" for number in range(51)}
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    half = dict(list(tags.items())[:26])
    other_half = dict(list(tags.items())[25:])
    name, _ = proof.stream(Tags=half)
    proof.refused("TagStream", "TagsPerResourceExceededLimitException", StreamName=name, Tags=other_half)
    assert proof.call("ListTagsForStream", StreamName=name)["Tags"] == half
    proof.refused("CreateStream", "TagsPerResourceExceededLimitException", StreamName="many", Tags=tags)
    channel = proof.channel(Tags=listed[:26])[1]
    proof.refused("TagResource", "TagsPerResourceExceededLimitException", ResourceARN=channel, Tags=listed[25:])
    proof.refused("CreateSignalingChannel", "TagsPerResourceExceededLimitException", ChannelName="many", Tags=listed)
    proof.options(streamsMax=1, channelsMax=1)
    proof.refused("CreateStream", "AccountStreamLimitExceededException", StreamName="one-more")
    proof.refused("CreateSignalingChannel", "AccountChannelLimitExceededException", ChannelName="one-more")
    proof.options(streamsMax=10_000, channelsMax=5_000)


def quotas(proof):
    """The quotas of one stream: the sixth call in a second, or the second one where one is allowed."""
    requests = valid_requests(proof)
    proof.options(quotas=True)
    for operation, request in requests.items():
        named = any(name in request for name in ("StreamName", "StreamARN", "ChannelName", "ChannelARN", "ResourceARN"))
        if not named or operation in ("CreateStream", "CreateSignalingChannel", "GetSignalingChannelEndpoint"):
            continue
        for _ in range(60):
            if proof.send(operation, request)[1] == "ClientLimitExceededException":
                proof.provoked[(operation, "ClientLimitExceededException")] = "machine"
                break
        else:
            raise AssertionError(f"{operation} has no quota for one stream")
    proof.options(quotas=False)


def main(endpoint):
    proof = Proof(endpoint)
    for operation, request in valid_requests(proof).items():
        proof.call(operation, **with_current_version(proof, request))
    every = set(proof.model.operation_names)
    assert proof.called == every, f"not called: {every - proof.called}"
    lives(proof)
    lists = pages(proof)
    broken = breaks(proof)
    errors(proof)
    pairs = {
        (operation, shape.name)
        for operation in every
        for shape in proof.model.operation_model(operation).error_shapes
        if shape.name not in NOT_OF_THE_SERVICE
    }
    assert set(proof.provoked) == pairs, set(proof.provoked) ^ pairs
    unseen = proof.answers.unseen()
    assert unseen == set(UNSEEN), f"members never answered, or answered after all: {unseen ^ set(UNSEEN)}"
    by_order = sum(by == "order" for by in proof.provoked.values())
    print(
        f"control plane by boto3: {len(proof.called)} operations, {proof.answers.checked} answers as the model has them "
        f"({len(proof.answers.seen)} members, {len(unseen)} never answered), {lists} lists paged, {broken} broken "
        f"requests refused, {len(pairs)} errors of operations provoked ({by_order} of them on order)"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
