// State, calls to anything, and the small services.
package main

import (
	"encoding/json"
	"math/rand"
	"slices"
	"strings"
	"time"

	restate "github.com/restatedev/sdk-go"
)

type void = restate.Void

// ---- state ----

type change struct {
	OldValue int `json:"oldValue"`
	NewValue int `json:"newValue"`
}

func counter() restate.ServiceDefinition {
	return restate.NewObject("Counter").
		Handler("add", restate.NewObjectHandler(func(ctx restate.ObjectContext, amount int) (change, error) {
			old, err := restate.Get[int](ctx, "counter")
			if err != nil {
				return change{}, err
			}
			restate.Set(ctx, "counter", old+amount)
			return change{old, old + amount}, nil
		})).
		Handler("addThenFail", restate.NewObjectHandler(func(ctx restate.ObjectContext, amount int) (void, error) {
			old, err := restate.Get[int](ctx, "counter")
			if err != nil {
				return void{}, err
			}
			restate.Set(ctx, "counter", old+amount)
			return void{}, restate.TerminalErrorf("%s", restate.Key(ctx))
		})).
		Handler("get", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ void) (int, error) {
			return errorless(restate.Get[int](ctx, "counter"))
		})).
		Handler("reset", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (void, error) {
			restate.Clear(ctx, "counter")
			return void{}, nil
		}))
}

// A TerminalError that is nil becomes an error that is nil.
func errorless[T any](value T, err restate.TerminalError) (T, error) {
	if err != nil {
		return value, err
	}
	return value, nil
}

func listObject() restate.ServiceDefinition {
	return restate.NewObject("ListObject").
		Handler("append", restate.NewObjectHandler(func(ctx restate.ObjectContext, value string) (void, error) {
			list, err := restate.Get[[]string](ctx, "list")
			if err != nil {
				return void{}, err
			}
			restate.Set(ctx, "list", append(list, value))
			return void{}, nil
		})).
		Handler("get", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) ([]string, error) {
			list, err := restate.Get[[]string](ctx, "list")
			if list == nil {
				list = []string{}
			}
			return errorless(list, err)
		}))
}

type entry struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func sortedKeys(ctx restate.ObjectSharedContext) ([]string, error) {
	keys, err := restate.Keys(ctx)
	if keys == nil {
		keys = []string{}
	}
	slices.Sort(keys)
	return errorless(keys, err)
}

func mapObject() restate.ServiceDefinition {
	return restate.NewObject("MapObject").
		Handler("set", restate.NewObjectHandler(func(ctx restate.ObjectContext, e entry) (void, error) {
			restate.Set(ctx, e.Key, e.Value)
			return void{}, nil
		})).
		Handler("get", restate.NewObjectHandler(func(ctx restate.ObjectContext, key string) (string, error) {
			return errorless(restate.Get[string](ctx, key))
		})).
		Handler("keys", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ void) ([]string, error) {
			return sortedKeys(ctx)
		})).
		Handler("clearAll", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) ([]entry, error) {
			keys, err := sortedKeys(ctx)
			if err != nil {
				return nil, err
			}
			entries := []entry{}
			for _, key := range keys {
				value, err := restate.Get[string](ctx, key)
				if err != nil {
					return nil, err
				}
				entries = append(entries, entry{key, value})
			}
			restate.ClearAll(ctx)
			return entries, nil
		})).
		Handler("readYourWrites", restate.NewObjectHandler(readYourWrites))
}

func readYourWrites(ctx restate.ObjectContext, _ void) (map[string]any, error) {
	var failed error
	get := func(key string) any {
		value, err := restate.Get[*string](ctx, key)
		if err != nil {
			failed = err
		}
		return value
	}
	before := get("old")
	restate.Set(ctx, "fresh", "new")
	restate.Clear(ctx, "old")
	middle := []any{get("fresh"), get("old"), get("never")}
	restate.ClearAll(ctx)
	fresh := get("fresh")
	keys, err := sortedKeys(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]any{"before": before, "middle": middle, "after": []any{fresh, keys}}, failed
}

// ---- calls to anything ----

type request struct {
	Service        string            `json:"service"`
	Key            string            `json:"key"`
	Handler        string            `json:"handler"`
	Message        json.RawMessage   `json:"message"`
	Headers        map[string]string `json:"headers"`
	IdempotencyKey string            `json:"idempotencyKey"`
	Delay          int               `json:"delay"`
	OneWay         bool              `json:"oneWay"`
	Scope          string            `json:"scope"`
	LimitKey       string            `json:"limitKey"`
}

func (r request) client(ctx restate.Context) restate.Client[any, []byte] {
	if r.Key == "" {
		return restate.Service[[]byte](ctx, r.Service, r.Handler, restate.WithBinary, restate.WithScope(r.Scope))
	}
	return restate.Object[[]byte](ctx, r.Service, r.Key, r.Handler, restate.WithBinary, restate.WithScope(r.Scope))
}

func (r request) call(ctx restate.Context) restate.ResponseFuture[[]byte] {
	return r.client(ctx).RequestFuture([]byte(r.Message), restate.WithHeaders(r.Headers), restate.WithIdempotencyKey(r.IdempotencyKey),
		restate.WithLimitKey(r.LimitKey))
}

func (r request) send(ctx restate.Context) restate.Invocation {
	return r.client(ctx).Send([]byte(r.Message), restate.WithHeaders(r.Headers), restate.WithIdempotencyKey(r.IdempotencyKey),
		restate.WithDelay(ms(r.Delay)), restate.WithLimitKey(r.LimitKey))
}

func raw(data []byte, err restate.TerminalError) (json.RawMessage, error) {
	if len(data) == 0 {
		data = []byte("null")
	}
	return errorless(json.RawMessage(data), err)
}

func proxy() restate.ServiceDefinition {
	return restate.NewService("Proxy").
		Handler("call", restate.NewServiceHandler(func(ctx restate.Context, r request) (json.RawMessage, error) {
			return raw(r.call(ctx).Response())
		})).
		Handler("oneWayCall", restate.NewServiceHandler(func(ctx restate.Context, r request) (string, error) {
			return r.send(ctx).GetInvocationId(), nil
		})).
		Handler("manyCalls", restate.NewServiceHandler(func(ctx restate.Context, requests []request) (void, error) {
			var awaited []restate.Future
			for _, r := range requests {
				if r.OneWay {
					r.send(ctx)
				} else {
					awaited = append(awaited, r.call(ctx))
				}
			}
			for future, err := range restate.Wait(ctx, awaited...) {
				if err != nil {
					return void{}, err
				}
				if _, err := future.(restate.ResponseFuture[[]byte]).Response(); err != nil {
					return void{}, err
				}
			}
			return void{}, nil
		})).
		Handler("callAndCatch", restate.NewServiceHandler(func(ctx restate.Context, r request) (map[string]any, error) {
			value, err := r.call(ctx).Response()
			if err == nil {
				return map[string]any{"value": json.RawMessage(value)}, nil
			}
			result := map[string]any{"code": err.Code(), "message": err.Message()}
			if metadata := err.Metadata().ToMap(); len(metadata) > 0 {
				result["metadata"] = metadata
			}
			return result, nil
		})).
		Handler("callId", restate.NewServiceHandler(func(ctx restate.Context, r request) (map[string]any, error) {
			call := r.call(ctx)
			id := call.GetInvocationId()
			value, err := raw(call.Response())
			return map[string]any{"id": id, "value": value}, err
		}))
}

// ---- everything else of one service ----

type signalRequest struct {
	Id     string `json:"id"`
	Name   string `json:"name"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

type stepRequest struct {
	Key string `json:"key"`
	Ms  int    `json:"ms"`
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// A step of some length, with the number of those that are in it at once.
var working, mostAtOnce = map[string]int{}, map[string]int{}

func work(ctx restate.Context, r stepRequest) (void, error) {
	step := func(restate.RunContext) error {
		enter := func(change int) {
			mutex.Lock()
			defer mutex.Unlock()
			working[r.Key] += change
			mostAtOnce[r.Key] = max(mostAtOnce[r.Key], working[r.Key])
		}
		enter(1)
		defer enter(-1)
		time.Sleep(ms(r.Ms))
		return nil
	}
	return void{}, restate.RunVoid(ctx, step)
}

func testUtil() restate.ServiceDefinition {
	return restate.NewService("TestUtil").
		Handler("echo", restate.NewServiceHandler(func(_ restate.Context, value string) (string, error) { return value, nil })).
		Handler("seen", restate.NewServiceHandler(func(_ restate.Context, key string) (int, error) { return seen(key), nil })).
		Handler("tick", restate.NewServiceHandler(func(_ restate.Context, key string) (int, error) { return tick(key), nil })).
		Handler("version", restate.NewServiceHandler(func(restate.Context, void) (string, error) { return version, nil })).
		Handler("bigStep", restate.NewServiceHandler(bigStep)).
		Handler("submittedWith", restate.NewServiceHandler(func(ctx restate.Context, _ void) (map[string]any, error) {
			r := ctx.Request()
			return map[string]any{"scope": orNull(r.Scope), "limitKey": orNull(r.LimitKey), "idempotencyKey": orNull(r.IdempotencyKey)}, nil
		})).
		Handler("work", restate.NewServiceHandler(work)).
		Handler("mostAtOnce", restate.NewServiceHandler(func(_ restate.Context, key string) (int, error) {
			mutex.Lock()
			defer mutex.Unlock()
			return mostAtOnce[key], nil
		})).
		Handler("echoHeaders", restate.NewServiceHandler(func(ctx restate.Context, _ void) (map[string]string, error) {
			return ctx.Request().Headers.ToMap(), nil
		})).
		Handler("rawEcho", restate.NewServiceHandler(func(_ restate.Context, data []byte) ([]byte, error) { return data, nil },
			restate.WithBinary)).
		Handler("sleepConcurrently", restate.NewServiceHandler(sleepConcurrently)).
		Handler("sleepThenStamp", restate.NewServiceHandler(sleepThenStamp)).
		Handler("countExecutedSideEffects", restate.NewServiceHandler(func(ctx restate.Context, times int) (int, error) {
			executed := 0
			for range times {
				if err := restate.RunVoid(ctx, func(restate.RunContext) error { executed++; return nil }); err != nil {
					return 0, err
				}
			}
			return executed, nil
		})).
		Handler("stepThenSleep", restate.NewServiceHandler(stepThenSleep)).
		Handler("cancel", restate.NewServiceHandler(func(ctx restate.Context, id string) (void, error) {
			restate.CancelInvocation(ctx, id)
			return void{}, nil
		})).
		Handler("attach", restate.NewServiceHandler(func(ctx restate.Context, id string) (json.RawMessage, error) {
			return errorless(restate.AttachInvocation[json.RawMessage](ctx, id).Response())
		})).
		Handler("random", restate.NewServiceHandler(func(ctx restate.Context, _ void) ([]any, error) {
			first, id := restate.Rand(ctx).Float64(), restate.UUID(ctx).String()
			if err := restate.Sleep(ctx, ms(1)); err != nil {
				return nil, err
			}
			return []any{first, id, restate.Rand(ctx).Float64()}, nil
		})).
		Handler("resolveSignal", restate.NewServiceHandler(func(ctx restate.Context, r signalRequest) (void, error) {
			restate.ResolveSignal(ctx, r.Id, r.Name, r.Value)
			return void{}, nil
		})).
		Handler("rejectSignal", restate.NewServiceHandler(func(ctx restate.Context, r signalRequest) (void, error) {
			restate.RejectSignal(ctx, r.Id, r.Name, restate.TerminalErrorf("%s", r.Reason))
			return void{}, nil
		})).
		Handler("waitForSignal", restate.NewServiceHandler(func(ctx restate.Context, name string) (string, error) {
			return errorless(restate.Signal[string](ctx, name).Result())
		}))
}

func sleepConcurrently(ctx restate.Context, durations []int) (void, error) {
	var sleeps []restate.Future
	for _, duration := range durations {
		sleeps = append(sleeps, restate.After(ctx, ms(duration)))
	}
	for _, err := range restate.Wait(ctx, sleeps...) {
		if err != nil {
			return void{}, err
		}
	}
	return void{}, nil
}

func sleepThenStamp(ctx restate.Context, duration int) (int64, error) {
	now := func() (int64, restate.TerminalError) {
		return restate.Run(ctx, func(restate.RunContext) (int64, error) { return time.Now().UnixMilli(), nil }, restate.WithName("now"))
	}
	start, err := now()
	if err != nil {
		return 0, err
	}
	if err := restate.Sleep(ctx, ms(duration), restate.WithName("nap")); err != nil {
		return 0, err
	}
	end, err := now()
	return errorless(end-start, err)
}

// One durable step, then a sleep: the step's value and effect must survive whatever happens meanwhile.
func stepThenSleep(ctx restate.Context, r stepRequest) (map[string]any, error) {
	step, err := restate.Run(ctx, func(restate.RunContext) (float64, error) {
		tick(r.Key)
		return rand.Float64(), nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := restate.Object[change](ctx, "Counter", r.Key, "add").Request(1); err != nil {
		return nil, err
	}
	if err := restate.Sleep(ctx, ms(r.Ms)); err != nil {
		return nil, err
	}
	value, err := restate.Object[change](ctx, "Counter", r.Key, "add").Request(1)
	return errorless(map[string]any{"step": step, "counter": value.NewValue}, err)
}

// A step with a result of some size, which is replayed.
func bigStep(ctx restate.Context, size int) (int, error) {
	value, err := restate.Run(ctx, func(restate.RunContext) (string, error) { return strings.Repeat("x", size), nil })
	if err != nil {
		return 0, err
	}
	return errorless(len(value), restate.Sleep(ctx, ms(20)))
}

func private() restate.ServiceDefinition {
	return restate.NewService("Private").
		Handler("echo", restate.NewServiceHandler(func(_ restate.Context, value string) (string, error) { return value, nil }))
}

func versioned() restate.ServiceDefinition {
	return restate.NewObject("Versioned").
		Handler("wait", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (string, error) {
			first, err := restate.Run(ctx, func(restate.RunContext) (string, error) { return version, nil })
			if err != nil {
				return "", err
			}
			awakeable := restate.Awakeable[string](ctx)
			restate.ObjectSend(ctx, "AwakeableHolder", restate.Key(ctx), "hold").Send(awakeable.Id())
			value, err := awakeable.Result()
			return errorless(first+" then "+version+" with "+value, err)
		}))
}

func blockAndWait() restate.ServiceDefinition {
	const name = "durable-promise"
	return restate.NewWorkflow("BlockAndWait").
		Handler("run", restate.NewWorkflowHandler(func(ctx restate.WorkflowContext, input string) (string, error) {
			restate.Set(ctx, "my-state", input)
			output, err := restate.Promise[string](ctx, name).Result()
			if err != nil {
				return "", err
			}
			peeked, err := restate.Promise[*string](ctx, name).Peek()
			if err == nil && peeked == nil {
				err = restate.TerminalErrorf("the promise should be completed")
			}
			return errorless(output, err)
		})).
		Handler("unblock", restate.NewWorkflowSharedHandler(func(ctx restate.WorkflowSharedContext, output string) (void, error) {
			return errorless(void{}, restate.Promise[string](ctx, name).Resolve(output))
		})).
		Handler("refuse", restate.NewWorkflowSharedHandler(func(ctx restate.WorkflowSharedContext, reason string) (void, error) {
			return errorless(void{}, restate.Promise[string](ctx, name).Reject(restate.TerminalErrorf("%s", reason)))
		})).
		Handler("peek", restate.NewWorkflowSharedHandler(func(ctx restate.WorkflowSharedContext, _ void) (string, error) {
			return errorless(restate.Promise[string](ctx, name).Peek())
		})).
		Handler("getState", restate.NewWorkflowSharedHandler(func(ctx restate.WorkflowSharedContext, _ void) (*string, error) {
			return errorless(restate.Get[*string](ctx, "my-state"))
		}))
}
