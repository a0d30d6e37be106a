package jail

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tagOf is by what the processes and cgroups of the yard in a state directory
// are known, and those that a predecessor there may have left.
func tagOf(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	return fmt.Sprintf("kabel-%x", sum[:4])
}

// initProcess is an init that was found in /proc.
type initProcess struct {
	pid  int
	what string // "kabel:box kabel-1234 name"
}

// findInits finds the init processes of a yard.
func findInits(tag string) ([]initProcess, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []initProcess
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue // it ended meanwhile
		}
		argv := strings.Split(string(bytes.TrimSuffix(line, []byte{0})), "\x00")
		if len(argv) > 1 && (argv[0] == entryBox || argv[0] == entryMachine) && argv[1] == tag {
			found = append(found, initProcess{pid, strings.Join(argv, " ")})
		}
	}
	return found, nil
}

// killAll ends the processes that a dead predecessor left. They end by
// themselves when it does, unless they were stopped or are not scheduled.
func killAll(tag string) error {
	left, err := findInits(tag)
	if err != nil {
		return err
	}
	for _, p := range left {
		if err := p.kill(); err != nil {
			return fmt.Errorf("sweep %s, process %d: %w", p.what, p.pid, err)
		}
	}
	return nil
}

func (p initProcess) kill() error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == unix.ESRCH {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	var n int
	err = retry(func() (err error) {
		n, err = unix.Poll(poll, int((10 * time.Second).Milliseconds()))
		return err
	})
	if err == nil && n == 0 {
		err = errors.New("does not end")
	}
	return err
}

// Leftovers tells in words what is still there of a yard that had this state
// directory, in processes, cgroups and mounts, and which namespaces this process
// holds descriptors of. After Close there is nothing.
func Leftovers(stateDir string) ([]string, error) {
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return nil, err
	}
	tag := tagOf(dir)
	inits, err := findInits(tag)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, p := range inits {
		left = append(left, fmt.Sprintf("process %d: %s", p.pid, p.what))
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	v1, v2 := cgroupMounts(string(table))
	tops := []string{v2}
	for _, top := range v1 {
		tops = append(tops, top)
	}
	for _, top := range tops {
		if _, err := os.Stat(filepath.Join(top, tag)); top != "" && err == nil {
			left = append(left, "cgroup: "+filepath.Join(top, tag))
		}
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			left = append(left, "mount: "+f[4])
		}
	}
	held, err := heldNamespaces()
	left = append(left, held...)
	slices.Sort(left)
	return left, err
}

// heldNamespaces are those foreign ones that this process has open.
func heldNamespaces() ([]string, error) {
	own := map[string]string{} // by kind
	for _, kind := range []string{"net", "mnt", "user", "pid", "uts", "ipc", "cgroup"} {
		ns, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return nil, err
		}
		own[kind] = ns
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var held []string
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil {
			continue // it is closed by now
		}
		kind, _, _ := strings.Cut(to, ":[")
		if ns := own[kind]; ns != "" && ns != to {
			held = append(held, fmt.Sprintf("descriptor %s: %s", fd.Name(), to))
		}
	}
	return held, nil
}
