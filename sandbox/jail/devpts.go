package jail

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Terminals are the whole machine's: each counts against kernel.pty.max, on
// whatever devpts it was opened, and costs the kernel 40 KiB that nobody is
// charged for. A learner can mount any number of these. But only what is mounted
// from the machine's first mount namespace may use the last kernel.pty.reserve of
// them, so the yard mounts the machines' own devpts, each with a bound that its
// learner can't change, and what learners mount has to do with the rest.

// MaxTerminals is how many can be open on the devpts of one machine.
const MaxTerminals = 64

// newDevpts makes a machine's devpts, not yet in place.
func newDevpts() (int, error) {
	fs, err := unix.Fsopen("devpts", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen devpts: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"mode", "620"}, {"ptmxmode", "0666"}, {"max", strconv.Itoa(MaxTerminals)}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, fmt.Errorf("devpts %s=%s: %w", option[0], option[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("create devpts: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsmount devpts: %w", err)
	}
	return fd, nil
}

// The kernel's first namespaces have fixed numbers (include/uapi/linux/nsfs.h,
// include/linux/proc_ns.h); that of mounts only since Linux 6.17.
const (
	firstPIDs   = 0xEFFFFFFC
	firstMounts = 0xEFFFFFF8
)

// TerminalsReserved says that machines may use the terminals that are reserved.
// Where that can't be told, they are taken not to be.
func (y *Yard) TerminalsReserved() bool {
	var own, first, pids unix.Stat_t
	if y.rootless || unix.Stat("/proc/self/ns/mnt", &own) != nil {
		return false
	}
	if own.Ino == firstMounts {
		return true
	}
	// Before that: those of the machine's own process 1.
	return unix.Stat("/proc/self/ns/pid", &pids) == nil && pids.Ino == firstPIDs &&
		unix.Stat("/proc/1/ns/mnt", &first) == nil && first.Ino == own.Ino && first.Dev == own.Dev
}
