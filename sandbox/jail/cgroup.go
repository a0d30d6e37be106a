package jail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits on memory, processes and processor time are cgroups, made and written
// as plain files. Version 1, version 2 and both side by side are found in use;
// each controller is taken where it is.

// controllers in the order in which their absence is told.
var controllers = []string{"memory", "pids", "cpu"}

// cgroups is the yard's part of the hierarchies.
type cgroups struct {
	v1      map[string]string // controller → the yard's directory in its hierarchy
	v2      string            // the yard's directory in the unified hierarchy
	v2has   []string          // controllers that are enabled there
	missing []string
}

// cgroupMounts reads which hierarchies are mounted where.
func cgroupMounts(mountinfo string) (v1 map[string]string, v2 string) {
	v1 = map[string]string{}
	for line := range strings.Lines(mountinfo) {
		head, tail, ok := strings.Cut(line, " - ")
		h, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(h) < 5 || len(t) < 3 {
			continue
		}
		switch t[0] {
		case "cgroup2":
			v2 = h[4]
		case "cgroup":
			for _, option := range strings.Split(t[2], ",") {
				if slices.Contains(controllers, option) {
					v1[option] = h[4]
				}
			}
		}
	}
	return v1, v2
}

// openCgroups sweeps what a dead predecessor left and makes the directories of
// the yard with that tag. What can't be had is named in missing.
func openCgroups(name string) (cgroups, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroups{}, err
	}
	v1, v2 := cgroupMounts(string(info))
	g := cgroups{v1: map[string]string{}}
	why := map[string]error{}
	make := func(mount string) (string, error) {
		dir := filepath.Join(mount, name)
		if err := removeCgroups(dir); err != nil {
			return "", err
		}
		return dir, os.Mkdir(dir, 0o755)
	}
	for c, mount := range v1 {
		if dir, err := make(mount); err != nil {
			why[c] = err
		} else {
			g.v1[c] = dir
		}
	}
	if v2 != "" {
		if dir, err := make(v2); err != nil {
			why[""] = err
		} else {
			g.v2 = dir
			for _, c := range controllers {
				if v1[c] != "" {
					continue
				}
				if err := enableController(v2, dir, c); err != nil {
					why[c] = err
				} else {
					g.v2has = append(g.v2has, c)
				}
			}
		}
	}
	for _, c := range controllers {
		if g.v1[c] != "" || slices.Contains(g.v2has, c) {
			continue
		}
		err := errors.Join(why[c], why[""])
		if err == nil {
			err = errors.New("no cgroup hierarchy has it")
		}
		g.missing = append(g.missing, fmt.Sprintf("cgroup %s: no limit is enforced (%v)", c, err))
	}
	return g, nil
}

// enableController passes a controller of the unified hierarchy on to the yard's
// boxes.
func enableController(mount, dir, c string) error {
	enable := func(d string) error {
		return os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
	err := enable(mount)
	if errors.Is(err, unix.EBUSY) {
		// This is not the machine's root but a container's, and it has processes
		// of its own, which a group that hands on controllers may not have.
		if err = emptyInto(mount, filepath.Join(mount, "kabel-host")); err == nil {
			err = enable(mount)
		}
	}
	if err != nil {
		return err
	}
	return enable(dir)
}

func emptyInto(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	pids, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range bytes.Fields(pids) {
		err := os.WriteFile(filepath.Join(to, "cgroup.procs"), pid, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// boxCgroup is one box's groups. To move a whole process into a group stops the
// machine for 10 ms, so inits are born in theirs, and programs move their only
// thread where they can.
type boxCgroup struct {
	dirs    []string // to be removed, each before its parent
	tasks   []string // files of version 1 by which a thread enters, and with it what it forks
	unified *os.File // the directory of version 2 to be cloned into; nil if there is none
	procs   []string // cgroup.procs files of all processes; empty if there is no hierarchy that tells
	join    *os.File // a program writes "0" here to be counted; nil if there is no pids controller
}

// add makes the groups of a box.
func (g cgroups) add(name string, l Limits) (b boxCgroup, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, b.remove())
		}
	}()
	mkdir := func(dir string) error {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		b.dirs = slices.Insert(b.dirs, 0, dir)
		return nil
	}
	for c, top := range g.v1 {
		dir := filepath.Join(top, name)
		if err := mkdir(dir); err != nil {
			return b, err
		}
		b.tasks = append(b.tasks, filepath.Join(dir, "tasks"))
		if c == "pids" { // the inits stay out of the limit
			dir = filepath.Join(dir, "learner")
			if err := mkdir(dir); err != nil {
				return b, err
			}
			if b.join, err = os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0); err != nil {
				return b, err
			}
		}
		if err := l.writeV1(dir, c); err != nil {
			return b, err
		}
	}
	if g.v2 == "" {
		return b, nil
	}
	dir := filepath.Join(g.v2, name)
	if err := mkdir(dir); err != nil {
		return b, err
	}
	if err := l.writeV2(dir, g.v2has); err != nil {
		return b, err
	}
	if !slices.Contains(g.v2has, "pids") {
		b.procs = []string{filepath.Join(dir, "cgroup.procs")}
		b.unified, err = os.Open(dir)
		return b, err
	}
	// Only leaves may have processes, and a limit of the learner's own needs a
	// group of its own.
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
		return b, err
	}
	for _, leaf := range []string{"inits", "learner"} {
		if err := mkdir(filepath.Join(dir, leaf)); err != nil {
			return b, err
		}
		b.procs = append(b.procs, filepath.Join(dir, leaf, "cgroup.procs"))
	}
	if err := writeAll(filepath.Join(dir, "learner"), "pids.max", l.Pids); err != nil {
		return b, err
	}
	if b.unified, err = os.Open(filepath.Join(dir, "inits")); err != nil {
		return b, err
	}
	b.join, err = os.OpenFile(b.procs[1], os.O_WRONLY, 0)
	return b, err
}

func (l Limits) writeV1(dir, controller string) error {
	switch controller {
	case "memory":
		// Without the second, sockets' buffers are not counted at all. Not every
		// kernel has it.
		err := writeAll(dir, "memory.kmem.tcp.limit_in_bytes", 64<<20)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		return writeAll(dir, "memory.limit_in_bytes", l.MemoryMiB<<20)
	case "pids":
		return writeAll(dir, "pids.max", l.Pids)
	default:
		return writeAll(dir, "cpu.cfs_period_us", cpuPeriod, "cpu.cfs_quota_us", l.CPUPercent*cpuPeriod/100)
	}
}

const cpuPeriod = 100000

func (l Limits) writeV2(dir string, has []string) error {
	if slices.Contains(has, "memory") {
		if err := writeAll(dir, "memory.max", l.MemoryMiB<<20); err != nil {
			return err
		}
		if err := writeAll(dir, "memory.swap.max", 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if slices.Contains(has, "cpu") {
		return writeAll(dir, "cpu.max", fmt.Sprintf("%d %d", l.CPUPercent*cpuPeriod/100, cpuPeriod))
	}
	return nil
}

// writeAll writes pairs of file name and value.
func writeAll(dir string, pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		err := os.WriteFile(filepath.Join(dir, pairs[i].(string)), []byte(fmt.Sprint(pairs[i+1])), 0)
		if err != nil {
			return err
		}
	}
	return nil
}

// enter moves the calling thread, which must not be the main one, into the groups
// of version 1. It is to fork the box init and end.
func (b boxCgroup) enter() error {
	for _, f := range b.tasks {
		if err := os.WriteFile(f, []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

// remove takes away the groups of a box whose processes are gone.
func (b boxCgroup) remove() error {
	b.join.Close() // nil files don't mind
	b.unified.Close()
	var errs []error
	for _, d := range b.dirs {
		errs = append(errs, removeCgroup(d))
	}
	return errors.Join(errs...)
}

// remove takes away the yard's own groups.
func (g cgroups) remove() error {
	var errs []error
	for _, d := range g.v1 {
		errs = append(errs, removeCgroups(d))
	}
	if g.v2 != "" {
		errs = append(errs, removeCgroups(g.v2))
	}
	return errors.Join(errs...)
}

// removeCgroups removes a tree of groups.
func removeCgroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroups(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return removeCgroup(dir)
}

// removeCgroup waits for the last processes to leave: those of a box whose init
// was just killed are still on their way out.
func removeCgroup(dir string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := unix.Rmdir(dir)
		switch {
		case err == nil || err == unix.ENOENT:
			return nil
		case err == unix.EBUSY && time.Now().Before(deadline):
			time.Sleep(time.Millisecond) // there is nothing to wait on in version 1
		default:
			return fmt.Errorf("rmdir %s: %w", dir, err)
		}
	}
}
