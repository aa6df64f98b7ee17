"""What the tests do with boto3, unmodified. Credentials come from the environment, as everywhere.

client.py control ENDPOINT REGION STREAM
    The life of a stream, from creation to deletion; prints one JSON object a line: {"call": ..., "answer": ...}, or
    {"call": ..., "error": code, "status": HTTP status}.

client.py get-media ENDPOINT REGION STREAM BYTES
    Writes the body of GetMedia, from the earliest fragment, to stdout until it is killed: in large pieces for the first
    BYTES, then byte by byte, so that no end of a fragment waits inside the client for more.
"""

import json
import os
import sys
import time

import boto3
from botocore.exceptions import ClientError


def client(service, endpoint, region, **credentials):
    return boto3.client(service, endpoint_url=endpoint, region_name=region, **credentials)


def control(endpoint, region, stream):
    video = client("kinesisvideo", endpoint, region)

    def call(name, by=video, **arguments):
        try:
            answer = getattr(by, name)(**arguments)
            metadata = answer.pop("ResponseMetadata")
            report = {"call": name, "answer": answer, "status": metadata["HTTPStatusCode"]}
        except ClientError as error:
            answer = {}
            metadata = error.response["ResponseMetadata"]
            report = {"call": name, "error": error.response["Error"]["Code"], "status": metadata["HTTPStatusCode"]}
        print(json.dumps(report, default=lambda moment: moment.timestamp()), flush=True)
        return answer

    def until(condition):
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                sys.exit("the stream did not change its state within 30 s")
            time.sleep(0.05)

    def status():
        try:
            return video.describe_stream(StreamName=stream)["StreamInfo"]["Status"]
        except video.exceptions.ResourceNotFoundException:
            return "GONE"

    known = os.environ["AWS_ACCESS_KEY_ID"]
    forger = client("kinesisvideo", endpoint, region, aws_access_key_id=known, aws_secret_access_key="guessed")
    stranger = client("kinesisvideo", endpoint, region, aws_access_key_id="AKIASTRANGER", aws_secret_access_key="x")
    call("create_stream", by=forger, StreamName=stream)
    call("create_stream", by=stranger, StreamName=stream)
    created = call(
        "create_stream",
        StreamName=stream,
        MediaType="video/h264",
        DataRetentionInHours=2,
        Tags={"site": "north", "floor": "1"},
    )
    arn = created["StreamARN"]
    until(lambda: status() == "ACTIVE")
    call("create_stream", StreamName=stream)
    before = call("describe_stream", StreamName=stream)["StreamInfo"]
    call("list_streams", StreamNameCondition={"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": stream})
    call("list_streams", StreamNameCondition={"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "absent-"})
    call("tag_stream", StreamARN=arn, Tags={"floor": "2", "wing": "west"})
    call("untag_stream", StreamName=stream, TagKeyList=["site"])
    call("list_tags_for_stream", StreamName=stream)
    raised = {
        "StreamName": stream,
        "CurrentVersion": before["Version"],
        "Operation": "INCREASE_DATA_RETENTION",
        "DataRetentionChangeInHours": 22,
    }
    call("update_data_retention", **raised)
    until(lambda: status() == "ACTIVE")
    # The same once more: the version has gone, so that a repeated call cannot raise twice.
    call("update_data_retention", **raised)
    call("describe_stream", StreamARN=arn)
    call("get_data_endpoint", StreamName=stream, APIName="PUT_MEDIA")
    call("delete_stream", StreamARN=arn, CurrentVersion=before["Version"])
    call("delete_stream", StreamARN=arn)
    until(lambda: status() == "GONE")
    call("describe_stream", StreamName=stream)


def get_media(endpoint, region, stream, large):
    video = client("kinesisvideo", endpoint, region)
    data_endpoint = video.get_data_endpoint(StreamName=stream, APIName="GET_MEDIA")["DataEndpoint"]
    media = client("kinesis-video-media", data_endpoint, region)
    answer = media.get_media(StreamName=stream, StartSelector={"StartSelectorType": "EARLIEST"})
    body = answer["Payload"]
    read = 0
    while piece := body.read(min(8192, large - read) if read < large else 1):
        read += len(piece)
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "control":
        control(*arguments)
    elif command == "get-media":
        get_media(*arguments[:3], int(arguments[3]))
    else:
        sys.exit(__doc__)
