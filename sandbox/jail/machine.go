package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A Machine is one machine of a box, represented by its init process.
type Machine struct {
	box  *Box
	name string

	use    sync.RWMutex // held for writing while the fields below change
	closed bool
	ctl    *caller
	pid    int
	netns  int
	mount  int // /proc/PID/mountinfo
	root   int // its root directory
	devpts int // its mount
}

func newMachine(b *Box, name string) *Machine {
	return &Machine{box: b, name: name, netns: -1, mount: -1, root: -1, devpts: -1}
}

func (m *Machine) start(ctx context.Context) error {
	m.use.Lock()
	defer m.use.Unlock()
	ctl, theirs, err := controlPair()
	if err != nil {
		return err
	}
	m.ctl = newCaller(ctl)
	out, err := m.box.ctl.call(ctx, request{Op: "machine", Name: m.name}, int(theirs.Fd()))
	theirs.Close()
	if err != nil {
		return err
	}
	defer closeAll(out)
	if len(out) != 1 {
		return errors.New("the box init sent no pidfd")
	}
	if m.pid, err = pidOf(out[0]); err != nil {
		return err
	}
	if m.devpts, err = newDevpts(); err != nil {
		return err
	}
	_, counted := m.box.groups.meters["pids"]
	plan := &mcPlan{Name: m.name, OneID: m.box.yard.ids.size == 1, Limits: m.box.yard.limits, Counted: counted}
	fds := []int{m.devpts}
	for _, j := range m.box.groups.joins {
		fds = append(fds, int(j.Fd()))
	}
	got, err := m.ctl.call(ctx, request{Op: "setup", Machine: plan}, fds...)
	if err != nil {
		return err
	}
	if len(got) != 3 {
		closeAll(got)
		return errors.New("the machine init sent too little")
	}
	m.netns, m.mount, m.root = got[0], got[1], got[2]
	return nil
}

// close lets go of the init, which ends if it has not.
func (m *Machine) close() {
	m.use.Lock()
	defer m.use.Unlock()
	if m.ctl != nil {
		m.ctl.close()
	}
	for _, fd := range []int{m.netns, m.mount, m.root, m.devpts} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	m.closed = true
}

// Done is closed when the machine's init has ended, with its box or before it.
func (m *Machine) Done() <-chan struct{} { return m.ctl.done }

// Name is the machine's hostname.
func (m *Machine) Name() string { return m.name }

// NetNS is the machine's own network namespace. The descriptor is the machine's:
// don't close it.
func (m *Machine) NetNS() int { return m.netns }

// Pid is the machine's init, as it is called out here.
func (m *Machine) Pid() int { return m.pid }

// Mountinfo is the machine's mount table. poll(2) tells POLLPRI when it has
// changed, as it does when a namespace gets or loses a name. The descriptor is
// the machine's, and must not be given to the runtime's poller, which would
// swallow events.
func (m *Machine) Mountinfo() int { return m.mount }

// Netns lists the names in the machine's /run/netns that are network namespaces
// of the machine now.
func (m *Machine) Netns() ([]string, error) {
	m.use.RLock()
	defer m.use.RUnlock()
	fd, err := m.openInside(netnsDir, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), netnsDir)
	defer dir.Close()
	names, err := dir.Readdirnames(maxNames)
	if err != nil && len(names) == 0 {
		return nil, nil // empty: io.EOF
	}
	var found []string
	for _, n := range names {
		if ns, err := m.openNetns(n); err == nil {
			unix.Close(ns)
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found, nil
}

// maxNames bounds how much of a learner's directory is read.
const maxNames = 4096

// openInside opens a path of the machine's tree, as it is now, without leaving
// it.
func (m *Machine) openInside(path string, flags uint64) (int, error) {
	if m.closed {
		return -1, ErrGone
	}
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat2(m.root, path, how)
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// OpenNetns opens a named namespace of the machine; the caller closes it. A
// learner can put anything under such a name: it must be a network namespace
// that belongs to this machine, or the error is EINVAL.
func (m *Machine) OpenNetns(name string) (int, error) {
	if !validNetns(name) {
		return -1, fmt.Errorf("netns %q: not a name: %w", name, unix.EINVAL)
	}
	m.use.RLock()
	defer m.use.RUnlock()
	return m.openNetns(name)
}

func (m *Machine) openNetns(name string) (int, error) {
	// O_PATH: a fifo doesn't block and a device does nothing.
	path, err := m.openInside(filepath.Join(netnsDir, name), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	defer unix.Close(path)
	fd, err := m.reopenNetns(path)
	if err != nil {
		return -1, fmt.Errorf("netns %s: not a network namespace of the machine: %w", name, err)
	}
	return fd, nil
}

func (m *Machine) reopenNetns(path int) (int, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(path, &fs); err != nil {
		return -1, err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return -1, unix.EINVAL
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err == nil && kind != unix.CLONE_NEWNET {
		err = unix.EINVAL
	}
	if err == nil {
		err = sameOwner(fd, m.netns)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sameOwner says EINVAL if two namespaces belong to different user namespaces.
func sameOwner(a, b int) error {
	var owner [2]unix.Stat_t
	for i, fd := range []int{a, b} {
		ns, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
		if err != nil {
			return err
		}
		err = unix.Fstat(ns, &owner[i])
		unix.Close(ns)
		if err != nil {
			return err
		}
	}
	if owner[0].Ino != owner[1].Ino || owner[0].Dev != owner[1].Dev {
		return unix.EINVAL
	}
	return nil
}

// AddNetns makes a named namespace, as `ip netns add` does. Errors carry the
// kernel's errno: EEXIST, ENOSPC at the limit.
func (m *Machine) AddNetns(ctx context.Context, name string) error {
	return m.onNetns(ctx, "netns-add", name)
}

// DelNetns removes a name, as `ip netns del` does.
func (m *Machine) DelNetns(ctx context.Context, name string) error {
	return m.onNetns(ctx, "netns-del", name)
}

func (m *Machine) onNetns(ctx context.Context, op, name string) error {
	if !validNetns(name) {
		return fmt.Errorf("netns %q: not a name: %w", name, unix.EINVAL)
	}
	if _, err := m.ctl.call(ctx, request{Op: op, Name: name}); err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// KillAll ends every program on the machine; its init and its namespaces stay.
func (m *Machine) KillAll(ctx context.Context) error {
	if _, err := m.ctl.call(ctx, request{Op: "kill-all"}); err != nil {
		return fmt.Errorf("kill all on %s: %w", m.name, err)
	}
	return nil
}
