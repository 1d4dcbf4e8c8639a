"""What Schemathesis may not do to the fleet of suites/openapi: run a command that was made up.

A body that is wrong anyway stays as it is: it is to be refused.
"""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    runs = isinstance(body, dict) and body.get("command") is not None and isinstance(body.get("dry_run", False), bool)
    return {**body, "dry_run": True} if runs and "/deploy/" in context.operation.label else body
