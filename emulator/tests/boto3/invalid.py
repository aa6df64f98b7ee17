"""Requests that break the model, one rule at a time, made from one that does not."""

import copy

# Text that no pattern of the model takes, by shape; the others refuse a space.
BREAKS = {"KmsKeyId": "a\nb", "ScheduleExpression": "0 0 * * * ?\n*", "TagKey": "semi;colon", "TagValue": "semi;colon",
          "DestinationUri": "no destination", "FormatConfigValue": "!"}


def invalid_requests(operation, valid):
    """Pairs of a request and the rule that it breaks."""
    yield from _structure(operation.input_shape, valid, (), valid)


def _structure(shape, value, path, whole):
    for name in shape.required_members:
        yield _without(whole, (*path, name)), f"{'.'.join(map(str, (*path, name)))} is required"
    for name, member in shape.members.items():
        if name in value:
            yield from _member(member, value[name], (*path, name), whole)


def _member(shape, value, path, whole):
    where = ".".join(map(str, path))

    def broken(other, rule):
        return _with(whole, path, other), f"{where} {rule}"

    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    kind = shape.type_name
    if kind == "structure":
        yield broken("text", "is a structure")
        yield from _structure(shape, value, path, whole)
    elif kind == "list":
        yield broken({}, "is a list")
        if low:
            yield broken([], f"has at least {low}")
        if high is not None and shape.member.type_name == "string" and "enum" not in shape.member.metadata:
            yield broken([f"{value[0]}{n}" for n in range(high + 1)], f"has at most {high}")
        yield from _member(shape.member, value[0], (*path, 0), whole)
    elif kind == "map":
        yield broken([], "is a map")
        if low:
            yield broken({}, f"has at least {low}")
    elif kind == "string":
        yield broken(7, "is a string")
        if low:
            yield broken("x" * (low - 1), f"is at least {low} long")
        if high is not None:
            yield broken("x" * (high + 1), f"is at most {high} long")
        if shape.metadata.get("enum"):
            yield broken("BOGUS", "is one of its words")
        if shape.metadata.get("pattern"):
            yield broken(BREAKS.get(shape.name, "not this"), "matches its pattern")
    elif kind == "integer":
        yield broken("7", "is an integer")
        yield broken(2**31, "has 32 bits")
        if low is not None:
            yield broken(low - 1, f"is at least {low}")
        if high is not None:
            yield broken(high + 1, f"is at most {high}")
    elif kind == "boolean":
        yield broken("true", "is a boolean")


def _with(whole, path, value):
    changed = copy.deepcopy(whole)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


def _without(whole, path):
    changed = copy.deepcopy(whole)
    at = changed
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return changed
