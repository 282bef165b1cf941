"""The services of test/sdk-other/suite.test.mjs on the official Python SDK, served over HTTP/2 on 127.0.0.1:$PORT.

Names, handlers and JSON shapes are the contract of that suite (test/sdk-other/README.md); every language has the same.
"""

import asyncio
import json
import os
import random as chance
from datetime import timedelta

import hypercorn.asyncio
import hypercorn.config
import restate
from restate import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    RunOptions,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)
from restate.exceptions import RetryableError
from restate.serde import BytesSerde

DAY = timedelta(days=1)
VERSION = os.environ.get("VERSION", "")


def ms(amount) -> timedelta:
    return timedelta(milliseconds=amount)


# How often user code ran in this process, by key: `tick` counts, TestUtil/seen reads.
counts: dict = {}


def tick(key: str) -> int:
    counts[key] = counts.get(key, 0) + 1
    return counts[key]


# ---- state ----

counter = VirtualObject("Counter")


@counter.handler()
async def add(ctx: ObjectContext, amount: int) -> dict:
    old = await ctx.get("counter") or 0
    ctx.set("counter", old + amount)
    return {"oldValue": old, "newValue": old + amount}


@counter.handler()
async def addThenFail(ctx: ObjectContext, amount: int) -> None:
    ctx.set("counter", (await ctx.get("counter") or 0) + amount)
    raise TerminalError(ctx.key())


@counter.handler("get", kind="shared")
async def counter_get(ctx: ObjectSharedContext) -> int:
    return await ctx.get("counter") or 0


@counter.handler("reset")
async def counter_reset(ctx: ObjectContext) -> None:
    ctx.clear("counter")


list_object = VirtualObject("ListObject")


@list_object.handler("append")
async def list_append(ctx: ObjectContext, value: str) -> None:
    ctx.set("list", (await ctx.get("list") or []) + [value])


@list_object.handler("get")
async def list_get(ctx: ObjectContext) -> list:
    return await ctx.get("list") or []


map_object = VirtualObject("MapObject")


@map_object.handler("set")
async def map_set(ctx: ObjectContext, entry: dict) -> None:
    ctx.set(entry["key"], entry["value"])


@map_object.handler("get")
async def map_get(ctx: ObjectContext, key: str) -> str:
    return await ctx.get(key) or ""


@map_object.handler("keys", kind="shared")
async def map_keys(ctx: ObjectSharedContext) -> list:
    return sorted(await ctx.state_keys())


@map_object.handler("clearAll")
async def map_clear_all(ctx: ObjectContext) -> list:
    entries = [{"key": key, "value": await ctx.get(key)} for key in sorted(await ctx.state_keys())]
    ctx.clear_all()
    return entries


@map_object.handler("readYourWrites")
async def map_read_your_writes(ctx: ObjectContext) -> dict:
    before = await ctx.get("old")
    ctx.set("fresh", "new")
    ctx.clear("old")
    middle = [await ctx.get("fresh"), await ctx.get("old"), await ctx.get("never")]
    ctx.clear_all()
    return {"before": before, "middle": middle, "after": [await ctx.get("fresh"), await ctx.state_keys()]}


# ---- calls to anything: {service, key?, handler, message?, headers?, idempotencyKey?, delay?} ----

proxy = Service("Proxy")


def target(request: dict) -> dict:
    return {
        "service": request["service"],
        "key": request.get("key"),
        "handler": request["handler"],
        "arg": json.dumps(request["message"]).encode() if "message" in request else b"",
        "headers": request.get("headers"),
        "idempotency_key": request.get("idempotencyKey"),
        **({"scope": request["scope"]} if "scope" in request else {}),
        **({"limit_key": request["limitKey"]} if "limitKey" in request else {}),
    }


@proxy.handler("call")
async def proxy_call(ctx: Context, request: dict) -> object:
    return json.loads(await ctx.generic_call(**target(request)))


@proxy.handler("oneWayCall")
async def proxy_one_way_call(ctx: Context, request: dict) -> str:
    delay = ms(request["delay"]) if request.get("delay") else None
    return await ctx.generic_send(**target(request), send_delay=delay).invocation_id()


@proxy.handler("manyCalls")
async def proxy_many_calls(ctx: Context, requests: list) -> None:
    awaited = []
    for request in requests:
        if request.get("oneWay"):
            ctx.generic_send(**target(request))
        else:
            awaited.append(ctx.generic_call(**target(request)))
    for future in await restate.gather(*awaited):
        await future


@proxy.handler("callAndCatch")
async def proxy_call_and_catch(ctx: Context, request: dict) -> dict:
    try:
        return {"value": json.loads(await ctx.generic_call(**target(request)))}
    except TerminalError as error:
        return {"code": error.status_code, "message": error.message, "metadata": error.metadata}


@proxy.handler("callId")
async def proxy_call_id(ctx: Context, request: dict) -> dict:
    call = ctx.generic_call(**target(request))
    invocation = await call.invocation_id()
    return {"id": invocation, "value": json.loads(await call)}


# ---- awakeables, cancel and kill ----

holder = VirtualObject("AwakeableHolder")


@holder.handler("hold")
async def holder_hold(ctx: ObjectContext, name: str) -> None:
    ctx.set("id", name)


@holder.handler("id", kind="shared")
async def holder_id(ctx: ObjectSharedContext) -> object:
    return await ctx.get("id")


@holder.handler("unlock")
async def holder_unlock(ctx: ObjectContext, payload: str) -> None:
    name = await ctx.get("id")
    if not name:
        raise TerminalError("no awakeable is registered")
    ctx.resolve_awakeable(name, payload)
    ctx.clear("id")


@holder.handler("refuse")
async def holder_refuse(ctx: ObjectContext, reason: str) -> None:
    ctx.reject_awakeable(await ctx.get("id"), reason)


blocker = VirtualObject("CancelTestBlocking")


@blocker.handler("block")
async def blocker_block(ctx: ObjectContext, operation: str) -> None:
    name, promise = ctx.awakeable()
    await ctx.object_call(holder_hold, key=ctx.key(), arg=name)
    await promise
    if operation == "CALL":
        await ctx.object_call(blocker_block, key=ctx.key(), arg=operation)
    elif operation == "SLEEP":
        await ctx.sleep(DAY)
    else:
        await ctx.awakeable()[1]


@blocker.handler("isUnlocked")
async def blocker_is_unlocked(_: ObjectContext) -> None:
    pass


cancel_runner = VirtualObject("CancelTestRunner")


@cancel_runner.handler("startTest")
async def cancel_start(ctx: ObjectContext, operation: str) -> None:
    try:
        await ctx.object_call(blocker_block, key=ctx.key(), arg=operation)
    except TerminalError as error:
        if error.status_code != 409:
            raise
        ctx.set("state", True)


@cancel_runner.handler("verifyTest")
async def cancel_verify(ctx: ObjectContext) -> bool:
    return await ctx.get("state") or False


cleaner = Service("Cleaner")


@cleaner.handler("work")
async def cleaner_work(ctx: Context, key: str) -> str:
    try:
        await ctx.sleep(DAY)
    except TerminalError as error:
        await ctx.sleep(ms(50))
        before = await ctx.object_call(add, key=key, arg=1)
        return f"caught {error.status_code} after {before['oldValue']}"
    return "not cancelled"


kill_runner = VirtualObject("KillTestRunner")
kill_singleton = VirtualObject("KillTestSingleton")


@kill_singleton.handler("recursiveCall")
async def kill_recursive(ctx: ObjectContext) -> None:
    name, promise = ctx.awakeable()
    ctx.object_send(holder_hold, key=ctx.key(), arg=name)
    await promise
    await ctx.generic_call("KillTestSingleton", "recursiveCall", b"", key=ctx.key())


@kill_singleton.handler("isUnlocked")
async def kill_is_unlocked(_: ObjectContext) -> None:
    pass


@kill_runner.handler("startCallTree")
async def kill_start(ctx: ObjectContext) -> None:
    await ctx.generic_call("KillTestSingleton", "recursiveCall", b"", key=ctx.key())


# ---- failures ----

failing = VirtualObject("Failing")


@failing.handler("terminallyFailingCall")
async def fail_terminally(_: ObjectContext, request: dict) -> None:
    raise TerminalError(request["message"], metadata=request.get("metadata"))


@failing.handler("callTerminallyFailingCall")
async def fail_by_call(ctx: ObjectContext, request: dict) -> None:
    await ctx.object_call(fail_terminally, key=str(ctx.uuid()), arg=request)


@failing.handler("failingCallWithEventualSuccess")
async def fail_a_few_times(ctx: ObjectContext) -> int:
    attempt = tick(f"eventual-{ctx.key()}")
    if attempt < 4:
        raise RuntimeError(f"failed at attempt {attempt}")
    return attempt


@failing.handler("failingWithRetryAfter")
async def fail_with_delay(ctx: ObjectContext, delay: int) -> int:
    attempt = tick(f"delayed-{ctx.key()}")
    if attempt < 2:
        raise RetryableError("later", retry_after=ms(delay))
    return attempt


@failing.handler("terminallyFailingOnce")
async def fail_terminally_once(ctx: ObjectContext) -> int:
    attempt = tick(f"once-{ctx.key()}")
    if attempt == 1:
        raise TerminalError("once")
    return attempt


# A durable step, then failures until TestUtil/tick has opened the way in this process.
@failing.handler("stepThenFail")
async def fail_after_step(ctx: ObjectContext) -> dict:
    async def step() -> int:
        return tick(f"step-{ctx.key()}")

    first = await ctx.run_typed("step", step)
    tick(f"fail-{ctx.key()}")
    if not counts.get(f"open-{ctx.key()}"):
        raise RuntimeError("not open yet")
    return {"step": first}


@failing.handler("terminallyFailingSideEffect")
async def fail_in_run(ctx: ObjectContext, request: dict) -> None:
    async def fails() -> None:
        raise TerminalError(request["message"], metadata=request.get("metadata"))

    await ctx.run_typed("fails", fails)


@failing.handler("sideEffectSucceedsAfterGivenAttempts")
async def run_succeeds_at(ctx: ObjectContext, minimum: int) -> int:
    async def flaky() -> int:
        attempt = tick(f"run-{ctx.key()}")
        if attempt < minimum:
            raise RuntimeError(f"failed at attempt {attempt}")
        return attempt

    return await ctx.run_typed("flaky", flaky, RunOptions(initial_retry_interval=ms(10), retry_interval_factor=1.0))


@failing.handler("sideEffectFailsAfterGivenAttempts")
async def run_fails_after(ctx: ObjectContext, maximum: int) -> int:
    async def hopeless() -> int:
        raise RuntimeError(f"failed at attempt {tick(f'run-{ctx.key()}')}")

    try:
        await ctx.run_typed("hopeless", hopeless, RunOptions(initial_retry_interval=ms(10), max_attempts=maximum))
    except TerminalError:
        return counts[f"run-{ctx.key()}"]
    return 0


# Takes another path in every attempt; a mismatch is final.
nondeterministic = VirtualObject(
    "NonDeterministic",
    inactivity_timeout=ms(0),
    invocation_retry_policy=InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill"),
)


def is_odd(ctx: ObjectContext) -> bool:
    return tick(f"nd-{ctx.key()}") % 2 == 1


# The sleep makes the attempt end, so what follows is reached only by a replay.
async def suspend_then_increment(ctx: ObjectContext) -> None:
    await ctx.sleep(ms(100))
    ctx.object_send(add, key=ctx.key(), arg=1)


@nondeterministic.handler("eitherSleepOrCall")
async def nd_sleep_or_call(ctx: ObjectContext) -> None:
    if is_odd(ctx):
        await ctx.sleep(ms(100))
    else:
        await ctx.generic_call("Counter", "get", b"", key="abc")
    await suspend_then_increment(ctx)


@nondeterministic.handler("callDifferentMethod")
async def nd_call_different(ctx: ObjectContext) -> None:
    await ctx.generic_call("Counter", "get" if is_odd(ctx) else "reset", b"", key="abc")
    await suspend_then_increment(ctx)


@nondeterministic.handler("backgroundInvokeWithDifferentTargets")
async def nd_send_different(ctx: ObjectContext) -> None:
    ctx.generic_send("Counter", "get" if is_odd(ctx) else "reset", b"", key="abc")
    await suspend_then_increment(ctx)


@nondeterministic.handler("setDifferentKey")
async def nd_set_different(ctx: ObjectContext) -> None:
    ctx.set("a" if is_odd(ctx) else "b", "my-state")
    await suspend_then_increment(ctx)


# ---- everything else of one service ----

util = Service("TestUtil")


@util.handler("echo")
async def util_echo(_: Context, value: str) -> str:
    return value


@util.handler("seen")
async def util_seen(_: Context, key: str) -> int:
    return counts.get(key, 0)


@util.handler("tick")
async def util_tick(_: Context, key: str) -> int:
    return tick(key)


@util.handler("version")
async def util_version(_: Context) -> str:
    return VERSION


# A step with a result of some size, which is replayed.
@util.handler("bigStep")
async def util_big_step(ctx: Context, size: int) -> int:
    async def big() -> str:
        return "x" * size

    value = await ctx.run_typed("big", big)
    await ctx.sleep(ms(20))
    return len(value)


@util.handler("submittedWith")
async def util_submitted_with(ctx: Context) -> dict:
    request = ctx.request()
    return {"scope": request.scope, "limitKey": request.limit_key, "idempotencyKey": request.idempotency_key}


# A step of some length, with the number of those that are in it at once.
working: dict = {}
most: dict = {}


@util.handler("work")
async def util_work(ctx: Context, request: dict) -> None:
    key = request["key"]

    async def step() -> None:
        working[key] = working.get(key, 0) + 1
        most[key] = max(most.get(key, 0), working[key])
        await asyncio.sleep(request["ms"] / 1000)
        working[key] -= 1

    await ctx.run_typed("work", step)


@util.handler("mostAtOnce")
async def util_most_at_once(_: Context, key: str) -> int:
    return most.get(key, 0)


@util.handler("echoHeaders")
async def util_echo_headers(ctx: Context) -> dict:
    return dict(ctx.request().headers)


@util.handler(
    "rawEcho",
    accept="*/*",
    content_type="application/octet-stream",
    input_serde=BytesSerde(),
    output_serde=BytesSerde(),
)
async def util_raw_echo(_: Context, data: bytes) -> bytes:
    return data


@util.handler("sleepConcurrently")
async def util_sleep_concurrently(ctx: Context, durations: list) -> None:
    await restate.gather(*[ctx.sleep(ms(duration)) for duration in durations])


@util.handler("sleepThenStamp")
async def util_sleep_then_stamp(ctx: Context, duration: int) -> int:
    start = await ctx.time()
    await ctx.sleep(ms(duration))
    return round((await ctx.time() - start) * 1000)


@util.handler("countExecutedSideEffects")
async def util_count_side_effects(ctx: Context, times: int) -> int:
    executed = 0

    async def count() -> None:
        nonlocal executed
        executed += 1

    for _ in range(times):
        await ctx.run_typed("count", count)
    return executed


# One durable step, then a sleep: the step's value and effect must survive whatever happens meanwhile.
@util.handler("stepThenSleep")
async def util_step_then_sleep(ctx: Context, request: dict) -> dict:
    def step() -> float:
        tick(request["key"])
        return chance.random()

    first = await ctx.run_typed("step", step)
    await ctx.object_call(add, key=request["key"], arg=1)
    await ctx.sleep(ms(request["ms"]))
    counter_value = await ctx.object_call(add, key=request["key"], arg=1)
    return {"step": first, "counter": counter_value["newValue"]}


@util.handler("cancel")
async def util_cancel(ctx: Context, invocation: str) -> None:
    ctx.cancel_invocation(invocation)


@util.handler("attach")
async def util_attach(ctx: Context, invocation: str) -> object:
    return await ctx.attach_invocation(invocation)


@util.handler("random")
async def util_random(ctx: Context) -> list:
    first = [ctx.random().random(), str(ctx.uuid())]
    await ctx.sleep(ms(1))
    return [*first, ctx.random().random()]


@util.handler("resolveSignal")
async def util_resolve_signal(ctx: Context, request: dict) -> None:
    ctx.resolve_signal(request["id"], request["name"], request["value"])


@util.handler("rejectSignal")
async def util_reject_signal(ctx: Context, request: dict) -> None:
    ctx.reject_signal(request["id"], request["name"], request["reason"])


@util.handler("waitForSignal")
async def util_wait_for_signal(ctx: Context, name: str) -> object:
    return await ctx.signal(name)


private = Service("Private")


@private.handler("echo")
async def private_echo(_: Context, value: str) -> str:
    return value


versioned = VirtualObject("Versioned")


@versioned.handler("wait")
async def versioned_wait(ctx: ObjectContext) -> str:
    async def version() -> str:
        return VERSION

    first = await ctx.run_typed("version", version)
    name, promise = ctx.awakeable()
    ctx.object_send(holder_hold, key=ctx.key(), arg=name)
    value = await promise
    return f"{first} then {VERSION} with {value}"


workflow = Workflow("BlockAndWait")


@workflow.main("run")
async def workflow_run(ctx: WorkflowContext, value: str) -> str:
    ctx.set("my-state", value)
    output = await ctx.promise("durable-promise").value()
    if await ctx.promise("durable-promise").peek() is None:
        raise TerminalError("the promise should be completed")
    return output


@workflow.handler("unblock")
async def workflow_unblock(ctx: WorkflowSharedContext, output: str) -> None:
    await ctx.promise("durable-promise").resolve(output)


@workflow.handler("refuse")
async def workflow_refuse(ctx: WorkflowSharedContext, reason: str) -> None:
    await ctx.promise("durable-promise").reject(reason)


@workflow.handler("peek")
async def workflow_peek(ctx: WorkflowSharedContext) -> str:
    return await ctx.promise("durable-promise").peek() or ""


@workflow.handler("getState")
async def workflow_state(ctx: WorkflowSharedContext) -> object:
    return await ctx.get("my-state")


# ---- combinators ----

combinators = VirtualObject("Combinators")


async def settle(future) -> dict:
    try:
        return {"ok": await future}
    except TerminalError as error:
        return {"error": error.message}


def publish(ctx: ObjectContext, name: str):
    awakeable, promise = ctx.awakeable()
    ctx.object_send(holder_hold, key=f"{ctx.key()}-{name}", arg=awakeable)
    return promise


def good(ctx: ObjectContext, name: str):
    async def succeed() -> str:
        return name

    return ctx.run_typed(name, succeed)


def bad(ctx: ObjectContext, name: str):
    async def fail() -> str:
        raise TerminalError(f"{name} failed")

    return ctx.run_typed(name, fail)


@combinators.handler("awakeableOrTimeoutUsingAwaitAny")
async def any_awakeable_or_timeout(ctx: ObjectContext, duration: int) -> str:
    return (await restate.select(awakeable=publish(ctx, "a"), sleep=ctx.sleep(ms(duration))))[0]


# The first that succeeds, or the last failure.
async def first_success(*futures) -> dict:
    result = {}
    async for future in restate.as_completed(*futures):
        result = await settle(future)
        if "ok" in result:
            break
    return result


@combinators.handler("firstSuccessfulCompletedAwakeable")
async def any_first_awakeable(ctx: ObjectContext) -> str:
    return (await first_success(publish(ctx, "a"), publish(ctx, "b")))["ok"]


@combinators.handler("signalFirstSuccessfulOrAllFailed")
async def signal_first_successful(ctx: ObjectContext) -> dict:
    return await first_success(ctx.signal("a"), ctx.signal("b"), ctx.signal("c"))


@combinators.handler("signalAllSuccessfulOrFirstFailed")
async def signal_all_successful(ctx: ObjectContext) -> dict:
    values = []
    async for future in restate.as_completed(ctx.signal("a"), ctx.signal("b"), ctx.signal("c")):
        result = await settle(future)
        if "error" in result:
            return result
        values.append(result["ok"])
    return {"ok": values}


@combinators.handler("signalAllCompleted")
async def signal_all_completed(ctx: ObjectContext) -> list:
    return [await settle(f) for f in await restate.gather(ctx.signal("a"), ctx.signal("b"), ctx.signal("c"))]


@combinators.handler("signalFirstCompleted")
async def signal_first_completed(ctx: ObjectContext) -> dict:
    completed, _ = await restate.wait_completed(ctx.signal("a"), ctx.signal("b"), ctx.signal("c"))
    return await settle(completed[0])


@combinators.handler("mixedRunWinsRaceAgainstSignal")
async def mixed_run_wins(ctx: ObjectContext) -> str:
    return (await restate.select(signal=ctx.signal("never"), run=good(ctx, "run")))[1]


@combinators.handler("mixedSignalWinsAfterRunFails")
async def mixed_signal_wins(ctx: ObjectContext) -> str:
    return (await first_success(bad(ctx, "run"), ctx.signal("a")))["ok"]


@combinators.handler("mixedAllSucceededRunAndSignal")
async def mixed_all_succeeded(ctx: ObjectContext) -> list:
    return [await future for future in await restate.gather(good(ctx, "run"), ctx.signal("a"))]


@combinators.handler("mixedAllCompletedRunSignalAndFailedRun")
async def mixed_all_completed(ctx: ObjectContext) -> list:
    futures = await restate.gather(good(ctx, "run"), ctx.signal("a"), bad(ctx, "bad"))
    return [await settle(future) for future in futures]


app = restate.app(
    [
        counter,
        list_object,
        map_object,
        proxy,
        holder,
        blocker,
        cancel_runner,
        cleaner,
        kill_runner,
        kill_singleton,
        failing,
        nondeterministic,
        util,
        workflow,
        combinators,
        private,
        versioned,
    ],
    protocol="request_response" if os.environ.get("REQUEST_RESPONSE") else "bidi",
    identity_keys=[os.environ["IDENTITY_KEY"]] if os.environ.get("IDENTITY_KEY") else None,
)

if __name__ == "__main__":
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{os.environ['PORT']}"]
    config.graceful_timeout = 0.1
    asyncio.run(hypercorn.asyncio.serve(app, config))
