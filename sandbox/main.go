// Command sandbox is Kabel's privileged process: it makes worlds out of kernel
// namespaces and does to them what the server asks over the engine's
// connection. It dials out and listens on no port; it only wires the packages
// below it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/nats-io/nats.go"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/kernel"
)

const usage = `The sandbox host of Kabel: runs learners' worlds in a real kernel.

As root, worlds get limits on memory, processes and time; as an ordinary user who
may create user namespaces everything else works, and what is lost is said.
The server starts this program by itself on one machine. On a machine of its own:

  KABEL_ENGINE_TOKEN=… sandbox --engine nats://server:4222

Flags:
`

func main() {
	jail.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := Run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// Run is the whole program: it serves until ctx ends or the server is gone.
func Run(ctx context.Context, args []string, stderr io.Writer) (err error) {
	f := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	f.SetOutput(stderr)
	url := f.String("engine", os.Getenv("KABEL_ENGINE"), "`URL` of the engine to dial (KABEL_ENGINE)")
	fd := f.Int("engine-fd", -1, "file `descriptor` of a socket to the engine, inherited from the server")
	state := f.String("state", defaultState(), "`directory` for what must be found again after a crash")
	name := f.String("name", "", "`name` of this host among others; the default is the machine's")
	worlds := f.Int("worlds", 0, "`most` worlds at once; the default is what memory and the kernel's shared tables have room for")
	verbose := f.Bool("v", false, "log more")
	f.Usage = func() { fmt.Fprint(stderr, usage); f.PrintDefaults() }
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("unknown argument %q; see sandbox --help", f.Arg(0))
	case (*fd < 0) == (*url == ""):
		return errors.New("name the engine by exactly one of --engine and --engine-fd")
	}
	if err := jail.Elevate(); err != nil {
		return err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})).With("process", "sandbox")
	if *name == "" {
		if *name, err = os.Hostname(); err != nil {
			return err
		}
	}

	var nc *nats.Conn
	if *fd >= 0 {
		file := os.NewFile(uintptr(*fd), "engine")
		conn, err := net.FileConn(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("file descriptor %d is no socket: %w", *fd, err)
		}
		nc, err = host.Connect(conn)
		if err != nil {
			return err
		}
	} else if nc, err = host.ConnectURL(ctx, *url, os.Getenv("KABEL_ENGINE_TOKEN")); err != nil {
		return err
	}
	defer nc.Close()

	yard, err := jail.Open(jail.Options{StateDir: *state, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, yard.Close()) }()
	h, err := kernel.New(yard, kernel.Options{ID: *name, MaxWorlds: *worlds, Tables: kernel.RecordPath, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	err = host.Serve(ctx, nc, h, *name)
	if *fd >= 0 && errors.Is(err, nats.ErrConnectionClosed) {
		log.Debug("the server hung up")
		return nil // it is how a server tells its child to end
	}
	return err
}

func defaultState() string {
	if os.Geteuid() == 0 {
		return "/run/kabel"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "kabel")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("kabel-%d", os.Getuid()))
}
