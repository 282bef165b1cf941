// Combinators over awakeables, signals, sleeps and runs.
package main

import (
	restate "github.com/restatedev/sdk-go"
)

// Signals, awakeables and runs of a string.
type future interface {
	restate.Future
	Result() (string, restate.TerminalError)
}

func settle(f future) map[string]any {
	value, err := f.Result()
	if err != nil {
		return map[string]any{"error": err.Message()}
	}
	return map[string]any{"ok": value}
}

func publish(ctx restate.ObjectContext, name string) future {
	awakeable := restate.Awakeable[string](ctx)
	restate.ObjectSend(ctx, "AwakeableHolder", restate.Key(ctx)+"-"+name, "hold").Send(awakeable.Id())
	return awakeable
}

func good(ctx restate.Context, name string) future {
	return restate.RunAsync(ctx, func(restate.RunContext) (string, error) { return name, nil }, restate.WithName(name))
}

func bad(ctx restate.Context, name string) future {
	return restate.RunAsync(ctx, func(restate.RunContext) (string, error) {
		return "", restate.TerminalErrorf("%s failed", name)
	}, restate.WithName(name))
}

func signals(ctx restate.Context) []future {
	return []future{restate.Signal[string](ctx, "a"), restate.Signal[string](ctx, "b"), restate.Signal[string](ctx, "c")}
}

func plain(futures []future) []restate.Future {
	list := make([]restate.Future, len(futures))
	for i, f := range futures {
		list[i] = f
	}
	return list
}

// Results as they complete, until `enough` says so: the last one is returned, and all of them in the order of completion.
func asCompleted(ctx restate.Context, futures []future, enough func(map[string]any) bool) (map[string]any, []any, error) {
	var last map[string]any
	var all []any
	for f, err := range restate.Wait(ctx, plain(futures)...) {
		if err != nil {
			return nil, nil, err
		}
		last = settle(f.(future))
		if enough(last) {
			break
		}
		all = append(all, last["ok"])
	}
	return last, all, nil
}

func succeeded(result map[string]any) bool { return result["ok"] != nil }
func failed(result map[string]any) bool    { return result["error"] != nil }
func never(map[string]any) bool            { return false }
func always(map[string]any) bool           { return true }

func combinators() restate.ServiceDefinition {
	type context = restate.ObjectContext
	return restate.NewObject("Combinators").
		Handler("awakeableOrTimeoutUsingAwaitAny", restate.NewObjectHandler(func(ctx context, duration int) (string, error) {
			awakeable, timeout := publish(ctx, "a"), restate.After(ctx, ms(duration))
			first, err := restate.WaitFirst(ctx, awakeable, timeout)
			if err != nil {
				return "", err
			}
			if first == timeout {
				return "sleep", nil
			}
			return "awakeable", nil
		})).
		Handler("firstSuccessfulCompletedAwakeable", restate.NewObjectHandler(func(ctx context, _ void) (any, error) {
			result, _, err := asCompleted(ctx, []future{publish(ctx, "a"), publish(ctx, "b")}, succeeded)
			return result["ok"], err
		})).
		Handler("signalFirstSuccessfulOrAllFailed", restate.NewObjectHandler(func(ctx context, _ void) (map[string]any, error) {
			result, _, err := asCompleted(ctx, signals(ctx), succeeded)
			return result, err
		})).
		Handler("signalAllSuccessfulOrFirstFailed", restate.NewObjectHandler(func(ctx context, _ void) (map[string]any, error) {
			result, all, err := asCompleted(ctx, signals(ctx), failed)
			if failed(result) {
				return result, err
			}
			return map[string]any{"ok": all}, err
		})).
		Handler("signalAllCompleted", restate.NewObjectHandler(func(ctx context, _ void) ([]any, error) {
			return allCompleted(ctx, signals(ctx))
		})).
		Handler("signalFirstCompleted", restate.NewObjectHandler(func(ctx context, _ void) (map[string]any, error) {
			result, _, err := asCompleted(ctx, signals(ctx), always)
			return result, err
		})).
		Handler("mixedRunWinsRaceAgainstSignal", restate.NewObjectHandler(func(ctx context, _ void) (any, error) {
			result, _, err := asCompleted(ctx, []future{restate.Signal[string](ctx, "never"), good(ctx, "run")}, always)
			return result["ok"], err
		})).
		Handler("mixedSignalWinsAfterRunFails", restate.NewObjectHandler(func(ctx context, _ void) (any, error) {
			result, _, err := asCompleted(ctx, []future{bad(ctx, "run"), restate.Signal[string](ctx, "a")}, succeeded)
			return result["ok"], err
		})).
		Handler("mixedAllSucceededRunAndSignal", restate.NewObjectHandler(func(ctx context, _ void) ([]any, error) {
			_, all, err := asCompleted(ctx, []future{good(ctx, "run"), restate.Signal[string](ctx, "a")}, never)
			return all, err
		})).
		Handler("mixedAllCompletedRunSignalAndFailedRun", restate.NewObjectHandler(func(ctx context, _ void) ([]any, error) {
			return allCompleted(ctx, []future{good(ctx, "run"), restate.Signal[string](ctx, "a"), bad(ctx, "bad")})
		}))
}

func allCompleted(ctx restate.Context, futures []future) ([]any, error) {
	if _, _, err := asCompleted(ctx, futures, never); err != nil {
		return nil, err
	}
	var results []any
	for _, f := range futures {
		results = append(results, settle(f))
	}
	return results, nil
}
