"""What Schemathesis may not do to the fleet of suites/openapi: run a command that was made up.

A body that is wrong anyway stays as it is: it is to be refused. Idempotency keys and preconditions are left out: a made-up key
that was used before is refused with reason, and so is every made-up tag. What they do is tested in idempotency.rs and
preconditions.rs of crates/gateway/tests.
"""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    runs = isinstance(body, dict) and body.get("command") is not None and isinstance(body.get("dry_run", False), bool)
    return {**body, "dry_run": True} if runs and "/deploy/" in context.operation.label else body


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            kept = [one for one in operation["parameters"] if one["name"] not in ("Idempotency-Key", "If-Match")]
            operation["parameters"] = kept
