"""What Schemathesis may not do to the fleet of suites/openapi: run a command that was made up.

A body that is wrong anyway stays as it is: it is to be refused. An idempotency key that may be one is made new, since a
key that was used is refused with reason.
"""

import itertools
import re

import schemathesis

COUNT = itertools.count()


@schemathesis.hook
def map_body(context, body):
    runs = isinstance(body, dict) and body.get("command") is not None and isinstance(body.get("dry_run", False), bool)
    return {**body, "dry_run": True} if runs and "/deploy/" in context.operation.label else body


@schemathesis.hook
def before_call(context, case, kwargs):
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        case.headers["Idempotency-Key"] = f"key-{next(COUNT)}"
