package kernel

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kabel/sandbox/topo"
)

// The machines' own terminals are bounded and reserved, see the jail. Those on
// devpts that a learner mounts are not, but nobody needs many: where the machine's
// terminals become many more, the host looks who has them, and ends the programs
// of a world that have too many.

const (
	// ptyTick is how often the machine's count is looked at, and ptyStep by how much
	// it must have grown for the worlds to be looked through.
	ptyTick = 200 * time.Millisecond
	ptyStep = 256
	// worldPtys is how many ends of terminals the programs of a world may hold.
	worldPtys = 512
)

// guardTerminals looks until ctx ends.
func (h *Host) guardTerminals(ctx context.Context) {
	ticks := time.NewTicker(ptyTick)
	defer ticks.Stop()
	looked := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		count, err := readNumber("/proc/sys/kernel/pty/nr")
		if err != nil {
			continue // some containers may not read it
		}
		if count < looked+ptyStep {
			looked = min(looked, count)
			continue
		}
		looked = count
		h.mu.Lock()
		worlds := slices.Collect(maps.Values(h.worlds))
		h.mu.Unlock()
		for _, w := range worlds {
			if w == nil {
				continue // it is being made
			}
			ended, err := w.endPtyHolders(ctx)
			if ended {
				looked = 0 // the others of that world may go on
			}
			if err != nil {
				h.options.Log.Warn("a world could not be looked through for terminals", "world", w.id, "error", err)
			}
		}
	}
}

// ptyHolder is a process of a machine with what it holds of terminals.
type ptyHolder struct {
	machine machine
	pid     int
	held    int
}

// endPtyHolders kills the processes that hold the most terminals until the rest of
// the world's hold no more than they may.
func (w *World) endPtyHolders(ctx context.Context) (ended bool, err error) {
	_, leave, err := w.enter(ctx)
	if err != nil {
		return false, nil // it has ended, and its terminals with it
	}
	defer leave()
	pids, err := w.box.Pids()
	if err != nil {
		return false, w.unlessGone(err)
	}
	var holders []ptyHolder
	total := 0
	for _, pid := range pids {
		m, ok := w.machineOf(pid)
		if !ok || pid == m.Pid() {
			continue
		}
		if held := ptysOf(pid); held > 0 {
			holders = append(holders, ptyHolder{m, pid, held})
			total += held
		}
	}
	slices.SortFunc(holders, func(a, b ptyHolder) int { return b.held - a.held })
	for _, p := range holders {
		if total <= worldPtys {
			break
		}
		name := program(p.pid)
		if err := w.kill(p); err != nil {
			return ended, err
		}
		ended = true
		w.host.options.Log.Warn("a program that held too many terminals was ended", "world", w.id, "node", p.machine.node(), "program", name, "terminals", p.held)
		w.hit(topo.LimitHit{Kind: topo.LimitOwnTerminals, Subject: name, Bound: worldPtys})
		total -= p.held
	}
	return ended, nil
}

// kill ends a process, unless its number is another's by now.
func (w *World) kill(p ptyHolder) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == unix.ESRCH {
		return nil
	} else if err != nil {
		return fmt.Errorf("pidfd of %d: %w", p.pid, err)
	}
	defer unix.Close(fd)
	if m, ok := w.machineOf(p.pid); !ok || m.userNS != p.machine.userNS {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill %d: %w", p.pid, err)
	}
	return nil
}

// The device numbers of terminals, from Documentation/admin-guide/devices.txt.
const (
	ttyaux      = 5
	ptmxMinor   = 2
	firstPtyDev = 136
	lastPtyDev  = 143
)

// ptysOf counts the masters that a process has open, the slaves, each once, and
// what is on its way in its sockets, which can be either. A thread may have a table
// of descriptors to itself.
func ptysOf(pid int) (held int) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0 // it ended meanwhile
	}
	type device struct{ on, number uint64 }
	slaves := map[device]bool{}
	for _, task := range tasks {
		dir := fmt.Sprintf("/proc/%d/task/%s/", pid, task.Name())
		fds, err := os.ReadDir(dir + "fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			var st unix.Stat_t
			if unix.Stat(dir+"fd/"+fd.Name(), &st) != nil {
				continue
			}
			major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
			switch kind := st.Mode & unix.S_IFMT; {
			case kind == unix.S_IFSOCK:
				held += inFlight(dir + "fdinfo/" + fd.Name())
			case kind == unix.S_IFCHR && major == ttyaux && minor == ptmxMinor:
				held++
			case kind == unix.S_IFCHR && major >= firstPtyDev && major <= lastPtyDev:
				slaves[device{st.Dev, st.Rdev}] = true
			}
		}
	}
	return held + len(slaves)
}

// inFlight is how many descriptors wait in a Unix socket.
func inFlight(fdinfo string) int {
	text, _ := readProc(fdinfo, make([]byte, 4096))
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "scm_fds:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return 0
}
