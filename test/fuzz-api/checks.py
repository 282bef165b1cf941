"""Hooks of schemathesis for `make fuzz-api`: what counts as a fault of the server. Every 5xx does, except those that the API
has by specification: discovery of somebody else's endpoint that failed (500 with a META code, spec/errors.md section 3), SQL that
cannot be planned or run (500, section 9), a deployment that the serde proxy cannot use (500, spec/admin-api.md section 17), and
a 501 where the document says that there may be one."""

import schemathesis


def allowed(case, response):
    path, status = case.operation.path, response.status_code
    try:
        message = response.json().get("message", "")
    except Exception:
        message = ""
    if status == 501:
        return "501" in case.operation.definition.raw["responses"]
    if status != 500:
        return False
    if path.startswith("/deployments"):
        return message.startswith("[META") or "received a bad response from the SDK" in message
    if path == "/query":
        return message.startswith("Datafusion error: ")
    return path.startswith("/internal/services/") and "serde" in message


@schemathesis.check
def no_server_fault(ctx, response, case):
    if response.status_code >= 500 and not allowed(case, response):
        raise AssertionError(f"status {response.status_code}: {response.text[:500]}")
    return None
