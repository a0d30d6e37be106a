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
	claim := func(mount string) (string, error) {
		dir := filepath.Join(mount, name)
		if err := removeCgroups(dir); err != nil {
			return "", err
		}
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, unix.EROFS) { // as a container has it, though it is the container's own
			if unix.Mount("", mount, "", unix.MS_REMOUNT|unix.MS_BIND|plain|unix.MS_NOEXEC, "") == nil {
				err = os.Mkdir(dir, 0o755)
			}
		}
		return dir, err
	}
	for c, mount := range v1 {
		if dir, err := claim(mount); err != nil {
			why[c] = err
		} else {
			g.v1[c] = dir
		}
	}
	if v2 != "" {
		if dir, err := claim(v2); err != nil {
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
	err := passOn(mount, c)
	if errors.Is(err, unix.EBUSY) {
		// This is not the machine's root but a container's, and it has processes
		// of its own, which a group that hands on controllers may not have.
		if err = emptyInto(mount, filepath.Join(mount, "kabel-host")); err == nil {
			err = passOn(mount, c)
		}
	}
	if err != nil {
		return err
	}
	return passOn(dir, c)
}

// passOn lets the groups below dir have a controller.
func passOn(dir, controller string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
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
// thread where they can, which is in version 1.
//
// Memory is limited for all together. Processes and processor time are limited
// in a group "learner" below, which programs join when they start: a fork bomb
// or a busy loop must not keep an init from answering.
type boxCgroup struct {
	dirs    []string   // to be removed, each before its parent
	tasks   []string   // files of version 1 by which a thread enters, and with it what it forks
	unified *os.File   // the directory of version 2 to be cloned into; nil if there is none
	procs   []string   // cgroup.procs files of all processes; empty if there is no hierarchy that tells
	joins   []*os.File // a program writes "0" to each of them to be the learner's
	meters  meters     // where the kernel counts
}

// add makes the groups of a box.
func (g cgroups) add(name string, l Limits) (b boxCgroup, err error) {
	b.meters = meters{}
	for c, top := range g.v1 {
		if err = b.addV1(filepath.Join(top, name), c, l); err != nil {
			break
		}
	}
	if err == nil && g.v2 != "" {
		err = b.addV2(filepath.Join(g.v2, name), g.v2has, l)
	}
	if err != nil {
		err = errors.Join(err, b.remove())
	}
	return b, err
}

func (b *boxCgroup) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	b.dirs = slices.Insert(b.dirs, 0, dir)
	return nil
}

func (b *boxCgroup) addJoin(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		b.joins = append(b.joins, f)
	}
	return err
}

func (b *boxCgroup) addV1(dir, controller string, l Limits) error {
	if err := b.mkdir(dir); err != nil {
		return err
	}
	b.tasks = append(b.tasks, filepath.Join(dir, "tasks"))
	learner := filepath.Join(dir, "learner")
	b.meters[controller] = meter{dir: learner}
	switch controller {
	case "memory":
		b.meters[controller] = meter{dir: dir}
		// Without the second, sockets' buffers are not counted at all. Not every
		// kernel has it.
		err := writeAll(dir, "memory.kmem.tcp.limit_in_bytes", SocketMiB<<20)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		return writeAll(dir, "memory.limit_in_bytes", l.MemoryMiB<<20)
	case "pids":
		return first(
			func() error { return b.mkdir(learner) },
			func() error { return writeAll(learner, "pids.max", l.Pids) },
			func() error { return b.addJoin(filepath.Join(learner, "tasks")) },
		)
	default:
		return first(
			func() error { return b.mkdir(learner) },
			func() error {
				return writeAll(learner, "cpu.cfs_period_us", cpuPeriod, "cpu.cfs_quota_us", l.CPUPercent*cpuPeriod/100)
			},
			func() error { return b.addJoin(filepath.Join(learner, "tasks")) },
		)
	}
}

const cpuPeriod = 100000

// addV2 makes one group if no controller is there, and else, because only leaves
// may have processes, one for the inits and one for the learner.
func (b *boxCgroup) addV2(dir string, has []string, l Limits) (err error) {
	if err := b.mkdir(dir); err != nil {
		return err
	}
	inits, learner := dir, filepath.Join(dir, "learner")
	if len(has) > 0 {
		inits = filepath.Join(dir, "inits")
		if err := errors.Join(b.mkdir(inits), b.mkdir(learner)); err != nil {
			return err
		}
		b.procs = []string{filepath.Join(learner, "cgroup.procs")}
		if err := b.addJoin(b.procs[0]); err != nil {
			return err
		}
	}
	for _, c := range has {
		b.meters[c] = meter{dir: learner, v2: true}
		switch c {
		case "memory":
			b.meters[c] = meter{dir: dir, v2: true}
			if err = writeAll(dir, "memory.max", l.MemoryMiB<<20); err != nil {
				return err
			}
			if err = writeAll(dir, "memory.swap.max", 0); errors.Is(err, os.ErrNotExist) {
				err = nil // there is no swap
			}
		case "pids":
			if err = passOn(dir, c); err == nil {
				err = writeAll(learner, "pids.max", l.Pids)
			}
		case "cpu":
			if err = passOn(dir, c); err == nil {
				err = writeAll(learner, "cpu.max", fmt.Sprintf("%d %d", l.CPUPercent*cpuPeriod/100, cpuPeriod))
			}
		}
		if err != nil {
			return err
		}
	}
	b.procs = append(b.procs, filepath.Join(inits, "cgroup.procs"))
	b.unified, err = os.Open(inits)
	return err
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
	var errs []error
	for _, j := range b.joins {
		errs = append(errs, j.Close())
	}
	if b.unified != nil {
		errs = append(errs, b.unified.Close())
	}
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
