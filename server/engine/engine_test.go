package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"kabel/server/engine"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ENGINE_TEST_WRITER"); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func store(t *testing.T, e *engine.Engine) *engine.Store {
	t.Helper()
	s, err := e.Store(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenRefuses(t *testing.T) {
	used := t.TempDir()
	open(t, engine.Options{DataDir: used})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		options engine.Options
		says    string
	}{
		"no data directory":            {engine.Options{}, "data directory is needed"},
		"a file as data directory":     {engine.Options{DataDir: file}, "not a directory"},
		"a directory in use":           {engine.Options{DataDir: used}, "in use by another server"},
		"listening without a token":    {engine.Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"}, "needs a token"},
		"a listen address that is bad": {engine.Options{DataDir: t.TempDir(), Listen: "nowhere", Token: "x"}, "listen address"},
		"a URL and a listen address":   {engine.Options{URL: "nats://127.0.0.1:1", Listen: "127.0.0.1:0"}, "own address"},
		"nobody at the URL":            {engine.Options{URL: "nats://127.0.0.1:1"}, "no servers available"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := engine.Open(t.Context(), tt.options)
			if err == nil {
				e.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error %q does not say %q", err, tt.says)
			}
		})
	}
}

func TestEmbeddedOpensNoPort(t *testing.T) {
	if a := open(t, engine.Options{DataDir: t.TempDir()}).Addr(); a != nil {
		t.Errorf("it listens on %v", a)
	}
}

func TestStore(t *testing.T) {
	ctx := t.Context()
	e := open(t, engine.Options{DataDir: t.TempDir()})
	s := store(t, e)

	_, _, err := s.Get(ctx, "a")
	want(t, "get of what is not there", err, engine.ErrNotFound)
	first, err := s.Create(ctx, "a", []byte("1"))
	want(t, "create", err, nil)
	_, err = s.Create(ctx, "a", []byte("2"))
	want(t, "create of what is there", err, engine.ErrConflict)
	second, err := s.CompareAndSwap(ctx, "a", []byte("2"), first)
	want(t, "swap", err, nil)
	_, err = s.CompareAndSwap(ctx, "a", []byte("3"), first)
	want(t, "swap of an old revision", err, engine.ErrConflict)
	value, rev, err := s.Get(ctx, "a")
	want(t, "get", err, nil)
	if string(value) != "2" || rev != second {
		t.Errorf("got %q at revision %d, want 2 at %d", value, rev, second)
	}
	_, err = s.Put(ctx, "b.c", []byte("x"))
	want(t, "put", err, nil)
	_, err = s.Put(ctx, "not a key", nil)
	if err == nil {
		t.Error("a key with spaces was taken")
	}
	if got := keys(t, s); !slices.Equal(got, []string{"a", "b.c"}) {
		t.Errorf("keys are %q", got)
	}
	want(t, "delete", s.Delete(ctx, "a"), nil)
	want(t, "delete of what is not there", s.Delete(ctx, "never"), nil)
	_, _, err = s.Get(ctx, "a")
	want(t, "get of what is deleted", err, engine.ErrNotFound)
	if got := keys(t, store(t, e)); !slices.Equal(got, []string{"b.c"}) {
		t.Errorf("keys after opening the bucket again are %q", got)
	}
	_, err = s.Create(ctx, "a", []byte("again"))
	want(t, "create of what was deleted", err, nil)
}

func TestOneOfManyRacersWins(t *testing.T) {
	s := store(t, open(t, engine.Options{DataDir: t.TempDir()}))
	rev, err := s.Create(t.Context(), "lease", []byte("0"))
	want(t, "create", err, nil)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := s.CompareAndSwap(t.Context(), "lease", []byte("1"), rev); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, engine.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d racers won", won.Load())
	}
}

// TestKillLosesNothing kills a process in the middle of its writes and reads
// back every key whose write it had seen acknowledged.
func TestKillLosesNothing(t *testing.T) {
	dir := t.TempDir()
	writer := exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), "ENGINE_TEST_WRITER="+dir)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	want(t, "pipe", err, nil)
	want(t, "start", writer.Start(), nil)
	var acknowledged []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		acknowledged = append(acknowledged, lines.Text())
		if len(acknowledged) == 200 {
			want(t, "kill", writer.Process.Signal(syscall.SIGKILL), nil)
		}
	}
	_ = writer.Wait() // it was killed
	if len(acknowledged) < 200 {
		t.Fatalf("the writer wrote only %d keys", len(acknowledged))
	}
	s := store(t, open(t, engine.Options{DataDir: dir}))
	for _, key := range acknowledged {
		if value, _, err := s.Get(t.Context(), key); err != nil || string(value) != "value of "+key {
			t.Errorf("key %s: %q, %v", key, value, err)
		}
	}
}

// writeUntilKilled prints each key when its write was acknowledged.
func writeUntilKilled(dir string) {
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Options{DataDir: dir})
	if err != nil {
		panic(err)
	}
	s, err := e.Store(ctx, "sessions")
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		key := fmt.Sprint("key", i)
		if _, err := s.Put(ctx, key, []byte("value of "+key)); err != nil {
			panic(err)
		}
		fmt.Println(key)
	}
}

// one hands out a connection that exists already, once.
type one struct{ net.Conn }

func (o one) InProcessConn() (net.Conn, error) { return o.Conn, nil }

func socketpair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	want(t, "socketpair", err, nil)
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		ends[i], err = net.FileConn(f)
		want(t, "conn", err, nil)
		f.Close()
	}
	return ends[0], ends[1]
}

func TestAttach(t *testing.T) {
	e := open(t, engine.Options{DataDir: t.TempDir(), Token: "not needed by a child"})
	ours, theirs := socketpair(t)
	want(t, "attach", e.Attach(ours), nil)
	child, err := nats.Connect("", nats.InProcessServer(one{theirs}), nats.NoReconnect())
	want(t, "child connects", err, nil)
	defer child.Close()
	_, err = child.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	want(t, "subscribe", err, nil)
	want(t, "flush", child.Flush(), nil)

	// A message of the largest size goes through whole.
	big := []byte(strings.Repeat("x", engine.MaxPayload))
	got, err := e.Conn().RequestWithContext(t.Context(), "echo", big)
	want(t, "request", err, nil)
	if string(got.Data) != string(big) {
		t.Errorf("%d bytes came back of %d", len(got.Data), len(big))
	}

	gone := child.StatusChanged(nats.CLOSED)
	want(t, "close", e.Close(), nil)
	<-gone
	if err := e.Attach(theirs); err == nil {
		t.Error("a closed engine took a child")
	}
}

func TestChildThatGoesLeavesNoResponder(t *testing.T) {
	e := open(t, engine.Options{DataDir: t.TempDir()})
	ours, theirs := socketpair(t)
	want(t, "attach", e.Attach(ours), nil)
	child, err := nats.Connect("", nats.InProcessServer(one{theirs}), nats.NoReconnect())
	want(t, "child connects", err, nil)
	_, err = child.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	want(t, "subscribe", err, nil)
	want(t, "flush", child.Flush(), nil)
	theirs.Close()
	child.Close()
	// The engine sees the end of the file some time after it was closed; until
	// then a request goes out and is never answered.
	limit := time.Now().Add(30 * time.Second)
	for {
		_, err := e.Conn().Request("echo", nil, 50*time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func TestExternal(t *testing.T) {
	const token = "a secret"
	inner := open(t, engine.Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Token: token})
	url := "nats://" + inner.Addr().String()

	for _, wrong := range []string{"", "a secreT"} {
		if e, err := engine.Open(t.Context(), engine.Options{URL: url, Token: wrong}); err == nil {
			e.Close()
			t.Errorf("the token %q opened it", wrong)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("with the token %q: %v", wrong, err)
		}
	}
	outer := open(t, engine.Options{URL: url, Token: token})
	_, err := store(t, outer).Put(t.Context(), "a", []byte("1"))
	want(t, "put", err, nil)
	value, _, err := store(t, inner).Get(t.Context(), "a")
	want(t, "get", err, nil)
	if string(value) != "1" {
		t.Errorf("the two engines are not one: %q", value)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if outer.Attach(a) == nil {
		t.Error("an external engine took a child")
	}
}

func BenchmarkPut(b *testing.B) {
	e, err := engine.Open(b.Context(), engine.Options{DataDir: b.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	s, err := e.Store(b.Context(), "sessions")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Put(b.Context(), "key", []byte("value")); err != nil {
			b.Fatal(err)
		}
	}
}

func keys(t *testing.T, s *engine.Store) []string {
	t.Helper()
	k, err := s.Keys(t.Context())
	want(t, "keys", err, nil)
	return k
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: %v, want %v", what, err, target)
	}
}
