package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to run with the learner's rights.
type Command struct {
	Argv  []string
	Env   []string // added to the machine's usual environment
	Netns string   // a name from /run/netns; empty for the machine itself
	Dir   string   // default /root
	Stdin []byte
	// Timeout after which the program and its process group are killed; 0: only
	// the context counts.
	Timeout   time.Duration
	MaxOutput int // bytes kept of each of stdout and stderr; default 256 KiB
}

// Result is what a program left. One killed by signal n has exit code 128+n; one
// that was not found 127, one that could not be started 126, and Stderr says why.
type Result struct {
	ExitCode       int
	Stdout, Stderr []byte
	Truncated      bool // there was more output, which was read and dropped
	TimedOut       bool
}

const defaultMaxOutput = 256 << 10

var learnerEnv = []string{
	"PATH=" + baseDir + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash", "TERM=xterm-256color", "LANG=C.UTF-8",
}

// program makes what goes to the init, and opens the namespace. The descriptors
// are the caller's to close.
func (m *Machine) program(c Command) (p *program, fds []int, err error) {
	if len(c.Argv) == 0 {
		return nil, nil, fmt.Errorf("no program is named: %w", unix.EINVAL)
	}
	p = &program{Argv: c.Argv, Env: withEnv(learnerEnv, c.Env), Dir: c.Dir}
	if p.Dir == "" {
		p.Dir = "/root"
	}
	if c.Netns != "" {
		fd, err := m.OpenNetns(c.Netns)
		if err != nil {
			return nil, nil, err
		}
		p.InNetns = true
		fds = append(fds, fd)
	}
	return p, fds, nil
}

// withEnv adds variables; a later one replaces an earlier one of its name.
func withEnv(base, more []string) []string {
	env := append([]string(nil), base...)
next:
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		for i := range env {
			if strings.HasPrefix(env[i], name+"=") {
				env[i] = v
				continue next
			}
		}
		env = append(env, v)
	}
	return env
}

// Exec runs a program and waits for it. When the time is up or the context ends,
// the whole process group is killed; in the first case that is a Result, in the
// second the context's error comes with what there was. What the program leaves
// running in the background lives on without stdout and stderr.
func (m *Machine) Exec(ctx context.Context, c Command) (Result, error) {
	res, err := m.exec(ctx, c)
	if err != nil {
		err = fmt.Errorf("exec on %s: %w", m.name, err)
	}
	return res, err
}

func (m *Machine) exec(ctx context.Context, c Command) (Result, error) {
	p, netns, err := m.program(c)
	if err != nil {
		return Result{}, err
	}
	defer func() { closeAll(netns) }()
	if c.MaxOutput <= 0 {
		c.MaxOutput = defaultMaxOutput
	}
	var pipes pipeEnds
	defer pipes.close()
	stdin, stdout, stderr := pipes.add(true), pipes.add(false), pipes.add(false)
	if pipes.err != nil {
		return Result{}, pipes.err
	}
	id, waiting, err := m.ctl.begin(request{Op: "run", Program: p}, append(pipes.theirs, netns...)...)
	if err != nil {
		return Result{}, err
	}
	pipes.closeTheirs()

	var streams sync.WaitGroup
	out, errs := &capped{max: c.MaxOutput}, &capped{max: c.MaxOutput}
	streams.Go(func() {
		_, _ = stdin.Write(c.Stdin) // a program may well not read it all
		stdin.Close()
	})
	streams.Go(func() { out.readAll(stdout) })
	streams.Go(func() { errs.readAll(stderr) })

	a, timedOut, ctxErr := m.await(ctx, id, waiting, c.Timeout)
	now := time.Now()
	for _, f := range pipes.ours {
		_ = f.SetDeadline(now) // one that was closed needs no waking
	}
	streams.Wait()
	return Result{ExitCode: a.reply.Code, Stdout: out.data, Stderr: errs.data,
		Truncated: out.more || errs.more, TimedOut: timedOut}, errors.Join(ctxErr, a.err, a.reply.err())
}

// await waits for the end of a program, which it brings about when its time is
// up.
func (m *Machine) await(ctx context.Context, id uint64, waiting <-chan answer, timeout time.Duration) (a answer, timedOut bool, err error) {
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case a = <-waiting:
		return a, false, nil
	case <-expired:
		timedOut = true
	case <-ctx.Done():
		err = ctx.Err()
	}
	// If this fails the init is gone, and that is an answer too.
	_, _, _ = m.ctl.begin(request{Op: "kill", Target: id})
	return <-waiting, timedOut, err
}

// pipeEnds are the pipes of one Exec. Only our ends are in non-blocking mode:
// programs expect theirs to block.
type pipeEnds struct {
	ours   []*os.File
	theirs []int
	err    error
}

func (p *pipeEnds) add(weWrite bool) *os.File {
	var fd [2]int
	if p.err != nil {
		return nil
	}
	if p.err = unix.Pipe2(fd[:], unix.O_CLOEXEC); p.err != nil {
		return nil
	}
	our, their := fd[0], fd[1]
	if weWrite {
		our, their = fd[1], fd[0]
	}
	p.theirs = append(p.theirs, their)
	p.err = unix.SetNonblock(our, true)
	f := os.NewFile(uintptr(our), "pipe")
	p.ours = append(p.ours, f)
	return f
}

func (p *pipeEnds) closeTheirs() {
	closeAll(p.theirs)
	p.theirs = nil
}

func (p *pipeEnds) close() {
	p.closeTheirs()
	for _, f := range p.ours {
		f.Close()
	}
}

// capped keeps the beginning of a stream.
type capped struct {
	data []byte
	max  int
	more bool
}

func (c *capped) add(b []byte) {
	room := min(c.max-len(c.data), len(b))
	c.data = append(c.data, b[:room]...)
	c.more = c.more || room < len(b)
}

// readAll reads until the end, or until a deadline says that the program has
// ended: then it takes what is already in the pipe, and leaves the other end to
// those whom the program left in the background.
func (c *capped) readAll(f *os.File) {
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		c.add(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.drain(f, buf)
			return
		case err != nil:
			return
		}
	}
}

// maxPipe is the most that a pipe holds, unless a privileged process says so.
const maxPipe = 1 << 20

func (c *capped) drain(f *os.File, buf []byte) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for got := 0; got < maxPipe; {
			n, err := unix.Read(int(fd), buf)
			if err == unix.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			got += n
			c.add(buf[:n])
		}
	})
}

// Spawn starts a program and leaves it running, its stdio at /dev/null. It
// returns when the program has been started, with an error that tells why if it
// could not be. The program ends with the machine.
func (m *Machine) Spawn(ctx context.Context, c Command) error {
	p, fds, err := m.program(c)
	if err == nil {
		err = m.spawn(ctx, p, fds)
	}
	if err != nil {
		return fmt.Errorf("spawn on %s: %w", m.name, err)
	}
	return nil
}

// ServeInternet starts the services of a machine that plays the internet, DNS
// and HTTP on all its addresses, and returns when they listen. They run with the
// learner's rights.
func (m *Machine) ServeInternet(ctx context.Context) error {
	if err := m.spawn(ctx, &program{Service: entryInternet, Dir: "/"}, nil); err != nil {
		return fmt.Errorf("internet service on %s: %w", m.name, err)
	}
	return nil
}

func (m *Machine) spawn(ctx context.Context, p *program, netns []int) error {
	defer closeAll(netns)
	p.Detached = true
	var pipe pipeEnds
	defer pipe.close()
	complaints := pipe.add(false)
	if pipe.err != nil {
		return pipe.err
	}
	if _, err := m.ctl.call(ctx, request{Op: "run", Program: p}, append(pipe.theirs, netns...)...); err != nil {
		return err
	}
	pipe.closeTheirs()
	// The program's exec closes the shim's end, or a service does when it is
	// ready. Until then the context counts.
	stop := context.AfterFunc(ctx, func() { _ = complaints.SetDeadline(time.Now()) })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(complaints, 4096))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case len(text) > 0:
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}
