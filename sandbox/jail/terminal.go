package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// TerminalCommand is a program to run on a terminal with the learner's rights.
type TerminalCommand struct {
	Argv       []string // default: bash, as at a login
	Env        []string // added to the machine's usual environment
	Netns      string   // a name from /run/netns; empty for the machine itself
	NetnsFD    int      // or an open one, which stays the caller's; 0: none
	Rows, Cols uint16   // default 24, 80
}

// Terminal is a program on a pty of its machine. Its methods may be called at
// the same time, by one reader and one writer.
type Terminal struct {
	machine *Machine
	master  *os.File
	hangUp  func() error // once
	hungUp  chan struct{}
	done    chan struct{}
	rest    int   // bytes that were read when it was done
	code    int   // when done
	err     error // when done
}

// hangUpGrace is how long a program that is hung up may take to end.
const hangUpGrace = time.Second

// Terminal starts a program on a new terminal of the machine's own devpts, as
// the leader of a session whose controlling terminal it is. The program sees the
// machine's files whatever its network namespace is, as with nsenter --net. ctx
// counts for the start only. A program that can't be started says so on the
// terminal and ends with a shell's codes for that.
func (m *Machine) Terminal(ctx context.Context, c TerminalCommand) (*Terminal, error) {
	t, err := m.terminal(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("terminal on %s: %w", m.name, err)
	}
	return t, nil
}

func (m *Machine) terminal(ctx context.Context, c TerminalCommand) (*Terminal, error) {
	if len(c.Argv) == 0 {
		c.Argv = []string{"bash", "--login"}
	}
	size := &unix.Winsize{Row: c.Rows, Col: c.Cols}
	if size.Row == 0 || size.Col == 0 {
		size.Row, size.Col = 24, 80
	}
	p, netns, err := m.program(Command{Argv: c.Argv, Env: c.Env, Netns: c.Netns})
	if err != nil {
		return nil, err
	}
	defer func() { closeAll(netns) }()
	if c.NetnsFD != 0 {
		fd, err := unix.FcntlInt(uintptr(c.NetnsFD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		p.InNetns, netns = true, []int{fd}
	}
	p.OnTerminal = true
	pair, err := m.ctl.call(ctx, request{Op: "pty", Size: size})
	if err != nil {
		return nil, err
	}
	if len(pair) != 2 {
		closeAll(pair)
		return nil, errors.New("the machine init sent no terminal")
	}
	// The init opened it in non-blocking mode, so it waits in the runtime's
	// poller.
	master, slave := os.NewFile(uintptr(pair[0]), "terminal"), pair[1]
	id, waiting, err := m.ctl.begin(request{Op: "run", Program: p}, append([]int{slave, slave, slave}, netns...)...)
	unix.Close(slave)
	if err != nil {
		return nil, errors.Join(err, master.Close())
	}
	t := &Terminal{machine: m, master: master, hungUp: make(chan struct{}), done: make(chan struct{})}
	t.hangUp = sync.OnceValue(func() error {
		close(t.hungUp)
		return master.Close()
	})
	go t.await(id, waiting) // ends with the program, at the latest with the machine
	return t, nil
}

func (t *Terminal) await(id uint64, waiting <-chan answer) {
	defer close(t.done)
	var a answer
	select {
	case a = <-waiting:
	case <-t.hungUp:
		grace := time.NewTimer(hangUpGrace)
		defer grace.Stop()
		select {
		case a = <-waiting:
		case <-grace.C:
			// If this fails the init is gone, and that is an answer too.
			_, _, _ = t.machine.ctl.begin(request{Op: "kill", Target: id})
			a = <-waiting
		}
	}
	t.code, t.err = a.reply.Code, errors.Join(a.err, a.reply.err())
	_ = t.master.SetReadDeadline(time.Now()) // unless it is closed
}

// Read gives what is shown; io.EOF when the program has ended. What nobody reads
// holds the program up.
func (t *Terminal) Read(b []byte) (int, error) {
	n, err := t.master.Read(b)
	switch {
	case errors.Is(err, unix.EIO): // nobody has the other end any more
		err = io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.readRest(b)
	}
	return n, err
}

// maxRest is the most that a terminal holds that was not read. What a program in
// the background shows after the end is not waited for.
const maxRest = 64 << 10

// readRest reads what the program left.
func (t *Terminal) readRest(b []byte) (n int, err error) {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return 0, err
	}
	b = b[:min(len(b), maxRest-t.rest)]
	err = raw.Control(func(fd uintptr) {
		_ = retry(func() (err error) {
			n, err = unix.Read(int(fd), b)
			return err
		})
	})
	n = max(n, 0)
	t.rest += n
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write types. It waits while the program reads nothing and the terminal's
// buffer is full.
func (t *Terminal) Write(b []byte) (int, error) { return t.master.Write(b) }

// Resize changes the size; the program in the foreground gets SIGWINCH.
func (t *Terminal) Resize(rows, cols uint16) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	return errors.Join(err, ioctlErr)
}

// Close hangs up: the program and what is in the foreground get SIGHUP. A
// program that does not end by it is killed with its process group. Close does
// not wait for that.
func (t *Terminal) Close() error { return t.hangUp() }

// Done is closed when the program has ended.
func (t *Terminal) Done() <-chan struct{} { return t.done }

// ExitCode waits for the end: the program's code, 128+n by signal n. The error
// is ErrGone if the machine ended first.
func (t *Terminal) ExitCode() (int, error) {
	<-t.done
	return t.code, t.err
}

// openPTY is a machine init's part: a pair of the machine's own devpts, found by
// the descriptor of its directory, since a learner may mount over the path. The
// master is in non-blocking mode, so that opening it can't hang either.
func (m *machineState) openPTY(size *unix.Winsize) (fds []int, err error) {
	how := &unix.OpenHow{Flags: unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
	var master int
	err = retry(func() (err error) {
		master, err = unix.Openat2(m.devpts, "ptmx", how)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	fds = []int{master}
	err = first(
		func() error { return unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0) },
		func() error {
			slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
			if errno != 0 {
				return errno
			}
			fds = append(fds, int(slave))
			return nil
		},
		func() error {
			mode, err := unix.IoctlGetTermios(fds[1], unix.TCGETS)
			if err != nil {
				return err
			}
			mode.Iflag |= unix.IUTF8 // backspace takes a whole character
			return unix.IoctlSetTermios(fds[1], unix.TCSETS, mode)
		},
		func() error { return unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, size) },
	)
	if err != nil {
		closeAll(fds)
		return nil, fmt.Errorf("set up a terminal: %w", err)
	}
	return fds, nil
}
