// Awakeables, cancel, kill, and everything that fails.
package main

import (
	"fmt"

	restate "github.com/restatedev/sdk-go"
)

func awakeableHolder() restate.ServiceDefinition {
	return restate.NewObject("AwakeableHolder").
		Handler("hold", restate.NewObjectHandler(func(ctx restate.ObjectContext, id string) (void, error) {
			restate.Set(ctx, "id", id)
			return void{}, nil
		})).
		Handler("id", restate.NewObjectSharedHandler(func(ctx restate.ObjectSharedContext, _ void) (*string, error) {
			return errorless(restate.Get[*string](ctx, "id"))
		})).
		Handler("unlock", restate.NewObjectHandler(func(ctx restate.ObjectContext, payload string) (void, error) {
			id, err := restate.Get[string](ctx, "id")
			if err == nil && id == "" {
				err = restate.TerminalErrorf("no awakeable is registered")
			}
			if err != nil {
				return void{}, err
			}
			restate.ResolveAwakeable(ctx, id, payload)
			restate.Clear(ctx, "id")
			return void{}, nil
		})).
		Handler("refuse", restate.NewObjectHandler(func(ctx restate.ObjectContext, reason string) (void, error) {
			id, err := restate.Get[string](ctx, "id")
			if err != nil {
				return void{}, err
			}
			restate.RejectAwakeable(ctx, id, restate.TerminalErrorf("%s", reason))
			return void{}, nil
		}))
}

func blocker() restate.ServiceDefinition {
	return restate.NewObject("CancelTestBlocking").
		Handler("block", restate.NewObjectHandler(func(ctx restate.ObjectContext, operation string) (void, error) {
			awakeable := restate.Awakeable[string](ctx)
			if _, err := restate.Object[void](ctx, "AwakeableHolder", restate.Key(ctx), "hold").Request(awakeable.Id()); err != nil {
				return void{}, err
			}
			_, err := awakeable.Result()
			if err != nil {
				return void{}, err
			}
			switch operation {
			case "CALL":
				_, err = restate.Object[void](ctx, "CancelTestBlocking", restate.Key(ctx), "block").Request(operation)
			case "SLEEP":
				err = restate.Sleep(ctx, day)
			default:
				_, err = restate.Awakeable[string](ctx).Result()
			}
			return errorless(void{}, err)
		})).
		Handler("isUnlocked", restate.NewObjectHandler(nothing))
}

func nothing(restate.ObjectContext, void) (void, error) { return void{}, nil }

func cancelRunner() restate.ServiceDefinition {
	return restate.NewObject("CancelTestRunner").
		Handler("startTest", restate.NewObjectHandler(func(ctx restate.ObjectContext, operation string) (void, error) {
			_, err := restate.Object[void](ctx, "CancelTestBlocking", restate.Key(ctx), "block").Request(operation)
			if err != nil && err.Code() == 409 {
				restate.Set(ctx, "state", true)
				return void{}, nil
			}
			return errorless(void{}, err)
		})).
		Handler("verifyTest", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (bool, error) {
			return errorless(restate.Get[bool](ctx, "state"))
		}))
}

func cleaner() restate.ServiceDefinition {
	return restate.NewService("Cleaner").
		Handler("work", restate.NewServiceHandler(func(ctx restate.Context, key string) (string, error) {
			cancelled := restate.Sleep(ctx, day)
			if cancelled == nil {
				return "not cancelled", nil
			}
			if err := restate.Sleep(ctx, ms(50)); err != nil {
				return "", err
			}
			before, err := restate.Object[change](ctx, "Counter", key, "add").Request(1)
			return errorless(fmt.Sprintf("caught %d after %d", cancelled.Code(), before.OldValue), err)
		}))
}

func killRunner() restate.ServiceDefinition {
	return restate.NewObject("KillTestRunner").Handler("startCallTree", restate.NewObjectHandler(recurse))
}

func recurse(ctx restate.ObjectContext, _ void) (void, error) {
	return errorless(restate.Object[void](ctx, "KillTestSingleton", restate.Key(ctx), "recursiveCall").Request(void{}))
}

func killSingleton() restate.ServiceDefinition {
	return restate.NewObject("KillTestSingleton").
		Handler("recursiveCall", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (void, error) {
			awakeable := restate.Awakeable[string](ctx)
			restate.ObjectSend(ctx, "AwakeableHolder", restate.Key(ctx), "hold").Send(awakeable.Id())
			if _, err := awakeable.Result(); err != nil {
				return void{}, err
			}
			return recurse(ctx, void{})
		})).
		Handler("isUnlocked", restate.NewObjectHandler(nothing))
}

type failure struct {
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func (f failure) terminal() restate.TerminalError {
	return restate.ToTerminalError(fmt.Errorf("%s", f.Message), restate.WithMetadataMap(f.Metadata))
}

func failing() restate.ServiceDefinition {
	return restate.NewObject("Failing").
		Handler("terminallyFailingCall", restate.NewObjectHandler(func(_ restate.ObjectContext, f failure) (void, error) {
			return void{}, f.terminal()
		})).
		Handler("callTerminallyFailingCall", restate.NewObjectHandler(func(ctx restate.ObjectContext, f failure) (void, error) {
			key := restate.UUID(ctx).String()
			return errorless(restate.Object[void](ctx, "Failing", key, "terminallyFailingCall").Request(f))
		})).
		Handler("failingCallWithEventualSuccess", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (int, error) {
			attempt := tick("eventual-" + restate.Key(ctx))
			if attempt < 4 {
				return 0, fmt.Errorf("failed at attempt %d", attempt)
			}
			return attempt, nil
		})).
		Handler("terminallyFailingOnce", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (int, error) {
			attempt := tick("once-" + restate.Key(ctx))
			if attempt == 1 {
				return 0, restate.TerminalErrorf("once")
			}
			return attempt, nil
		})).
		Handler("stepThenFail", restate.NewObjectHandler(stepThenFail)).
		Handler("terminallyFailingSideEffect", restate.NewObjectHandler(func(ctx restate.ObjectContext, f failure) (void, error) {
			return errorless(void{}, restate.RunVoid(ctx, func(restate.RunContext) error { return f.terminal() }))
		})).
		Handler("sideEffectSucceedsAfterGivenAttempts", restate.NewObjectHandler(func(ctx restate.ObjectContext, minimum int) (int, error) {
			key := restate.Key(ctx)
			return errorless(restate.Run(ctx, func(restate.RunContext) (int, error) {
				attempt := tick("run-" + key)
				if attempt < minimum {
					return 0, fmt.Errorf("failed at attempt %d", attempt)
				}
				return attempt, nil
			}, restate.WithInitialRetryInterval(ms(10)), restate.WithRetryIntervalFactor(1)))
		})).
		Handler("sideEffectFailsAfterGivenAttempts", restate.NewObjectHandler(func(ctx restate.ObjectContext, maximum int) (int, error) {
			key := restate.Key(ctx)
			err := restate.RunVoid(ctx, func(restate.RunContext) error {
				return fmt.Errorf("failed at attempt %d", tick("run-"+key))
			}, restate.WithInitialRetryInterval(ms(10)), restate.WithMaxRetryAttempts(uint(maximum)))
			if err == nil {
				return 0, nil
			}
			return seen("run-" + key), nil
		}))
}

// A durable step, then failures until TestUtil/tick has opened the way in this process.
func stepThenFail(ctx restate.ObjectContext, _ void) (map[string]int, error) {
	key := restate.Key(ctx)
	step, err := restate.Run(ctx, func(restate.RunContext) (int, error) { return tick("step-" + key), nil })
	if err != nil {
		return nil, err
	}
	tick("fail-" + key)
	if seen("open-"+key) == 0 {
		return nil, fmt.Errorf("not open yet")
	}
	return map[string]int{"step": step}, nil
}

// Takes another path in every attempt; a mismatch is final.
func nonDeterministic() restate.ServiceDefinition {
	pick := func(ctx restate.ObjectContext, odd, even string) string {
		if tick("nd-"+restate.Key(ctx))%2 == 1 {
			return odd
		}
		return even
	}
	return restate.NewObject("NonDeterministic", restate.WithInactivityTimeout(0),
		restate.WithInvocationRetryPolicy(restate.WithMaxRetryAttempts(1), restate.KillOnMaxAttempts())).
		Handler("eitherSleepOrCall", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (void, error) {
			var err restate.TerminalError
			if pick(ctx, "sleep", "call") == "sleep" {
				err = restate.Sleep(ctx, ms(100))
			} else {
				_, err = restate.Object[int](ctx, "Counter", "abc", "get").Request(void{})
			}
			return suspendThenIncrement(ctx, err)
		})).
		Handler("callDifferentMethod", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (void, error) {
			_, err := restate.Object[[]byte](ctx, "Counter", "abc", pick(ctx, "get", "reset"), restate.WithBinary).Request([]byte{})
			return suspendThenIncrement(ctx, err)
		})).
		Handler("backgroundInvokeWithDifferentTargets", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (void, error) {
			restate.ObjectSend(ctx, "Counter", "abc", pick(ctx, "get", "reset")).Send(void{})
			return suspendThenIncrement(ctx, nil)
		})).
		Handler("setDifferentKey", restate.NewObjectHandler(func(ctx restate.ObjectContext, _ void) (void, error) {
			restate.Set(ctx, pick(ctx, "a", "b"), "my-state")
			return suspendThenIncrement(ctx, nil)
		}))
}

// The sleep makes the attempt end, so what follows is reached only by a replay.
func suspendThenIncrement(ctx restate.ObjectContext, err restate.TerminalError) (void, error) {
	if err != nil {
		return void{}, err
	}
	if err := restate.Sleep(ctx, ms(100)); err != nil {
		return void{}, err
	}
	restate.ObjectSend(ctx, "Counter", restate.Key(ctx), "add").Send(1)
	return void{}, nil
}
