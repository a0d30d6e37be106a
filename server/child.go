package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// child is the sandbox host that this process started. Their only tie is the
// socket pair: when our end closes, also by kill -9, the sandbox ends every
// world and itself.
type child struct {
	cmd   *exec.Cmd
	conn  net.Conn
	ended chan struct{} // closed when the process is gone
	cause error         // why; to be read after ended
}

func startSandbox(c settings, log *slog.Logger) (*child, error) {
	program, err := sandboxProgram(c.sandbox)
	if err != nil {
		return nil, err
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "sandbox"), os.NewFile(uintptr(pair[1]), "engine")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, err
	}
	args := []string{"--engine-fd", "3", "--state", filepath.Join(c.data, "sandbox")}
	if c.verbose {
		args = append(args, "-v")
	}
	cmd := exec.Command(program, args...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	// A process group of its own: Ctrl-C is ours to handle, in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	log.Debug("sandbox started", "program", program, "pid", cmd.Process.Pid)
	ch := &child{cmd: cmd, conn: conn, ended: make(chan struct{})}
	go func() {
		defer close(ch.ended)
		if ch.cause = cmd.Wait(); ch.cause == nil {
			ch.cause = errors.New("exit status 0")
		}
	}()
	return ch, nil
}

// Close hangs up, which tells the sandbox to end its worlds, and waits for it.
func (c *child) Close() error {
	c.conn.Close()
	select {
	case <-c.ended:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the sandbox (pid %d) did not end", c.cmd.Process.Pid)
	}
}

// sandboxProgram finds the sandbox: as told, or beside this program, or in ./bin
// of a source tree (go run).
func sandboxProgram(told string) (string, error) {
	if told != "" {
		return told, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, p := range []string{filepath.Join(filepath.Dir(self), "sandbox"), filepath.Join("bin", "sandbox")} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return filepath.Abs(p)
		}
	}
	return "", errors.New("the sandbox program is not beside this one nor in ./bin: run make build, or name it with --sandbox")
}

// giveUpRoot makes this process an ordinary user's for good: the user "kabel" if
// there is one, otherwise "nobody". What it keeps in data becomes that user's.
// The sandbox's own directory stays root's.
func giveUpRoot(data string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("kabel")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("find a user to run as: %w", err)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	engine := filepath.Join(data, "engine")
	if err := os.MkdirAll(engine, 0o700); err != nil {
		return err
	}
	if err := os.Chown(data, uid, gid); err != nil {
		return err
	}
	err = filepath.WalkDir(engine, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		return fmt.Errorf("hand %s to %s: %w", engine, u.Username, err)
	}
	// The Go runtime changes all threads. The capabilities go with uid 0.
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(gid); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(uid); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	if _, err := os.ReadDir(engine); err != nil {
		return fmt.Errorf("this process runs as %s, who can't reach the data directory; name another with --data: %w", u.Username, err)
	}
	return nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "devel"
}
