// Package engine is what carries and keeps things: NATS with JetStream, embedded
// without a port by default, or an external server or cluster at a URL. It gives
// connections and a Store. It must not know what is carried: hosts, worlds and
// sessions are other packages' words.
package engine

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxPayload is the largest message in bytes. It is above what NATS takes by
// default, so that the snapshot of a big world is one message; an external
// server needs max_payload set to it.
const MaxPayload = 8 << 20

// Options says which engine to open.
type Options struct {
	// DataDir is where the embedded engine keeps its data; one engine at a time.
	DataDir string
	// Listen is the address where the embedded engine accepts other containers
	// and machines, "0.0.0.0:4222"; empty: no port is opened. It needs a Token.
	Listen string
	// URL is that of an external engine; with it DataDir and Listen stay empty.
	URL string
	// Token is the secret shared by all who connect by network.
	Token string
	// Replicas is how many servers of an external cluster keep each value; 0 is 1.
	Replicas int
	// Log takes the embedded server's warnings; nil: slog.Default.
	Log *slog.Logger
}

// Engine is an open engine.
type Engine struct {
	conn     *nats.Conn
	js       jetstream.JetStream
	replicas int
	log      *slog.Logger

	// The rest is for the embedded engine; embedded is nil otherwise.
	embedded *server.Server
	lock     *os.File
	mu       sync.Mutex
	attached map[net.Conn]struct{}
	closed   bool
	copying  sync.WaitGroup
}

// Open starts the embedded engine, or connects to the external one.
func Open(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{replicas: max(o.Replicas, 1), log: o.Log, attached: map[net.Conn]struct{}{}}
	if e.log == nil {
		e.log = slog.Default()
	}
	var err error
	if o.URL != "" {
		err = e.dial(o)
	} else {
		err = e.embed(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if e.js, err = jetstream.New(e.conn); err != nil {
		return nil, errors.Join(fmt.Errorf("engine: %w", err), e.Close())
	}
	return e, nil
}

func (e *Engine) dial(o Options) error {
	if o.Listen != "" || o.DataDir != "" {
		return errors.New("engine: an external engine has its own address and data directory")
	}
	conn, err := nats.Connect(o.URL, append(e.connOptions(), nats.Token(o.Token), nats.MaxReconnects(-1))...)
	if err != nil {
		return fmt.Errorf("engine at %s: %w", o.URL, err)
	}
	e.conn = conn
	if have := conn.MaxPayload(); have < MaxPayload {
		e.log.Warn("the external engine takes smaller messages than big worlds may need", "max_payload", have, "wanted", MaxPayload)
	}
	return nil
}

func (e *Engine) embed(ctx context.Context, o Options) error {
	if o.DataDir == "" {
		return errors.New("engine: a data directory is needed")
	}
	if o.Listen != "" && o.Token == "" {
		return errors.New("engine: listening needs a token, or anybody could command the hosts")
	}
	if err := e.lockDir(o.DataDir); err != nil {
		return err
	}
	opts := &server.Options{
		ServerName: "kabel",
		DontListen: o.Listen == "",
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   o.DataDir,
		// The default answers before the data is on the disk; a power cut then
		// costs more than the last second.
		SyncAlways:                 true,
		MaxPayload:                 MaxPayload,
		CustomClientAuthentication: gate(o.Token),
	}
	if o.Listen != "" {
		host, port, err := splitListen(o.Listen)
		if err != nil {
			return err
		}
		opts.Host, opts.Port = host, port
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	s.SetLogger(quiet{e.log}, false, false)
	e.embedded = s
	s.Start()
	wait := 30 * time.Second
	if d, ok := ctx.Deadline(); ok {
		wait = time.Until(d)
	}
	if !s.ReadyForConnections(wait) {
		return errors.New("engine: the embedded NATS server did not start; its log says why")
	}
	if !s.JetStreamEnabled() {
		return fmt.Errorf("engine: the embedded NATS server can't store in %s; its log says why", o.DataDir)
	}
	e.conn, err = nats.Connect("", append(e.connOptions(), nats.InProcessServer(s))...)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	return nil
}

func (e *Engine) connOptions() []nats.Option {
	return []nats.Option{
		nats.Name("kabel-server"),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			e.log.Warn("engine connection", "subject", subject, "error", err)
		}),
	}
}

// lockDir keeps a second engine out: two servers on one store destroy it.
func (e *Engine) lockDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.lock = f
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("engine: %s is in use by another server: %w", dir, err)
	}
	return nil
}

// Conn is the server's own connection. It is closed by Close.
func (e *Engine) Conn() *nats.Conn { return e.conn }

// Addr is where the embedded engine listens; nil if it does not.
func (e *Engine) Addr() net.Addr {
	if e.embedded == nil {
		return nil
	}
	return e.embedded.Addr()
}

// Attach serves conn, a child's end of which was inherited, as a client of the
// embedded engine. It returns at once; conn is closed when the engine or the
// child goes, and the child sees the end of its file when the engine goes.
func (e *Engine) Attach(conn net.Conn) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.embedded == nil {
		return errors.New("engine: only an open embedded engine takes a child's connection")
	}
	inside, err := e.embedded.InProcessConn()
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.attached[conn] = struct{}{}
	end := sync.OnceFunc(func() {
		inside.Close()
		conn.Close()
		e.mu.Lock()
		delete(e.attached, conn)
		e.mu.Unlock()
	})
	for _, way := range [][2]net.Conn{{inside, conn}, {conn, inside}} {
		e.copying.Go(func() {
			defer end()
			if _, err := io.Copy(way[0], way[1]); err != nil && !closedPipe(err) {
				e.log.Warn("a child's connection broke", "error", err)
			}
		})
	}
	return nil
}

func closedPipe(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// Close ends the connections, stops an embedded server and waits for it.
func (e *Engine) Close() error {
	if e.conn != nil {
		e.conn.Close()
	}
	e.mu.Lock()
	e.closed = true
	for c := range e.attached {
		c.Close()
	}
	e.mu.Unlock()
	e.copying.Wait()
	if e.embedded != nil {
		e.embedded.Shutdown()
		e.embedded.WaitForShutdown()
	}
	if e.lock != nil {
		return e.lock.Close()
	}
	return nil
}

// gate lets in who holds the token, and every connection that was made inside
// this process: those are the server's own and its children's.
type gate string

// Check implements server.Authentication.
func (g gate) Check(c server.ClientAuthentication) bool {
	if a := c.RemoteAddress(); a != nil && a.Network() == "pipe" {
		return true
	}
	return g != "" && subtle.ConstantTimeCompare([]byte(c.GetOpts().Token), []byte(g)) == 1
}

func splitListen(address string) (string, int, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return "", 0, fmt.Errorf("engine: listen address: %w", err)
	}
	host := "0.0.0.0"
	if a.IP != nil {
		host = a.IP.String()
	}
	if a.Port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, a.Port, nil
}

// quiet passes on what an operator must know and drops NATS's chatter.
type quiet struct{ log *slog.Logger }

func (q quiet) Noticef(string, ...any)         {}
func (q quiet) Debugf(string, ...any)          {}
func (q quiet) Tracef(string, ...any)          {}
func (q quiet) Warnf(format string, a ...any)  { q.log.Warn("nats: " + oneLine(format, a)) }
func (q quiet) Errorf(format string, a ...any) { q.log.Error("nats: " + oneLine(format, a)) }
func (q quiet) Fatalf(format string, a ...any) { q.log.Error("nats: " + oneLine(format, a)) }

func oneLine(format string, a []any) string {
	return strings.TrimSpace(strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", " "))
}
