// The services of test/sdk-other/suite.test.mjs on the official Go SDK, served over HTTP/2 on 127.0.0.1:$PORT. Names, handlers and
// JSON shapes are the contract of that suite (test/sdk-other/README.md); every language has the same.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
)

const day = 24 * time.Hour

func ms(amount int) time.Duration { return time.Duration(amount) * time.Millisecond }

// The version of this program, from the environment.
var version string

// How often user code ran in this process, by key: tick counts, TestUtil/seen reads.
var (
	mutex  sync.Mutex
	counts = map[string]int{}
)

func tick(key string) int {
	mutex.Lock()
	defer mutex.Unlock()
	counts[key]++
	return counts[key]
}

func seen(key string) int {
	mutex.Lock()
	defer mutex.Unlock()
	return counts[key]
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	version = os.Getenv("VERSION")
	endpoint := server.NewRestate().WithLogger(slog.NewTextHandler(os.Stderr, nil), true)
	for _, definition := range []restate.ServiceDefinition{
		counter(), listObject(), mapObject(), proxy(), awakeableHolder(), blocker(), cancelRunner(), cleaner(), killRunner(),
		killSingleton(), failing(), nonDeterministic(), testUtil(), blockAndWait(), combinators(), private(), versioned(),
	} {
		endpoint.Bind(definition)
	}
	if key := os.Getenv("IDENTITY_KEY"); key != "" {
		endpoint.WithIdentityV1(key)
	}
	address := "127.0.0.1:" + os.Getenv("PORT")
	start := func() error { return endpoint.Start(ctx, address) }
	if os.Getenv("REQUEST_RESPONSE") != "" {
		start = func() error { return serveRequestResponse(ctx, endpoint.Bidirectional(false), address) }
	}
	if err := start(); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

// The SDK's own server knows HTTP/2 only; this one has HTTP/1.1 as well.
func serveRequestResponse(ctx context.Context, endpoint *server.Restate, address string) error {
	handler, err := endpoint.Handler()
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Addr: address, Handler: handler, Protocols: protocols}
	context.AfterFunc(ctx, func() { s.Close() })
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
