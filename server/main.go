// Command server is Kabel's unprivileged process: it serves the page and the
// API, keeps the sessions, and speaks to the sandbox host over its engine. It
// only wires the packages below it; on one machine it starts the sandbox host
// as its child. It never runs as root once it serves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/engine"
	"kabel/server/httpapi"
	"kabel/server/session"
	"kabel/web"
)

const usage = `Kabel: wire up container networks and see every packet.

Usage:
  server [flags]                     serve the page and the API
  server lab VERB ...                write, preview, check and play labs; see server lab --help
  server capture --session ID [flags] write the packets of a session's world, as pcapng

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := Run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
	}
}

// settings are what the flags and the environment say.
type settings struct {
	addr, data, sandbox, engineURL, listen, labs string
	maxSessions                                  int
	idle, total                                  time.Duration
	verbose                                      bool
	// follow is run beside the server, for an author's preview.
	follow func(context.Context, *library, *session.Registry)
}

func (c *settings) flags(f *flag.FlagSet) {
	f.StringVar(&c.addr, "addr", env("KABEL_ADDR", "127.0.0.1:8080"), "`address` to listen on (KABEL_ADDR)")
	f.IntVar(&c.maxSessions, "max-sessions", 300, "how many sessions may have a world at once")
	f.StringVar(&c.labs, "labs", env("KABEL_LABS", ""), "`directory` of more labs, one folder each, beside the built-in ones (KABEL_LABS)")
	f.DurationVar(&c.idle, "idle", 30*time.Minute, "how long a session where nobody is keeps its world, which is built again when they come back; 0: for ever")
	f.DurationVar(&c.total, "total", 8*time.Hour, "how long a session may have a world in all, before it ends; 0: for ever")
	f.StringVar(&c.data, "data", env("KABEL_DATA", defaultData()), "`directory` for sessions and progress (KABEL_DATA)")
	c.backendFlags(f)
}

// backendFlags are those that a lab test takes too.
func (c *settings) backendFlags(f *flag.FlagSet) {
	f.StringVar(&c.sandbox, "sandbox", env("KABEL_SANDBOX", ""), "the sandbox `program` to start; \"none\" waits for a sandbox that dials in. The default is the one beside this program")
	f.StringVar(&c.engineURL, "engine", env("KABEL_ENGINE", ""), "`URL` of an external NATS with JetStream; without one the engine is inside this process and opens no port")
	f.StringVar(&c.listen, "engine-listen", env("KABEL_ENGINE_LISTEN", ""), "`address` where a sandbox on another machine may dial in to the engine inside; needs KABEL_ENGINE_TOKEN")
	f.BoolVar(&c.verbose, "v", false, "log more")
}

// Run is the whole program: it serves until ctx ends.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "capture" {
		return runCapture(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "lab" {
		return runLab(ctx, args[1:], stdout, stderr)
	}
	var c settings
	f := flag.NewFlagSet("server", flag.ContinueOnError)
	f.SetOutput(stderr)
	c.flags(f)
	f.Usage = func() { fmt.Fprint(stderr, usage); f.PrintDefaults() }
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see server --help", f.Arg(0))
	}
	return serve(ctx, c, stdout, logger(stderr, c.verbose))
}

func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

func serve(ctx context.Context, c settings, stdout io.Writer, log *slog.Logger) (err error) {
	// The directory is opened with the rights that we still have, and read
	// without them.
	more, err := openLabs(c.labs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, more.Close()) }()
	b, err := openBackend(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	catalog, err := more.Load()
	if err != nil {
		return err
	}
	for _, left := range catalog.Broken() {
		if c.follow == nil { // otherwise that tells
			log.Warn("a lab is left out", "lab", left.ID, "err", left.Err)
		}
	}
	records, err := b.engine.Store(ctx, "sessions")
	if err != nil {
		return err
	}
	learners, err := b.engine.Store(ctx, "learners")
	if err != nil {
		return err
	}
	sessions, err := session.Open(ctx, session.Options{Host: b.host, Labs: catalog, Records: records, Learners: learners, Log: log, MaxSessions: c.maxSessions, Idle: c.idle, Total: c.total})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sessions.Close()) }()
	if c.follow != nil {
		following, stop := context.WithCancel(ctx)
		var done sync.WaitGroup
		done.Go(func() { c.follow(following, more, sessions) })
		defer done.Wait()
		defer stop()
	}
	page, built := web.Files()
	if !built {
		log.Warn("this program was built without its page; see README")
	}
	handler := httpapi.New(httpapi.Options{Sessions: sessions, Page: page, Log: log, Version: version(), Draft: c.follow != nil})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	// The streams of a server that stops end with its context.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	fmt.Fprintf(stdout, "Kabel is at http://%s/\n", listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-b.lost():
		return errors.Join(fmt.Errorf("the sandbox ended: %w", b.child.cause), srv.Close())
	case <-ctx.Done():
	}
	log.Info("stopping")
	cancel()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	if err := srv.Shutdown(grace); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}

// library is the built-in labs and those of a directory, if there is one.
type library struct {
	builtIn *labs.Catalog
	folder  *labs.Folder // nil: there is none
}

func openLabs(dir string) (*library, error) {
	l := &library{}
	var err error
	if l.builtIn, err = labs.BuiltIn(); err != nil || dir == "" {
		return l, err
	}
	l.folder, err = labs.OpenFolder(dir)
	return l, err
}

// Load reads the labs of the directory anew.
func (l *library) Load() (*labs.Catalog, error) {
	if l.folder == nil {
		return l.builtIn, nil
	}
	more, err := l.folder.Load()
	if err != nil {
		return nil, err
	}
	return l.builtIn.With(more), nil
}

// Close lets go of the directory.
func (l *library) Close() error {
	if l.folder == nil {
		return nil
	}
	return l.folder.Close()
}

// backend is the engine and the host behind it.
type backend struct {
	engine *engine.Engine
	host   host.Host
	child  *child // nil when the sandbox is somebody else's
}

// openBackend starts the sandbox, gives up root, opens the engine and waits for
// a host to answer.
func openBackend(ctx context.Context, c settings, log *slog.Logger) (_ *backend, err error) {
	b := &backend{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return nil, err
	}
	// Behind an external engine the sandboxes dial that one.
	if c.sandbox != "none" && c.engineURL == "" {
		if b.child, err = startSandbox(c, log); err != nil {
			return nil, err
		}
	}
	if err := giveUpRoot(c.data); err != nil {
		return nil, err
	}
	b.engine, err = engine.Open(ctx, c.engineOptions(log))
	if err != nil {
		return nil, err
	}
	if b.child != nil {
		if err := b.engine.Attach(b.child.conn); err != nil {
			return nil, err
		}
	}
	fleet, err := host.OpenFleet(b.engine.Conn())
	if err != nil {
		return nil, err
	}
	b.host = fleet
	if err := b.awaitHost(ctx, fleet); err != nil {
		return nil, err
	}
	status, err := fleet.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range status.Missing {
		log.Warn("this machine can't", "missing", m)
	}
	return b, nil
}

// awaitHost waits until a host of the fleet answers; its first heartbeat comes
// within a second of its start.
func (b *backend) awaitHost(ctx context.Context, fleet *host.Fleet) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(fleet.Hosts()) == 0 {
		select {
		case <-tick.C:
		case <-b.lost():
			return fmt.Errorf("the sandbox ended at its start: %w", b.child.cause)
		case <-ctx.Done():
			return fmt.Errorf("no sandbox host answers: %w", ctx.Err())
		}
	}
	return nil
}

func (c settings) engineOptions(log *slog.Logger) engine.Options {
	o := engine.Options{URL: c.engineURL, Listen: c.listen, Token: os.Getenv("KABEL_ENGINE_TOKEN"), Log: log}
	if c.engineURL == "" {
		o.DataDir = filepath.Join(c.data, "engine")
	}
	return o
}

// lost is closed when our own sandbox is gone.
func (b *backend) lost() <-chan struct{} {
	if b.child == nil {
		return nil
	}
	return b.child.ended
}

// Close ends what openBackend began, the sandbox last.
func (b *backend) Close() error {
	var errs []error
	if b.host != nil {
		errs = append(errs, b.host.Close())
	}
	if b.engine != nil {
		errs = append(errs, b.engine.Close())
	}
	if b.child != nil {
		errs = append(errs, b.child.Close())
	}
	return errors.Join(errs...)
}

func env(name, otherwise string) string {
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	return otherwise
}

func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/kabel"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "kabel")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".local", "state", "kabel")
}
