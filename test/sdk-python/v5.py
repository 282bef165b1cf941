"""services.py on the last release of the SDK that speaks service protocol 5 only (0.8.1). What that release lacks gets a stand-in
here where durable steps can give one; signals, seeded random numbers, metadata of errors, delays of retries and retry policies of
services cannot be had (the suite knows: test/sdk-other/world.mjs)."""

import runpy
import time
import uuid
from pathlib import Path

import restate
from restate import exceptions
from restate.server_context import ServerInvocationContext


def without(function, *names):
    def call(*args, **kwargs):
        return function(*args, **{name: value for name, value in kwargs.items() if name not in names})

    return call


async def now(ctx) -> float:
    def read() -> float:
        return time.time()

    return await ctx.run_typed("now", read)


def terminal_error(self, message, status_code=500, metadata=None):
    Exception.__init__(self, message)
    self.message, self.status_code, self.metadata = message, status_code, None


class RetryableError(Exception):
    def __init__(self, message, retry_after=None):
        super().__init__(message)


exceptions.RetryableError = RetryableError
exceptions.TerminalError.__init__ = terminal_error
restate.InvocationRetryPolicy = lambda **_: None
restate.RunOptions = without(restate.RunOptions, "initial_retry_interval", "retry_interval_factor")
restate.VirtualObject = without(restate.VirtualObject, "invocation_retry_policy")
ServerInvocationContext.time = now
ServerInvocationContext.uuid = lambda self: uuid.uuid5(uuid.NAMESPACE_OID, self.request().id)

runpy.run_path(str(Path(__file__).with_name("services.py")), run_name="__main__")
