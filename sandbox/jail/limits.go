package jail

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of one box, all its machines together. Zero fields take the default.
type Limits struct {
	// MemoryMiB bounds the memory of all programs and of what the kernel keeps
	// for them; default 192. The init processes are counted (about 1 MiB each).
	MemoryMiB int
	// Pids bounds the learner's processes and threads; default 200. The init
	// processes are not counted, so that a fork bomb can't starve them.
	Pids int
	// CPUPercent is the share of one processor that the learner's programs have;
	// default 60.
	CPUPercent int
	// Namespaces bounds the network namespaces, one for each machine included;
	// default 48. The kernel frees one a moment after its last user has gone.
	Namespaces int
	// FilesMiB bounds the writable files of each machine; default 32.
	FilesMiB int
	// OpenFiles bounds the descriptors of each process; default 4096.
	OpenFiles int
}

func (l Limits) orDefault() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.MemoryMiB, 192)
	set(&l.Pids, 200)
	set(&l.CPUPercent, 60)
	set(&l.Namespaces, 48)
	set(&l.FilesMiB, 32)
	set(&l.OpenFiles, 4096)
	return l
}

// initThreads is how many threads the inits of a box may need at most.
const initThreads = 128

// ucounts are the limits of /proc/sys/user, written in U1: nobody in U2, however
// privileged there, can raise or escape them.
func (l Limits) ucounts() map[string]int {
	return map[string]int{
		"max_net_namespaces":    l.Namespaces,
		"max_user_namespaces":   16, // one per machine; the learner is refused by seccomp
		"max_mnt_namespaces":    128,
		"max_pid_namespaces":    32,
		"max_uts_namespaces":    32,
		"max_ipc_namespaces":    32,
		"max_cgroup_namespaces": 32,
		"max_time_namespaces":   1,
		"max_inotify_instances": 64,
		"max_inotify_watches":   4096,
		"max_fanotify_groups":   0,
	}
}

// Bounds tells what one box can take at most of what the whole machine shares, by
// the name of the setting that bounds the machine.
func (l Limits) Bounds() map[string]int {
	l = l.orDefault()
	bounds := map[string]int{"kernel.pid_max": l.Pids + initThreads, "kernel.threads-max": l.Pids + initThreads}
	for name, n := range l.ucounts() {
		bounds["user."+name] = n
	}
	return bounds
}

// writeUcounts is for the box init. Kinds that this kernel doesn't have are not
// missed.
func (l Limits) writeUcounts() error {
	for name, v := range l.ucounts() {
		f, err := os.OpenFile("/proc/sys/user/"+name, os.O_WRONLY, 0)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return err
		}
		_, err = fmt.Fprint(f, v)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return nil
}

// setRlimits is for the box init: everything in the box inherits them, and U2
// remembers the number of processes as a bound of its own.
func (l Limits) setRlimits() error {
	return setRlimits(map[int]syscall.Rlimit{
		unix.RLIMIT_NOFILE:   {Cur: uint64(min(1024, l.OpenFiles)), Max: uint64(l.OpenFiles)},
		unix.RLIMIT_NPROC:    {Cur: uint64(l.Pids + initThreads), Max: uint64(l.Pids + initThreads)},
		unix.RLIMIT_CORE:     {},
		unix.RLIMIT_MEMLOCK:  {Cur: 1 << 20, Max: 1 << 20},
		unix.RLIMIT_MSGQUEUE: {Cur: 819200, Max: 819200},
		unix.RLIMIT_RTPRIO:   {},
		unix.RLIMIT_NICE:     {},
	})
}

// setLearnerRlimits is for the shim, without a pids cgroup: it is what stops a
// fork bomb before it can starve the machine's init. With one it would stop it
// first, and nobody counts how often.
func (l Limits) setLearnerRlimits() error {
	return setRlimits(map[int]syscall.Rlimit{
		unix.RLIMIT_NPROC: {Cur: uint64(l.Pids), Max: uint64(l.Pids)},
	})
}

// setRlimits goes through package syscall, which otherwise would give children
// the limit on open files that this process had at its start.
func setRlimits(limits map[int]syscall.Rlimit) error {
	for what, r := range limits {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(what, &now); err != nil {
			return fmt.Errorf("getrlimit %d: %w", what, err)
		}
		r.Max = min(r.Max, now.Max)
		r.Cur = min(r.Cur, r.Max)
		if err := syscall.Setrlimit(what, &r); err != nil {
			return fmt.Errorf("setrlimit %d: %w", what, err)
		}
	}
	return nil
}
