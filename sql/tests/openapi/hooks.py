"""What schemathesis is told about JSON that JSON Schema has no words for."""

import schemathesis


def whole(value):
    """`1.0` is an integer to JSON Schema, and none to serde or a column of integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return value


@schemathesis.hook
def map_body(context, body):
    return whole(body)
