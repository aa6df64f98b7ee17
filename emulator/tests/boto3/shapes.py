"""What an answer must be by botocore's model, on the bytes as they came: botocore itself drops what it does not know."""

import json
import re

# Members that no answer here has, each with its reason. A test fails when one of them is seen after all.
UNSEEN = {
    "DescribeEdgeConfiguration.FailedStatusDetails": "an edge configuration never fails here",
    "DescribeEdgeConfiguration.EdgeAgentStatus": "no edge agent reports here",
    "StartEdgeConfigurationUpdate.FailedStatusDetails": "an edge configuration never fails here",
    "ListEdgeAgentConfigurations.EdgeConfigs.member.FailedStatusDetails": "an edge configuration never fails here",
    "ListTagsForStream.NextToken": "50 tags are one page",
    "ListTagsForResource.NextToken": "50 tags are one page",
    "DescribeMappedResourceConfiguration.NextToken": "one channel is one page",
}


class Breach(Exception):
    """An answer that is not what the model says."""


class Answers:
    """Checks answers and keeps which members were seen."""

    def __init__(self):
        self.checked = 0
        self.seen = set()
        self.known = set()

    def check(self, operation, body):
        """One answer of an operation of botocore's model."""
        self.checked += 1
        document = json.loads(body)
        if operation.output_shape is None:
            raise Breach(f"{operation.name} has no output in the model")
        self._walk(operation.output_shape, document, operation.name)
        self._know(operation.output_shape, operation.name)

    def unseen(self):
        """Members of the answers of all checked operations that were never there."""
        return self.known - self.seen

    def _know(self, shape, path):
        if shape.type_name == "structure":
            for name, member in shape.members.items():
                self.known.add(f"{path}.{name}")
                # What is configured is asked for and told in the same shapes; the parts of a list are its own.
                if not (f"{path}.{name}" in UNSEEN):
                    self._know(member, f"{path}.{name}")
        elif shape.type_name == "list":
            self._know(shape.member, f"{path}.member")

    def _walk(self, shape, value, path):
        getattr(self, f"_{shape.type_name}")(shape, value, path)

    def _structure(self, shape, value, path):
        want(isinstance(value, dict), path, "is no object")
        for name in shape.required_members:
            want(name in value, path, f"lacks the required member {name}")
        for name, member in value.items():
            want(name in shape.members, path, f"has the member {name}, which the model does not know")
            want(member is not None, path, f"has a null for {name}")
            self.seen.add(f"{path}.{name}")
            self._walk(shape.members[name], member, f"{path}.{name}")

    def _list(self, shape, value, path):
        want(isinstance(value, list), path, "is no list")
        bounds(shape, len(value), path)
        for member in value:
            self._walk(shape.member, member, f"{path}.member")

    def _map(self, shape, value, path):
        want(isinstance(value, dict), path, "is no map")
        # An empty map is how no tags are told; the bound is one of requests.
        if value:
            bounds(shape, len(value), path)
        for key, member in value.items():
            self._walk(shape.key, key, f"{path}.key")
            self._walk(shape.value, member, f"{path}.value")

    def _string(self, shape, value, path):
        want(isinstance(value, str), path, "is no string")
        bounds(shape, len(value), path)
        enum = shape.metadata.get("enum")
        want(not enum or value in enum, path, f"is {value!r}, which is none of {enum}")
        pattern = shape.metadata.get("pattern")
        want(not pattern or python_pattern(pattern).fullmatch(value), path, f"is {value!r}, not {pattern}")

    def _integer(self, shape, value, path):
        want(isinstance(value, int) and not isinstance(value, bool), path, "is no integer")
        bounds(shape, value, path)

    def _boolean(self, _shape, value, path):
        want(isinstance(value, bool), path, "is no boolean")

    def _timestamp(self, _shape, value, path):
        want(isinstance(value, (int, float)) and not isinstance(value, bool), path, "is no epoch time")
        want(1_500_000_000 < value < 5_000_000_000, path, f"is {value}, which is no time of ours in seconds")


def want(holds, path, otherwise):
    if not holds:
        raise Breach(f"{path} {otherwise}")


def bounds(shape, number, path):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    want(low is None or number >= low, path, f"is below its bound of {low}: {number}")
    want(high is None or number <= high, path, f"is above its bound of {high}: {number}")


def python_pattern(pattern):
    """A pattern of the model as one of Python's, which has no classes of Unicode properties; of letters those in Latin script."""
    for java, ours in ((r"\p{L}", "A-Za-zÀ-ɏ"), (r"\p{Z}", " "), (r"\p{N}", "0-9")):
        pattern = pattern.replace(java, ours)
    return re.compile(pattern, re.ASCII)
