// Package jail is a lab's processes: one Box per world, in it one Machine per
// machine, each with namespaces, a file tree and limits of its own, and behind a
// shim the programs that a learner runs there as root inside and nobody outside.
// It must not configure a network, know what a lab is, or trust anything that a
// learner can write.
//
// A box is a process (pid 1 of its own pid namespace, in user namespace U1), a
// machine is a child of it (pid 1 of a nested one, in a child user namespace U2),
// and both are this same program, started again: see Main. Two levels, because
// the limits written in U1 hold even for a learner who is root of U2. They are
// driven over one socket each, and end when it closes: when this process dies,
// however it dies, the kernel closes the sockets and every world is gone.
package jail

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrGone is what is said of a box or machine whose init has ended.
var ErrGone = errors.New("its init process is gone")

// Options for Open.
type Options struct {
	// StateDir is where templates are kept; made if missing. A Yard holds it
	// exclusively.
	StateDir string
	Limits   Limits
	Log      *slog.Logger
}

// A Yard starts boxes and knows what this machine can enforce.
type Yard struct {
	log      *slog.Logger
	limits   Limits
	lock     *os.File // StateDir, exclusively
	tag      string   // by which the yard's processes and cgroups are known
	base     string   // the template tree, see makeBase
	tun      string   // a tun device node that a box may bind; empty if there is none
	exe      *os.File // a sealed copy of this program, where a learner could write to the original
	cgroups  cgroups
	ids      idRange
	rootless bool
	missing  []string

	mu     sync.Mutex
	closed bool
	boxes  map[string]*Box
	slots  map[int]bool // in use, see idRange
	slot   int          // the last one given out
}

// Open prepares templates and cgroups and sweeps what a predecessor that was
// killed has left there.
func Open(o Options) (*Yard, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("jail: needs root, or a user namespace of its own: see Elevate")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ids, rootless, err := readIDs()
	if err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	y := &Yard{log: o.Log, limits: o.Limits.orDefault(), ids: ids, rootless: rootless,
		boxes: map[string]*Box{}, slots: map[int]bool{}, slot: rand.IntN(ids.slots)}
	if err := y.open(o.StateDir); err != nil {
		y.release()
		return nil, fmt.Errorf("jail: %w", err)
	}
	return y, nil
}

func (y *Yard) open(stateDir string) error {
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if y.lock, err = lockDir(dir); err != nil {
		return err
	}
	y.tag = tagOf(dir)
	if err := killAll(y.tag); err != nil {
		return err
	}
	if y.cgroups, err = openCgroups(y.tag); err != nil {
		return err
	}
	y.missing = append(y.missing, y.cgroups.missing...)
	guarded := errNoUnified
	if y.cgroups.v2 != "" {
		guarded = guardSysctls(y.cgroups.v2)
	}
	if guarded != nil {
		y.missing = append(y.missing, unguardedSysctls(guarded)...)
	}
	y.base = filepath.Join(dir, "base")
	if err := makeBase(y.base); err != nil {
		return err
	}
	if y.tun, err = findTun(filepath.Join(dir, "tun")); err != nil {
		y.missing = append(y.missing, fmt.Sprintf("TUN/TAP devices: %v", err))
	}
	if y.rootless {
		y.missing = append(y.missing, "root: the worlds run with the rights of an ordinary user")
		if y.exe, err = sealedSelf(); err != nil {
			return err
		}
	}
	if y.ids.size == 1 {
		y.missing = append(y.missing, "subordinate user ids: in a world everything belongs to root, and changing to another user is only pretended")
	}
	return nil
}

// lockDir holds a directory by an exclusive lock that the kernel drops with the
// process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another sandbox: %w", dir, err)
	}
	return f, nil
}

// Missing names what this machine can't enforce or offer, for operators.
func (y *Yard) Missing() []string { return y.missing }

// Rootless says that the yard lives in a user namespace of an ordinary user.
func (y *Yard) Rootless() bool { return y.rootless }

// Limits are those of each box.
func (y *Yard) Limits() Limits { return y.limits }

// Close kills every box, waits until they are gone, and removes what Open made.
func (y *Yard) Close() error {
	y.mu.Lock()
	y.closed = true
	var boxes []*Box
	for _, b := range y.boxes {
		boxes = append(boxes, b)
	}
	y.mu.Unlock()
	errs := make([]error, len(boxes))
	var killing sync.WaitGroup
	for i, b := range boxes {
		killing.Go(func() { errs[i] = b.Kill() })
	}
	killing.Wait()
	return errors.Join(append(errs, y.cgroups.remove(), y.release())...)
}

// release lets go of the state directory and removes the templates in it.
func (y *Yard) release() error {
	if y.lock == nil {
		return nil
	}
	if y.exe != nil {
		y.exe.Close()
	}
	var errs []error
	for _, p := range []string{y.base, filepath.Join(filepath.Dir(y.lock.Name()), "tun"), y.lock.Name()} {
		if p != "" {
			errs = append(errs, os.RemoveAll(p))
		}
	}
	errs = append(errs, y.lock.Close())
	y.lock = nil
	return errors.Join(errs...)
}

// takeSlot reserves a range of host ids. They are given out in turn, so that the
// ids of a box that has just died are not at once another's.
func (y *Yard) takeSlot() (int, error) {
	for range y.ids.slots {
		y.slot = (y.slot + 1) % y.ids.slots
		if y.ids.shared || !y.slots[y.slot] {
			y.slots[y.slot] = true
			return y.slot, nil
		}
	}
	return 0, errors.New("no range of user ids is free")
}
